"""Finding node definitions in a folder of Python files: the same door for the built-in library and for plugins."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.errors import InnkeeperError, PluginLoadError
from innkeeper.nodes.manager import LIBRARY_ROOT, NodeManager, node_manager
from innkeeper.nodes.registration import Registration, collect_registrations

_SHORT_NAMES = frozenset({"nodes", "workflows", "activities", "gateway"})
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})
_REGISTERED = "__innkeeper_registrations__"
_package_numbers = itertools.count(1)


@dataclass(frozen=True)
class LoadError:
    """A node file that could not be loaded. `file` is relative to the loaded folder (of a plugin: to the plugin)."""

    file: str
    reason: str


@dataclass(frozen=True)
class LoadReport:
    """What a load gave: full types in the order of their registration, and every file that failed."""

    nodes: tuple[str, ...] = ()
    errors: tuple[LoadError, ...] = ()


class NodeLoader:
    """Loads node files into a manager, by default the process's."""

    def __init__(self, manager: NodeManager | None = None) -> None:
        self._manager = manager if manager is not None else node_manager

    def load_nodes(
        self, path: str | Path, default_namespace: str | None = None, *, package_root: Path | None = None
    ) -> LoadReport:
        """Import every Python file below a folder, in sorted order, and register its `definition` and `definitions`.

        A file that fails registers nothing, is reported, and the others go on. Files without definitions are fine:
        they are shared code. Hidden folders are not looked at.

        Args:
            path: The folder.
            default_namespace: Name of the plugin the folder belongs to.
            package_root: The folder that `from ..x import y` may reach up to; by default `path` itself.
        """
        folder = Path(path).resolve()
        if not folder.is_dir():
            return LoadReport(errors=(LoadError(folder.name, "the folder of node files does not exist"),))
        load = _Load(self._manager, default_namespace, (package_root or folder).resolve())
        load.run(folder)
        return LoadReport(tuple(load.nodes), tuple(load.errors))


class _Load:
    """One pass over one folder."""

    def __init__(self, manager: NodeManager, plugin: str | None, root: Path) -> None:
        self._manager = manager
        self._plugin = plugin
        self._root = root
        # A package that re-exports what its files define shows the same object twice.
        self._seen: list[NodeDefinition] = []
        self.nodes: list[str] = []
        self.errors: list[LoadError] = []

    def run(self, folder: Path) -> None:
        importlib.invalidate_caches()
        try:
            package = _package_for(self._root)
        except (Exception, SystemExit) as error:
            self.errors.append(LoadError("__init__.py", reason_of(error)))
            return
        for file in _node_files(folder):
            try:
                self._load_file(file, _module_name(package, file.relative_to(self._root)))
            except (Exception, SystemExit) as error:
                self.errors.append(LoadError(file.relative_to(self._root).as_posix(), reason_of(error)))

    def _load_file(self, file: Path, module_name: str) -> None:
        found = _definitions_of(_import(module_name))
        added: list[str] = []
        try:
            for item in found:
                if any(item.node is seen for seen in self._seen):
                    continue
                added.append(self._register(item, file))
        except Exception:
            self._manager.unregister(added)
            raise
        self._seen.extend(item.node for item in found)
        self.nodes.extend(added)

    def _register(self, item: Registration, file: Path) -> str:
        stored = self._manager.register_node(
            item.node,
            item.file_path or file,
            plugin=self._plugin,
            default_namespace=item.default_namespace or None,
        )
        return stored.full_type


def reason_of(error: BaseException) -> str:
    """One line on why a file failed, for people."""
    if isinstance(error, InnkeeperError):
        return error.message
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} (line {error.lineno})"
    return f"{type(error).__name__}: {error}{_import_advice(error)}"


def _import_advice(error: BaseException) -> str:
    """What to write instead, when a package of ours was imported by its short name; else nothing."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package not in _SHORT_NAMES:
        return ""
    short = ", or 'from innkeeper import NodeDefinition, Input, Output, ...'" if package == "nodes" else ""
    return f"; write 'innkeeper.{package}' in place of '{package}'{short}"


def _node_files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS)
        yield from (Path(place, name) for name in sorted(files) if name.endswith(".py") and not name.startswith("."))


def _import(module_name: str) -> ModuleType:
    with collect_registrations() as registered:
        module = importlib.import_module(module_name)
    if registered:
        # Kept on the module: the next load finds it imported already and would not see the calls again.
        setattr(module, _REGISTERED, tuple(registered))
    return module


def _definitions_of(module: ModuleType) -> list[Registration]:
    registered: tuple[Registration, ...] = getattr(module, _REGISTERED, ())
    exported = [] if getattr(module, "definition", None) is None else [module.definition]
    several = getattr(module, "definitions", ())
    if not isinstance(several, list | tuple):
        raise PluginLoadError(f"'definitions' must be a list of NodeDefinition, found {type(several).__name__}")
    known = [item.node for item in registered]
    nodes = [node for node in (*exported, *several) if not any(node is other for other in known)]
    for node in (*known, *nodes):
        if not isinstance(node, NodeDefinition):
            raise PluginLoadError(f"a definition must be a NodeDefinition, found {type(node).__name__}")
    return [*registered, *(Registration(node, "") for node in _once(nodes))]


def _once(nodes: list[NodeDefinition]) -> list[NodeDefinition]:
    return list({id(node): node for node in nodes}.values())


def _package_for(root: Path) -> str:
    """The package whose modules the files below `root` become.

    The library is a part of our own package. Any other folder gets a name used nowhere else, so that two plugins
    with equal file names do not meet, and a reload runs the code anew.
    """
    if root.is_relative_to(LIBRARY_ROOT):
        return ".".join(("innkeeper", "nodes", *root.relative_to(LIBRARY_ROOT.parent).parts))
    words = re.sub(r"\W", "_", root.name)
    name = f"innkeeper_nodes_{next(_package_numbers)}_{words}"
    init = root / "__init__.py"
    spec: ModuleSpec | None = ModuleSpec(name, None, is_package=True)
    if init.is_file():
        spec = spec_from_file_location(name, init, submodule_search_locations=[str(root)])
    assert spec is not None  # a .py file always has a loader
    spec.submodule_search_locations = [str(root)]
    module = module_from_spec(spec)
    sys.modules[name] = module
    if spec.loader is not None:
        spec.loader.exec_module(module)
    return name


def _module_name(package: str, file: Path) -> str:
    parts = list(file.with_suffix("").parts)
    if any("." in part for part in parts):
        raise PluginLoadError(f"rename {file.as_posix()!r}: names of node files and folders may hold no dot")
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join((package, *parts))
