"""`channels.yaml`: the operator's channels and models as people write them, with the place of everything wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from innkeeper.nodes.plain_yaml import AliasFreeLoader
from innkeeper.nodes.services.channels import (
    BUILT_IN_ADAPTERS,
    PINNED,
    Channel,
    ChannelConfig,
    Limits,
    Model,
    ModelGroup,
    ModelTraits,
    Parameters,
    Pricing,
    Routing,
)

CHANNELS_FILE = "channels.yaml"
MAX_FILE_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_PROBLEMS = 50
Place = tuple[str | int, ...]
_WORDING = {
    "missing": "is missing",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "dict_type": "must be a mapping",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "greater_than": "must be more than 0",
    "invalid-json-value": "must be JSON: texts, numbers, true, false, lists and mappings",
}


@dataclass(frozen=True)
class FileProblem:
    """One thing wrong (`error`) or odd (`warning`) in the file. `line` counts from 1; 0 is the whole file."""

    line: int
    message: str
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclass(frozen=True)
class ChannelFile:
    """What a file says. `config` is None when it has an error."""

    config: ChannelConfig | None
    problems: tuple[FileProblem, ...] = ()

    @property
    def errors(self) -> tuple[FileProblem, ...]:
        return tuple(problem for problem in self.problems if problem.level == "error")


def read_channels(data: bytes, adapters: Collection[str] = BUILT_IN_ADAPTERS) -> ChannelFile:
    """Read and check a file; all problems are told at once, none quotes a value that could be a key.

    Keys that have no meaning here, and channels of an unknown adapter (which are not used), are warnings.
    """
    if len(data) > MAX_FILE_BYTES:
        return _broken(f"the file is larger than {MAX_FILE_BYTES} bytes")
    try:
        tree = _Tree(data)
    except (yaml.YAMLError, RecursionError) as error:
        return _broken(_reason(error), _line_of_error(error))
    if not isinstance(tree.value, Mapping):
        return _broken("the file must hold a mapping with 'channels' and 'models'", 1)
    config, errors = _validated(tree)
    problems = [*tree.problems, *errors, *_unused_keys(tree)]
    if config is not None:
        problems += [*_cross_problems(config, tree), *_oddities(config, tree, adapters)]
    is_broken = any(problem.level == "error" for problem in problems)
    shown = tuple(sorted(problems, key=lambda problem: (problem.level, problem.line)))[:MAX_PROBLEMS]
    return ChannelFile(None if is_broken else config, shown)


class _Unreadable(yaml.MarkedYAMLError):
    def __init__(self, problem: str, node: yaml.Node) -> None:
        super().__init__(problem=problem, problem_mark=node.start_mark)


class _Tree:
    """Plain data, and the line of each part of it. A key without a value counts as not there."""

    def __init__(self, data: bytes) -> None:
        self.problems: list[FileProblem] = []
        self._lines: dict[Place, int] = {}
        self._loader = AliasFreeLoader(data)
        try:
            node = self._loader.get_single_node()
            self.value = {} if node is None else self._plain(node, ())
        finally:
            self._loader.dispose()

    def line(self, place: Place) -> int:
        """Where it stands, or what it should stand in."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)

    def _plain(self, node: yaml.Node, place: Place) -> Any:
        if len(place) > MAX_DEPTH:
            raise _Unreadable("it is nested too deeply", node)
        self._lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*place, index)) for index, item in enumerate(node.value)]
        try:
            return _whole(self._loader.construct_object(node), node)
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError):
            # `!!int x`, a 13th month: what the library says would quote the value, which may be a key.
            raise _Unreadable("a value does not fit its type", node) from None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(_whole(key_node.value, key_node)), key_node.start_mark.line + 1
            if (*place, key) in self._lines:
                self.problems.append(FileProblem(line, f"{place_of((*place, key))} stands twice"))
                continue
            self._lines[(*place, key)] = line
            value = self._plain(value_node, (*place, key))
            if value is not None:
                found[key] = value
        return found


def _whole(value: Any, node: yaml.Node) -> Any:
    """The value. Half a character (`"\\ud800"`) can be written nowhere: not in a message, a log or an answer."""
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise _Unreadable("a text holds half a character", node)
    return value


def _validated(tree: _Tree) -> tuple[ChannelConfig | None, list[FileProblem]]:
    try:
        return ChannelConfig.model_validate(tree.value), []
    except ValidationError as error:
        return None, [_problem_of(item, tree) for item in error.errors(include_input=False, include_url=False)]


def _problem_of(item: ErrorDetails, tree: _Tree) -> FileProblem:
    return FileProblem(tree.line(item["loc"]), f"{place_of(item['loc'])} {wording_of(item)}")


def wording_of(item: ErrorDetails) -> str:
    """What is wrong, in our words; it quotes no value."""
    wording = _WORDING.get(item["type"]) or item["msg"].removeprefix("Value error, ")
    return f"{wording[:1].lower()}{wording[1:]}"


