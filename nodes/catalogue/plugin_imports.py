"""Imports of plugin code: always from its source, never from cached bytecode.

Python takes cached bytecode for a file's own while its time, in whole seconds, and its size are the same. A file that
is saved twice within a second may keep both, and a reload would run what stood there before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

from innkeeper.nodes.traces import PLUGIN_PACKAGE


class SourceLoader(SourceFileLoader):
    """Compiles a file whenever it is imported."""

    def path_stats(self, path: Any) -> dict[str, Any]:
        # By this the import system takes no bytecode, and writes none.
        raise OSError("bytecode of plugins is not cached")


class _PluginFinder:
    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(PLUGIN_PACKAGE):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = SourceLoader(name, spec.loader.path)
        return spec


def install() -> None:
    """Make this process import plugins so. Once is enough."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


_FINDER: Any = _PluginFinder()
