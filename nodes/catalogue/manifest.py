"""`plugin.yaml`: what a plugin says about itself."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from innkeeper.nodes.errors import PluginLoadError
from innkeeper.nodes.plain_yaml import AliasFreeLoader

MANIFEST = "plugin.yaml"
MAX_MANIFEST_BYTES = 64 * 1024


def _inside(path: str) -> str:
    if not path or path.startswith("/") or ".." in path.split("/") or "\\" in path or "\0" in path:
        raise ValueError("must be a path inside the plugin's folder, without '..'")
    return path


def _function_of_file(text: str) -> str:
    file, _, function = text.partition(":")
    if not file.endswith(".py") or not function.isidentifier():
        raise ValueError("must name a function of a file, like 'adapters/mine.py:make'")
    _inside(file)
    return text


InnerPath = Annotated[str, AfterValidator(_inside)]


class _Part(BaseModel):
    # `version: 1.0` is a number in YAML; people mean the text.
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        coerce_numbers_to_str=True,
        defer_build=True,  # most starts read no plugin
    )


class NodesPart(_Part):
    """`entry`: the folder of node files, relative to the manifest."""

    entry: InnerPath


class BuildPart(_Part):
    entry: InnerPath
    styles: tuple[InnerPath, ...] = ()
    output_dir: InnerPath


class VanillaPart(_Part):
    entry: InnerPath
    styles: tuple[InnerPath, ...] = ()
    root_dir: InnerPath = "web"


class FrontendPart(_Part):
    type: Literal["vite", "vanilla"] = "vite"
    build: BuildPart | None = None
    vanilla: VanillaPart | None = None

    @property
    def assets(self) -> Assets | None:
        """What is served: of the declared type, else of the other one; None when neither is there."""
        build, vanilla = self.build, self.vanilla
        built = None if build is None else Assets(build.output_dir, build.entry, build.styles)
        plain = None if vanilla is None else Assets(vanilla.root_dir, vanilla.entry, vanilla.styles)
        return (plain or built) if self.type == "vanilla" else (built or plain)


@dataclass(frozen=True)
class Assets:
    """The front end of a plugin as it is served.

    Attributes:
        folder: Relative to the plugin's folder.
        entry: The script that is loaded, relative to `folder`, as `styles`; authors may write `folder` before it.
    """

    folder: str
    entry: str
    styles: tuple[str, ...]

    def path_of(self, file: str) -> str:
        """A declared file, relative to the plugin's folder."""
        folder = self.folder.strip("/").removeprefix("./")
        return file if file.startswith(f"{folder}/") else f"{folder}/{file}"


class ConfigOptionChoice(_Part):
    label: str
    value: JsonValue


class ConfigOption(_Part):
    """One setting of a plugin, as its form shows it. `key` is relative to the plugin.

    Attributes:
        secret: The value is stored encrypted, shown as `MASK`, and given to nodes as a `SecretRef`. For texts.
    """

    key: Annotated[str, Field(min_length=1)]
    type: Literal[
        "string", "number", "boolean", "select", "textarea", "slider", "avatar", "button-group", "action-button"
    ]
    label: str
    description: str | None = None
    default_value: JsonValue = None
    category: str | None = None
    category_key: str | None = None
    options: tuple[ConfigOptionChoice, ...] = ()
    min: float | None = None
    max: float | None = None
    step: float | None = None
    store_name: str | None = None
    button_text: str | None = None
    disabled: bool = False
    secret: bool = False

    @model_validator(mode="after")
    def _only_texts_are_secret(self) -> Self:
        if self.secret and (self.type not in ("string", "textarea") or self.default_value is not None):
            raise ValueError("a secret must have the type string or textarea, and no defaultValue")
        return self


class AdapterPart(_Part):
    """A protocol of language models that the plugin speaks.

    Attributes:
        name: What channels give as their `adapterType`.
        module: `file.py:function`; the function takes nothing and gives a `WireProtocol`.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)]
    display_name: Annotated[str, Field(min_length=1, max_length=100)]
    module: Annotated[str, AfterValidator(_function_of_file)]

    @property
    def file(self) -> str:
        return self.module.partition(":")[0]

    @property
    def function(self) -> str:
        return self.module.partition(":")[2]


class PluginManifest(_Part):
    """A checked `plugin.yaml`. `name` is the plugin's id and the namespace of its nodes."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
    display_name: str
    version: str
    description: str | None = None
    manifest_version: Literal[1] = 1
    nodes: NodesPart | None = None
    frontend: FrontendPart | None = None
    config_options: tuple[ConfigOption, ...] = ()
    adapters: tuple[AdapterPart, ...] = ()


class _Loader(AliasFreeLoader):
    """Refuses a key that stands twice: YAML itself would drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.YAMLError(f"the key {key.value!r} stands twice")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_manifest(folder: Path) -> tuple[PluginManifest, tuple[str, ...]]:
    """Read and check the manifest of a plugin folder; the second value names fields that have no meaning here.

    Raises:
        PluginLoadError: There is none, it is too large, not YAML, or does not fit the schema.
    """
    data = _parse_mapping(_read_bounded(folder / MANIFEST))
    try:
        manifest = PluginManifest.model_validate(data)
    except ValidationError as error:
        raise PluginLoadError(_explain(error), file=MANIFEST) from error
    known = {field.alias or name for name, field in PluginManifest.model_fields.items()}
    unknown = sorted(str(key) for key in data if key not in known)
    return manifest, tuple(f"the field {key!r} is not used" for key in unknown)


def _read_bounded(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise PluginLoadError(f"{MANIFEST} cannot be read: {error.strerror}", file=MANIFEST) from error
    if len(data) > MAX_MANIFEST_BYTES:
        raise PluginLoadError(f"{MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes", file=MANIFEST)
    return data


def _parse_mapping(data: bytes) -> dict[str, Any]:
    try:
        # A subclass of SafeLoader: builds plain data only.
        loaded = yaml.load(data, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PluginLoadError(f"{MANIFEST} is not valid YAML: {_where(error)}", file=MANIFEST) from error
    if not isinstance(loaded, dict):
        raise PluginLoadError(f"{MANIFEST} must hold a mapping with name, displayName and version", file=MANIFEST)
    return loaded


def _where(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} (line {error.problem_mark.line + 1})"
    return "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())


def _explain(error: ValidationError) -> str:
    found = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False)]
    return "; ".join(found)
