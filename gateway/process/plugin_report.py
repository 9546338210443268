"""How loading each plugin went, in lines for people; of what `GET /api/plugins` answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def plugin_lines(plugins: Iterable[Mapping[str, Any]]) -> list[str]:
    """What each plugin brings, or why it was not loaded."""
    return [line for plugin in plugins for line in (*_nodes(plugin), *_faults(plugin))]


def fault_lines(plugins: Iterable[Mapping[str, Any]]) -> list[str]:
    """Only what is wrong: a line for each file that could not be loaded, and for each warning."""
    return [line for plugin in plugins for line in _faults(plugin)]


def _nodes(plugin: Mapping[str, Any]) -> list[str]:
    if not plugin.get("isEnabled", True):
        return [f"plugin {plugin['name']} is disabled"]
    return [f"plugin {plugin['name']}: {', '.join(plugin['nodes']) or 'no nodes'}"] if plugin["loaded"] else []


def _faults(plugin: Mapping[str, Any]) -> list[str]:
    name = plugin["name"]
    errors = [f"plugin {name} was not loaded: {error['file']}: {error['reason']}" for error in plugin.get("errors", ())]
    return [*errors, *(f"plugin {name}: warning: {warning}" for warning in plugin.get("warnings", ()))]
