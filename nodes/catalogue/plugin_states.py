"""Which plugins somebody has turned off: one file in the data directory, read by gateway and workers when they load."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import orjson

from innkeeper.nodes.json_values import InvalidJson, read_json

_log = logging.getLogger("innkeeper.plugins")

STATES_FILE = Path("system", "config", "plugin_states.json")
"""Below the data directory, as ComfyTavern has it: `{"<plugin>": {"enabled": false}}`. Who is not named is enabled."""
MAX_STATES_BYTES = 256 * 1024


def read_states(data_dir: Path) -> dict[str, bool]:
    """Name of each plugin that is named in the file to whether it is enabled; a file that is no good names none."""
    try:
        with (data_dir / STATES_FILE).open("rb") as stream:
            data = stream.read(MAX_STATES_BYTES + 1)
        found = read_json(data) if len(data) <= MAX_STATES_BYTES else None
    except FileNotFoundError:
        return {}
    except (OSError, InvalidJson) as error:
        _log.error("%s cannot be read, all plugins are enabled: %s", STATES_FILE.name, error)
        return {}
    if not isinstance(found, dict):
        _log.error("%s is no JSON object of a moderate size, all plugins are enabled", STATES_FILE.name)
        return {}
    return {
        name: state["enabled"]
        for name, state in found.items()
        if isinstance(state, dict) and isinstance(state.get("enabled"), bool)
    }


def disabled_plugins(data_dir: Path) -> frozenset[str]:
    return frozenset(name for name, is_enabled in read_states(data_dir).items() if not is_enabled)


def states_text(states: Mapping[str, bool]) -> bytes:
    """The file's new content."""
    data = {name: {"enabled": is_enabled} for name, is_enabled in sorted(states.items())}
    return orjson.dumps(data, option=orjson.OPT_INDENT_2)
