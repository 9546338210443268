"""The catalogue of a running process, which a reload replaces as a whole."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.nodes.catalogue.plugins import Catalogue, PluginAdapter, PluginStatus
from innkeeper.nodes.definition import NodeDefinition


class LiveCatalogue:
    """Gives what the newest catalogue has. Who looks up several things that must fit each other asks `current` once.

    Args:
        keeps_missing: A node type that a newer catalogue lacks is still found, as it was last: a worker goes on with
            runs that began with it.
    """

    def __init__(self, current: Catalogue, *, keeps_missing: bool = False) -> None:
        self._current = current
        self._keeps_missing = keeps_missing
        self._missing: Mapping[str, NodeDefinition] = {}

    @property
    def current(self) -> Catalogue:
        return self._current

    @property
    def plugins(self) -> tuple[PluginStatus, ...]:
        return self._current.plugins

    @property
    def adapters(self) -> tuple[PluginAdapter, ...]:
        return self._current.adapters

    def replace(self, catalogue: Catalogue) -> None:
        """Take another catalogue from now on."""
        if self._keeps_missing:
            before = {node.full_type: node for node in self._current.get_definitions()}
            kept = {**self._missing, **before}
            self._missing = {name: node for name, node in kept.items() if catalogue.get_node(name) is None}
        self._current = catalogue

    def get_node(self, full_type: str) -> NodeDefinition | None:
        return self._current.get_node(full_type) or self._missing.get(full_type)

    def get_definitions(self) -> list[NodeDefinition]:
        return self._current.get_definitions()

    def absence(self, full_type: str) -> str | None:
        return self._current.absence(full_type)
