"""Plugins: folders with a `plugin.yaml` that add node types. One that fails is reported, and the rest starts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from innkeeper.nodes.catalogue.loader import LoadError, LoadReport, NodeLoader
from innkeeper.nodes.catalogue.manager import CORE, LIBRARY_ROOT, UNKNOWN, NodeManager, short_path
from innkeeper.nodes.catalogue.manifest import MANIFEST, PluginManifest, read_manifest
from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.errors import PluginLoadError

_log = logging.getLogger("innkeeper.plugins")


@dataclass(frozen=True)
class PluginStatus:
    """How loading one plugin went.

    Attributes:
        name: The plugin's name; of a plugin without a usable manifest that of its folder.
        folder: Where it lies on this machine. Not for clients.
        manifest: None when it could not be used.
        nodes: Full types it registered; none of a plugin that failed.
        file: The first file that failed, relative to the plugin's folder.
        reason: Why it failed; None when it did not.
        errors: Every file that failed.
        warnings: Oddities that did not stop it.
    """

    name: str
    folder: Path
    manifest: PluginManifest | None = None
    nodes: tuple[str, ...] = ()
    file: str | None = None
    reason: str | None = None
    errors: tuple[LoadError, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def is_loaded(self) -> bool:
        return self.reason is None

    def to_json(self) -> dict[str, Any]:
        """The status for clients, without paths of this machine."""
        data: dict[str, Any] = {"name": self.name, "loaded": self.is_loaded, "nodes": list(self.nodes)}
        if self.manifest is not None:
            data |= {"displayName": self.manifest.display_name, "version": self.manifest.version}
        if self.errors:
            data |= {"file": self.file, "reason": self.reason}
            data["errors"] = [{"file": error.file, "reason": error.reason} for error in self.errors]
        if self.warnings:
            data["warnings"] = list(self.warnings)
        return data


@dataclass(frozen=True)
class _Candidate:
    folder: Path
    manifest: PluginManifest
    warnings: tuple[str, ...]


class PluginLoader:
    """Loads plugin folders into a manager."""

    def __init__(self, manager: NodeManager) -> None:
        self._manager = manager

    def load_plugins(self, roots: Sequence[Path]) -> tuple[PluginStatus, ...]:
        """Load every plugin folder below each root: roots in the given order, folders by name.

        A plugin is loaded whole or not at all. Of two plugins with one name the first counts.
        """
        # All names first: no plugin may take the namespace of one that merely comes later.
        found = self._read_all(roots)
        return tuple(item if isinstance(item, PluginStatus) else self._load_plugin(item) for item in found)

    def _read_all(self, roots: Sequence[Path]) -> list[PluginStatus | _Candidate]:
        taken: dict[str, Path] = {}
        found: list[PluginStatus | _Candidate] = []
        for folder in _plugin_folders(roots):
            try:
                candidate = _candidate(folder, taken)
            except PluginLoadError as error:
                found.append(_failed_status(folder, None, (LoadError(error.file or MANIFEST, error.message),)))
                continue
            taken[candidate.manifest.name] = folder
            self._manager.reserve_namespace(candidate.manifest.name)
            found.append(candidate)
        return found

    def _load_plugin(self, plugin: _Candidate) -> PluginStatus:
        manifest = plugin.manifest
        try:
            report = self._load_nodes(plugin)
        except PluginLoadError as error:
            report = LoadReport(errors=(LoadError(error.file or MANIFEST, error.message),))
        warnings = (*plugin.warnings, *report.warnings)
        if report.errors:
            self._manager.unregister_plugin(manifest.name)
            return _failed_status(plugin.folder, manifest, report.errors, warnings)
        for warning in warnings:
            _log.warning("plugin %s: %s", manifest.name, warning)
        return PluginStatus(manifest.name, plugin.folder, manifest, report.nodes, warnings=warnings)

    def _load_nodes(self, plugin: _Candidate) -> LoadReport:
        part = plugin.manifest.nodes
        if part is None:
            return LoadReport()
        folder = _inner_folder(plugin.folder, part.entry)
        report = NodeLoader(self._manager).load_nodes(folder, plugin.manifest.name, package_root=plugin.folder)
        if report.nodes or report.errors:
            return report
        nothing = f"no file of {part.entry!r} exports a 'definition', so the plugin adds no node"
        return replace(report, warnings=(nothing, *report.warnings))


def _plugin_folders(roots: Sequence[Path]) -> Iterator[Path]:
    for root in roots:
        if (root / MANIFEST).is_file():
            yield root.absolute()  # the folder of one plugin was given, instead of the folder it lies in
            continue
        try:
            found = sorted(item for item in root.iterdir() if item.is_dir())
        except OSError as error:
            _log.warning("plugins in %s are not loaded: %s", root, error.strerror)
            continue
        yield from (folder for folder in found if not folder.name.startswith((".", "__")))


def _candidate(folder: Path, taken: dict[str, Path]) -> _Candidate:
    if not (folder / MANIFEST).exists() and (deeper := next(folder.glob(f"*/{MANIFEST}"), None)) is not None:
        inner = deeper.parent.name
        message = f"the folder has no {MANIFEST}, but the folder {inner!r} in it has: move {inner!r} one level up"
        raise PluginLoadError(f"{message}, or give this folder as the folder of plugins")
    manifest, warnings = read_manifest(folder)
    name = manifest.name
    if name in (CORE, UNKNOWN):
        raise PluginLoadError(f"the name {name!r} is reserved; choose another", plugin=name)
    if folder.name != name:
        raise PluginLoadError(f"the folder is {folder.name!r} and the name {name!r}; make them equal", plugin=name)
    if name in taken:
        first, second = short_path(taken[name].absolute()), short_path(folder.absolute())
        raise PluginLoadError(f"the plugin {name!r} of {second!r} is already there from {first!r}", plugin=name)
    return _Candidate(folder, manifest, warnings)


def _inner_folder(plugin: Path, entry: str) -> Path:
    folder = (plugin / entry).resolve()
    if not folder.is_relative_to(plugin.resolve()):
        raise PluginLoadError(f"nodes.entry {entry!r} leads out of the plugin's folder")
    if not folder.is_dir():
        raise PluginLoadError(f"nodes.entry {entry!r} is not a folder of the plugin")
    return folder


def _failed_status(
    folder: Path, manifest: PluginManifest | None, errors: tuple[LoadError, ...], warnings: tuple[str, ...] = ()
) -> PluginStatus:
    first = errors[0]
    name = manifest.name if manifest else folder.name
    _log.error("plugin %s was not loaded: %s: %s", name, first.file, first.reason)
    return PluginStatus(
        name,
        folder,
        manifest=manifest,
        nodes=(),
        file=first.file,
        reason=first.reason,
        errors=errors,
        warnings=warnings,
    )


@dataclass(frozen=True)
class Catalogue:
    """Every node type of a process, and what could not be loaded.

    Attributes:
        node_errors: Files of the built-in library that failed.
    """

    manager: NodeManager
    plugins: tuple[PluginStatus, ...] = ()
    node_errors: tuple[LoadError, ...] = ()

    def get_node(self, full_type: str) -> NodeDefinition | None:
        return self.manager.get_node(full_type)

    def get_definitions(self) -> list[NodeDefinition]:
        return self.manager.get_definitions()

    @property
    def plugin_set_hash(self) -> str:
        """SHA-256 over (full type, version) of all node types: equal where two processes know the same ones."""
        lines = sorted(f"{node.full_type}\t{node.version}\n" for node in self.get_definitions())
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_catalogue(plugin_roots: Sequence[Path] = (), manager: NodeManager | None = None) -> Catalogue:
    """Load the built-in library, then the plugins. For composition roots.

    Args:
        plugin_roots: Folders whose sub-folders are plugins; a missing one is logged.
        manager: Filled from scratch, what it holds is forgotten; by default a new one.
    """
    manager = manager if manager is not None else NodeManager()
    manager.clear_nodes()
    library = NodeLoader(manager).load_nodes(LIBRARY_ROOT)
    for error in library.errors:
        _log.error("built-in node file %s was not loaded: %s", error.file, error.reason)
    plugins = PluginLoader(manager).load_plugins(plugin_roots)
    return Catalogue(manager, plugins, library.errors)
