"""Finding node definitions in a folder of Python files: the same door for the built-in library and for plugins."""

from __future__ import annotations

import ast
import contextlib
import importlib
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from innkeeper.nodes.catalogue import plugin_imports
from innkeeper.nodes.catalogue.manager import LIBRARY_ROOT, NodeManager, node_manager
from innkeeper.nodes.catalogue.plugin_imports import SourceLoader
from innkeeper.nodes.catalogue.registration import Registration, collect_registrations
from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.errors import InnkeeperError, PluginLoadError
from innkeeper.nodes.spelling import nearest
from innkeeper.nodes.traces import PLUGIN_PACKAGE, where_of

_SHORT_NAMES = frozenset({"nodes", "workflows", "activities", "gateway"})
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})
_EXPORTS = ("definition", "definitions")
_REGISTERED = "__innkeeper_registrations__"
_package_numbers = itertools.count(1)


@dataclass(frozen=True)
class LoadError:
    """A node file that could not be loaded. `file` is relative to the loaded folder (of a plugin: to the plugin)."""

    file: str
    reason: str


@dataclass(frozen=True)
class LoadReport:
    """What a load gave: full types in the order of their registration, every file that failed, and oddities."""

    nodes: tuple[str, ...] = ()
    errors: tuple[LoadError, ...] = ()
    warnings: tuple[str, ...] = ()


class NodeLoader:
    """Loads node files into a manager, by default the process's."""

    def __init__(self, manager: NodeManager | None = None) -> None:
        self._manager = manager if manager is not None else node_manager

    def load_nodes(
        self, path: str | Path, default_namespace: str | None = None, *, package_root: Path | None = None
    ) -> LoadReport:
        """Import every Python file below a folder, in sorted order, and register its `definition` and `definitions`.

        A file that fails registers nothing, is reported, and the others go on. A file that exports no definition is
        shared code when another file imports it or its name begins with `_`; else that is a warning. One that holds
        a definition under a name like `defintion` fails. Hidden folders are not looked at.

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
        return LoadReport(tuple(load.nodes), tuple(load.errors), tuple(load.warnings))


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
        self.warnings: list[str] = []
        self._without: dict[Path, str | None] = {}

    def run(self, folder: Path) -> None:
        importlib.invalidate_caches()
        try:
            package = _package_for(self._root)
        except (Exception, SystemExit) as error:
            self.errors.append(LoadError("__init__.py", reason_of(error)))
            return
        files = list(_node_files(folder))
        for file in files:
            try:
                self._load_file(file, _module_name(package, file.relative_to(self._root)))
            except (Exception, SystemExit) as error:
                self.errors.append(LoadError(file.relative_to(self._root).as_posix(), reason_of(error)))
        self._note_files_without(files)

    def _note_files_without(self, files: list[Path]) -> None:
        """Tell of files that look like node files and export nothing."""
        if not self._without or self._root.is_relative_to(LIBRARY_ROOT):
            return
        shared = imported_names(files)
        for file, held in self._without.items():
            if file.stem not in shared and not file.stem.startswith("_"):
                also = f"; it holds a NodeDefinition as {held!r}" if held else ""
                name = file.relative_to(self._root).as_posix()
                self.warnings.append(f"{name} exports no 'definition' and no 'definitions'{also}")

    def _load_file(self, file: Path, module_name: str) -> None:
        module = _import(module_name)
        found = _definitions_of(module)
        if not found:
            self._without[file] = _held_definition(module)
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


def import_definitions(root: Path, file: Path) -> list[NodeDefinition]:
    """The definitions of one file of the package that `root` is. Raises what the import raises."""
    return [item.node for item in _definitions_of(_import(_module_name(_package_for(root), file.relative_to(root))))]


def import_function(root: Path, file: Path, name: str) -> Callable[[], Any]:
    """A function of one file of the package that `root` is.

    Raises:
        PluginLoadError: There is none of this name.
        Exception: What the import raises.
    """
    function = getattr(_import(_module_name(_package_for(root), file.relative_to(root))), name, None)
    if not callable(function):
        raise PluginLoadError(f"it has no function {name!r}")
    found: Callable[[], Any] = function
    return found


def reason_of(error: BaseException) -> str:
    """One line on why a file failed, for people."""
    if isinstance(error, InnkeeperError):
        return error.message
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} (line {error.lineno})"
    if isinstance(error, ImportError):
        return f"{type(error).__name__}: {error}{_import_advice(error)}"
    where = where_of(error, only_plugins=True)
    return f"{type(error).__name__}: {error}" + (f" (at {where})" if where else "")


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


def _held_definition(module: ModuleType) -> str | None:
    """The name under which a file that exports nothing holds a definition.

    Raises:
        PluginLoadError: The name was plainly meant for `definition` or `definitions`.
    """
    held = {name: value for name, value in vars(module).items() if _holds_definition(value)}
    for name in held:
        if meant := nearest(name, _EXPORTS, likeness=0.8):
            raise PluginLoadError(f"it exports {name!r}; did you mean {meant!r}?")
    return next(iter(held), None)


def _holds_definition(value: object) -> bool:
    items = value if isinstance(value, list | tuple) else (value,)
    return any(isinstance(item, NodeDefinition) for item in items)


def imported_names(files: Iterable[Path]) -> set[str]:
    """The last parts of all names that these files import: `x` and `y` of `from .x import y`."""
    found: set[str] = set()
    for file in files:
        with contextlib.suppress(SyntaxError, ValueError, OSError):  # which the load of that file has told
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    found.update(alias.name.rpartition(".")[2] for alias in node.names)
                if isinstance(node, ast.ImportFrom) and node.module:
                    found.update(node.module.split("."))
    return found


def _once(nodes: list[NodeDefinition]) -> list[NodeDefinition]:
    return list({id(node): node for node in nodes}.values())


def _package_for(root: Path) -> str:
    """The package whose modules the files below `root` become.

    The library is a part of our own package. Any other folder gets a name used nowhere else, so that two plugins
    with equal file names do not meet, and a reload runs the code anew.
    """
    if root.is_relative_to(LIBRARY_ROOT):
        return ".".join(("innkeeper", "nodes", *root.relative_to(LIBRARY_ROOT.parent).parts))
    plugin_imports.install()
    words = re.sub(r"\W", "_", root.name)
    name = f"{PLUGIN_PACKAGE}{next(_package_numbers)}_{words}"
    init = root / "__init__.py"
    spec: ModuleSpec | None = ModuleSpec(name, None, is_package=True)
    if init.is_file():
        loader = SourceLoader(name, str(init))
        spec = spec_from_file_location(name, init, loader=loader, submodule_search_locations=[str(root)])
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
