"""The settings of plugins: the defaults of `configOptions`, and above them what the operator wrote into a file."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
from pydantic import JsonValue

from innkeeper.nodes.call import kind_of
from innkeeper.nodes.catalogue.manifest import ConfigOption, PluginManifest
from innkeeper.nodes.catalogue.plugins import PluginStatus
from innkeeper.nodes.errors import PluginLoadError
from innkeeper.nodes.json_values import InvalidJson, read_json
from innkeeper.nodes.node import SecretRef

_log = logging.getLogger("innkeeper.plugins")

SETTINGS_FOLDER = Path("system", "config", "extensions")
"""Below the data directory, one `<plugin>.json` each: `system://` is what nodes may read and never write."""
PLUGIN_SECRETS_FOLDER = Path("plugin-secrets")
"""Below the data directory, where no graph reads, one `<plugin>.json` each: references to secrets among the settings.
A graph that knew one could spend the secret elsewhere."""
MAX_SETTINGS_BYTES = 256 * 1024

MASK = "********"
"""What is shown of a secret setting; sent back, it keeps what is stored."""
_SECRET_ID = re.compile(r"[0-9a-f]{64}")

PluginSettings = Mapping[str, Any]
"""JSON values, and a `SecretRef` for a secret setting."""
Seal = Callable[[str], SecretRef]


def load_plugin_settings(plugins: Sequence[PluginStatus], data_dir: Path) -> dict[str, PluginSettings]:
    """The settings of each node type of a plugin that has any, by full type. For composition roots.

    A file that cannot be used and a value that does not fit are logged; the defaults count in their place.
    """
    found: dict[str, PluginSettings] = {}
    for plugin in plugins:
        if plugin.is_loaded and plugin.manifest is not None and plugin.manifest.config_options:
            settings = MappingProxyType(_load(plugin.manifest, data_dir))
            found.update(dict.fromkeys(plugin.nodes, settings))
    return found


def settings_of(manifest: PluginManifest, given: Mapping[str, JsonValue]) -> tuple[dict[str, Any], list[str]]:
    """The effective settings of a plugin, and a sentence for each given value that does not count.

    Every option has a value, its default where none was given (None without a default); an `action-button` has none.
    """
    options = _options(manifest)
    settings: dict[str, Any] = {key: option.default_value for key, option in options.items()}
    problems = []
    for key, value in given.items():
        if key not in options:
            problems.append(f"there is no setting {key!r}; settings are {', '.join(map(repr, options)) or 'none'}")
        elif options[key].secret:
            if (ref := _secret_of(value)) is None:
                problems.append(f"setting {key!r} is a secret: set it by POST /api/plugins/{manifest.name}/settings")
            else:
                settings[key] = ref
        elif (allowed := _not_allowed(options[key], value)) is not None:
            # Never the value itself: somebody may have put a key there.
            problems.append(f"setting {key!r} is {kind_of(value)}; allowed is {allowed}")
        else:
            settings[key] = value
    return settings, problems


def read_settings(manifest: PluginManifest, data_dir: Path) -> dict[str, JsonValue]:
    """What is stored of a plugin's settings, secrets as references.

    Raises:
        PluginLoadError: A file cannot be read.
    """
    file = f"{manifest.name}.json"
    return {**_read(data_dir / SETTINGS_FOLDER / file), **_read(data_dir / PLUGIN_SECRETS_FOLDER / file)}


def settings_files(manifest: PluginManifest, settings: Mapping[str, JsonValue]) -> dict[Path, bytes]:
    """What is to be written of settings: path below the data directory to content."""
    file, options = f"{manifest.name}.json", _options(manifest)
    secret = {key: value for key, value in settings.items() if key in options and options[key].secret}
    plain = {key: value for key, value in settings.items() if key not in secret}
    parts = {SETTINGS_FOLDER / file: plain, PLUGIN_SECRETS_FOLDER / file: secret}
    return {path: orjson.dumps(part, option=orjson.OPT_INDENT_2) for path, part in parts.items()}


def shown_settings(manifest: PluginManifest, stored: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The effective settings as clients may see them."""
    settings, _ = settings_of(manifest, stored)
    return {key: MASK if isinstance(value, SecretRef) else value for key, value in settings.items()}


