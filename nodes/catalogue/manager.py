"""The catalogue of node types: who may register what under which name, and how it is found again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from innkeeper.nodes.catalogue.checks import check_definition
from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.errors import DuplicateNodeType, PluginLoadError

CORE = "core"
UNKNOWN = "unknown"
LIBRARY_ROOT = Path(__file__).resolve().parents[1] / "library"
"""The built-in node types; only files below it are `core`."""


@dataclass(frozen=True)
class _Entry:
    node: NodeDefinition
    owner: str | None


class NodeManager:
    """Node definitions by full type (`namespace:type`).

    A name is given once: a second definition of a full type is an error, never a replacement.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._reserved: set[str] = set()

    def register_node(
        self,
        node: NodeDefinition,
        file_path: str | Path | None = None,
        *,
        plugin: str | None = None,
        default_namespace: str | None = None,
    ) -> NodeDefinition:
        """Add one definition and give it back as stored, with its namespace and file.

        The namespace is the definition's own, else `plugin`, else `default_namespace`, else what the path says:
        `core` below the built-in library, `unknown` elsewhere.

        Raises:
            PluginLoadError: The definition is unsound, or claims `core` or the name of another plugin.
            DuplicateNodeType: The full type is taken; the message names both sources.
        """
        check_definition(node)
        namespace = node.namespace or plugin or default_namespace or _namespace_of(file_path)
        self._check_claim(namespace, node, file_path, plugin)
        stored = node.with_origin(namespace, None if file_path is None else str(file_path))
        present = self._entries.get(stored.full_type)
        if present is not None:
            first, second = _source_of(present.node, present.owner), _source_of(stored, plugin)
            raise DuplicateNodeType(f"node type {stored.full_type!r} of {second} is already registered by {first}")
        self._entries[stored.full_type] = _Entry(stored, plugin)
        return stored

    def reserve_namespace(self, name: str) -> None:
        """Keep the namespace `name` for the plugin of that name. Reserve all plugins before their nodes are loaded."""
        self._reserved.add(name)

    def get_definitions(self) -> list[NodeDefinition]:
        """All definitions in the order of their registration."""
        return [entry.node for entry in self._entries.values()]

    def get_node(self, full_type: str) -> NodeDefinition | None:
        """The definition of `namespace:type`, or None."""
        entry = self._entries.get(full_type)
        return entry.node if entry else None

    def clear_nodes(self) -> None:
        """Forget every node type and every reserved name."""
        self._entries.clear()
        self._reserved.clear()

    def unregister(self, full_types: Iterable[str]) -> None:
        """Remove single node types; unknown ones are ignored."""
        for full_type in full_types:
            self._entries.pop(full_type, None)

    def unregister_namespace(self, namespace: str) -> tuple[str, ...]:
        """Remove every node type of a namespace, whoever registered it; gives back their full types."""
        return self._remove(key for key, entry in self._entries.items() if entry.node.namespace == namespace)

    def unregister_plugin(self, plugin: str) -> tuple[str, ...]:
        """Remove every node type a plugin registered, also those with a namespace of their own."""
        return self._remove(key for key, entry in self._entries.items() if entry.owner == plugin)

    def _remove(self, full_types: Iterable[str]) -> tuple[str, ...]:
        found = tuple(full_types)
        self.unregister(found)
        return found

    def _check_claim(
        self, namespace: str, node: NodeDefinition, file_path: str | Path | None, plugin: str | None
    ) -> None:
        if namespace == CORE and not is_builtin(file_path):
            raise PluginLoadError(f"node type {node.type!r}: the namespace 'core' belongs to the built-in nodes")
        if namespace in self._reserved and namespace != plugin:
            raise PluginLoadError(f"node type {node.type!r}: the namespace {namespace!r} belongs to that plugin")


def is_builtin(file_path: str | Path | None) -> bool:
    """Does the file lie below the built-in library?"""
    return file_path is not None and Path(file_path).resolve().is_relative_to(LIBRARY_ROOT)


def short_path(file_path: str | Path) -> str:
    """The end of a path, for messages that clients may see: they are not told where the server keeps its files."""
    path = Path(file_path)
    if is_builtin(path):
        return path.resolve().relative_to(LIBRARY_ROOT.parents[1]).as_posix()
    return "/".join(path.parts[-3:]) if path.is_absolute() else path.as_posix()


def _namespace_of(file_path: str | Path | None) -> str:
    return CORE if is_builtin(file_path) else UNKNOWN


def _source_of(node: NodeDefinition, owner: str | None) -> str:
    place = f"file {short_path(node.file_path)!r}" if node.file_path else "code without a file"
    return f"plugin {owner!r}, {place}" if owner else place


node_manager = NodeManager()
"""The process's catalogue. Only composition roots read it; everything else is handed the one it uses."""