def _unused_keys(tree: _Tree) -> Iterator[FileProblem]:
    yield from _unused_of(tree, (), tree.value, ChannelConfig)
    yield from _unused_of(tree, ("routing",), tree.value.get("routing"), Routing)
    for name, kind in (("channels", Channel), ("models", Model), ("modelGroups", ModelGroup)):
        items = tree.value.get(name)
        for index, item in enumerate(items if isinstance(items, list) else ()):
            yield from _unused_of(tree, (name, index), item, kind)
            if kind is Channel and isinstance(item, Mapping):
                yield from _unused_traits(tree, (name, index), item)


def _unused_traits(tree: _Tree, place: Place, item: Mapping[str, Any]) -> Iterator[FileProblem]:
    for name, kind in (("parameters", Parameters), ("limits", Limits), ("pricing", Pricing)):
        yield from _unused_of(tree, (*place, name), item.get(name), kind)
    special = item.get("perModel")
    for model, traits in special.items() if isinstance(special, Mapping) else ():
        yield from _unused_of(tree, (*place, "perModel", model), traits, ModelTraits)
        if isinstance(traits, Mapping):
            yield from _unused_traits(tree, (*place, "perModel", model), {**traits, "perModel": None})


def _unused_of(tree: _Tree, place: Place, part: Any, kind: type[BaseModel]) -> Iterator[FileProblem]:
    # What a channel is stands before how it differs.
    names = sorted(kind.model_fields, key=lambda name: name in ModelTraits.model_fields)
    known = [kind.model_fields[name].alias or name for name in names]
    for key in part if isinstance(part, Mapping) else ():
        if key not in known:
            message = f"{place_of((*place, key))} is not used; known keys are {', '.join(known)}"
            yield FileProblem(tree.line((*place, key)), message, "warning")


def _cross_problems(config: ChannelConfig, tree: _Tree) -> Iterator[FileProblem]:
    channels = [channel.id for channel in config.channels]
    yield from _repeated("channels", "id", channels, tree)
    yield from _repeated("models", "modelId", [model.model_id for model in config.models], tree)
    for index, model in enumerate(config.models):
        if model.default_channel_ref and model.default_channel_ref not in channels:
            place = ("models", index, "defaultChannelRef")
            message = f"{place_of(place)} names no channel; channels are {', '.join(channels) or 'none'}"
            yield FileProblem(tree.line(place), message)
    yield from _group_problems(config, tree)


def _group_problems(config: ChannelConfig, tree: _Tree) -> Iterator[FileProblem]:
    yield from _repeated("modelGroups", "id", [group.id for group in config.model_groups], tree)
    models = {model.model_id for model in config.models}
    for index, group in enumerate(config.model_groups):
        place: Place = ("modelGroups", index, "id")
        if group.id in models:
            yield FileProblem(tree.line(place), f"{place_of(place)} {group.id!r} is a model's id, too")
        if group.id.startswith(PINNED):
            yield FileProblem(tree.line(place), f"{place_of(place)} must not begin with {PINNED!r}")


def _repeated(part: str, key: str, names: Iterable[str], tree: _Tree) -> Iterator[FileProblem]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            place = (part, index, key)
            yield FileProblem(tree.line(place), f"{place_of(place)} {name!r} is taken by another one")
        seen.add(name)


def _oddities(config: ChannelConfig, tree: _Tree, adapters: Collection[str]) -> Iterator[FileProblem]:
    for index, channel in enumerate(config.channels):
        if channel.adapter_type not in adapters:
            place: Place = ("channels", index, "adapterType")
            message = f"{place_of(place)} is not known, so the channel is not used; types are {', '.join(adapters)}"
            yield FileProblem(tree.line(place), message, "warning")
        for name in channel.per_model:
            if not channel.supports(name):
                place = ("channels", index, "perModel", name)
                message = f"{place_of(place)} is not used: the channel's supportedModels do not have it"
                yield FileProblem(tree.line(place), message, "warning")
    for index, model in enumerate(config.models):
        # A disabled channel counts: turning one off for a while is nothing odd.
        if not model.default_channel_ref and not _has_channel(model.model_id, config):
            message = f"models[{index}] {model.model_id!r} has no channel"
            yield FileProblem(tree.line(("models", index)), message, "warning")
    with_default = {model.model_id for model in config.models if model.default_channel_ref}
    for index, group in enumerate(config.model_groups):
        for number, name in enumerate(group.models):
            if name not in with_default and not _has_channel(name, config):
                place = ("modelGroups", index, "models", number)
                yield FileProblem(tree.line(place), f"{place_of(place)} {name!r} has no channel", "warning")
    listed = {model.model_id for model in config.models}
    for index, name in enumerate(config.routing.preferred_models):
        if name not in listed:
            place = ("routing", "preferredModels", index)
            yield FileProblem(tree.line(place), f"{place_of(place)} {name!r} is no model of this file", "warning")


def _has_channel(model: str, config: ChannelConfig) -> bool:
    return any(channel.supports(model) for channel in config.channels)


def place_of(place: Place) -> str:
    """`channels[0].apiKey`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:64]}" for part in place)
    return text.removeprefix(".")


def _broken(message: str, line: int = 0) -> ChannelFile:
    return ChannelFile(None, (FileProblem(line, message),))


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, yaml.MarkedYAMLError):
        return f"it is not valid YAML: {error.problem}"
    return f"it is not valid YAML: {' '.join(str(error).split())[:200]}"


def _line_of_error(error: Exception) -> int:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return mark.line + 1 if mark else 0