def changed_settings(
    manifest: PluginManifest, stored: Mapping[str, JsonValue], given: Mapping[str, JsonValue], seal: Seal
) -> tuple[dict[str, JsonValue], list[str]]:
    """What is to be stored when a client sends its settings, and a sentence for each value that cannot be.

    The settings that are not sent have their defaults again. A secret that comes as `MASK` stays as it is stored; an
    empty one, or null, is forgotten.

    Args:
        seal: Stores a secret and names it.
    """
    options = _options(manifest)
    plain = {key: value for key, value in given.items() if key not in options or not options[key].secret}
    # The form sends null for what has no value.
    kept = {key: value for key, value in plain.items() if value is not None or key not in options}
    _, problems = settings_of(manifest, kept)
    secret = {key: value for key, value in given.items() if key not in plain and value not in ("", None)}
    problems += [f"setting {key!r} is a secret: a text" for key, value in secret.items() if not isinstance(value, str)]
    if problems:
        return {}, problems
    for key, value in secret.items():
        if value != MASK:
            kept[key] = dict(seal(str(value)).to_json())
        elif _secret_of(stored.get(key)) is not None:
            kept[key] = stored[key]
    return kept, []


def _options(manifest: PluginManifest) -> dict[str, ConfigOption]:
    return {option.key: option for option in manifest.config_options if option.type != "action-button"}


def _secret_of(value: JsonValue) -> SecretRef | None:
    """The reference that stands for a secret in a file of settings."""
    found = value.get("$secret") if isinstance(value, dict) and len(value) == 1 else None
    return SecretRef(found) if isinstance(found, str) and _SECRET_ID.fullmatch(found) else None


def _load(manifest: PluginManifest, data_dir: Path) -> dict[str, Any]:
    file = f"{manifest.name}.json"
    try:
        given = read_settings(manifest, data_dir)
    except PluginLoadError as error:
        _log.error("settings of plugin %s: %s; its defaults count", manifest.name, error.message)
        given = {}
    settings, problems = settings_of(manifest, given)
    for problem in problems:
        _log.error("settings of plugin %s: %s: %s", manifest.name, file, problem)
    return settings


def _read(file: Path) -> dict[str, JsonValue]:
    """What the operator wrote; nothing when there is no file."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_SETTINGS_BYTES + 1)
        settings = read_json(data) if len(data) <= MAX_SETTINGS_BYTES else None
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise PluginLoadError(f"{file.name} cannot be read: {error.strerror}") from error
    except InvalidJson as error:
        place = "" if error.position is None else f" (line {error.position[0]})"
        raise PluginLoadError(f"{file.name} is not JSON{place}: {error.reason}") from error
    if not isinstance(settings, dict):
        raise PluginLoadError(f"{file.name} must be a JSON object of at most {MAX_SETTINGS_BYTES} bytes")
    return settings


def _not_allowed(option: ConfigOption, value: JsonValue) -> str | None:
    """What would be allowed, when the value is not."""
    is_allowed, allowed = _RULES.get(option.type, _text)(option, value)
    return None if is_allowed else allowed


def _text(option: ConfigOption, value: JsonValue) -> tuple[bool, str]:
    return isinstance(value, str), "a text"


def _boolean(option: ConfigOption, value: JsonValue) -> tuple[bool, str]:
    return isinstance(value, bool), "true or false"


def _number(option: ConfigOption, value: JsonValue) -> tuple[bool, str]:
    low = "" if option.min is None else f" of at least {option.min:g}"
    high = "" if option.max is None else f" of at most {option.max:g}"
    allowed = "a number" + " and".join(filter(None, (low, high)))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False, allowed
    is_high_enough = option.min is None or value >= option.min
    return is_high_enough and (option.max is None or value <= option.max), allowed


def _choice(option: ConfigOption, value: JsonValue) -> tuple[bool, str]:
    # As JSON: to Python `true` equals 1.
    choices = [orjson.dumps(choice.value).decode() for choice in option.options]
    return orjson.dumps(value).decode() in choices, " or ".join(choices)


_RULES: Mapping[str, Callable[[ConfigOption, Any], tuple[bool, str]]] = {
    "number": _number,
    "slider": _number,
    "boolean": _boolean,
    "select": _choice,
    "button-group": _choice,
}
