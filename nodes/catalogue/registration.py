"""Registering node types from code, with a namespace of the caller's choice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from innkeeper.nodes.catalogue.manager import NodeManager, node_manager
from innkeeper.nodes.definition import NodeDefinition


class Registerer(Protocol):
    """Adds one definition. It gives it back, so that a module can say `definition = register(NodeDefinition(...))`."""

    def __call__(self, node: NodeDefinition, file_path: str | Path | None = None) -> NodeDefinition: ...


@dataclass(frozen=True)
class Registration:
    """A definition that a module registered while it was imported."""

    node: NodeDefinition
    default_namespace: str
    file_path: str | Path | None = None


# Set by the loader while it imports a file. What the file registers then belongs to that load: it gets the plugin's
# name before the registerer's, and is rolled back with it.
_collecting: ContextVar[list[Registration] | None] = ContextVar("collecting", default=None)


def create_node_registerer(namespace: str, manager: NodeManager | None = None) -> Registerer:
    """A function that registers definitions under `namespace`, unless the definition or its plugin names another.

    In a file that a `NodeLoader` imports, it registers into that loader's manager; elsewhere into `manager`,
    by default the process's.
    """

    def register(node: NodeDefinition, file_path: str | Path | None = None) -> NodeDefinition:
        collected = _collecting.get()
        if collected is None:
            target = manager if manager is not None else node_manager
            return target.register_node(node, file_path, default_namespace=namespace)
        collected.append(Registration(node, namespace, file_path))
        return node

    return register


@contextmanager
def collect_registrations() -> Iterator[list[Registration]]:
    """Gather what registerers are given inside the block instead of registering it."""
    collected: list[Registration] = []
    token = _collecting.set(collected)
    try:
        yield collected
    finally:
        _collecting.reset(token)
