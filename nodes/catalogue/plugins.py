"""Plugins: folders with a `plugin.yaml` that add node types. One that fails is reported, and the rest starts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from innkeeper.nodes.catalogue.loader import LoadError, LoadReport, NodeLoader, import_function, reason_of
from innkeeper.nodes.catalogue.manager import CORE, LIBRARY_ROOT, UNKNOWN, NodeManager, short_path
from innkeeper.nodes.catalogue.manifest import MANIFEST, AdapterPart, Assets, PluginManifest, read_manifest
from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.errors import PluginLoadError
from innkeeper.nodes.services.channels import BUILT_IN_ADAPTERS

_log = logging.getLogger("innkeeper.plugins")


@dataclass(frozen=True)
class PluginAdapter:
    """A protocol of language models that a plugin speaks. `make` is code of the plugin: it may fail and block."""

    name: str
    display_name: str
    plugin: str
    make: Callable[[], Any] = field(compare=False)


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
        is_enabled: Somebody may have turned it off; then nothing of it is loaded.
        adapters: Protocols of language models that it adds; none of a plugin that failed.
    """

    name: str
    folder: Path
    manifest: PluginManifest | None = None
    nodes: tuple[str, ...] = ()
    file: str | None = None
    reason: str | None = None
    errors: tuple[LoadError, ...] = ()
    warnings: tuple[str, ...] = ()
    is_enabled: bool = True
    adapters: tuple[PluginAdapter, ...] = ()

    @property
    def is_loaded(self) -> bool:
        return self.is_enabled and self.reason is None

    @property
    def assets(self) -> Assets | None:
        """Its front end; only of a plugin that is loaded."""
        frontend = self.manifest.frontend if self.manifest is not None and self.is_loaded else None
        return frontend.assets if frontend is not None else None

    def to_json(self) -> dict[str, Any]:
        """The status for clients, without paths of this machine."""
        data: dict[str, Any] = {
            **{"name": self.name, "displayName": self.name, "version": "", "isEnabled": self.is_enabled},
            **{"loaded": self.is_loaded, "nodes": list(self.nodes), "configOptions": []},
        }
        if self.manifest is not None:
            data |= _shown(self.manifest)
        if self.assets is not None:
            data["frontend"] = _shown_assets(self.name, self.assets)
        if self.adapters:
            data["adapters"] = [{"id": adapter.name, "name": adapter.display_name} for adapter in self.adapters]
        if self.errors:
            data |= {"file": self.file, "reason": self.reason}
            data["errors"] = [{"file": error.file, "reason": error.reason} for error in self.errors]
        if self.warnings:
            data["warnings"] = list(self.warnings)
        return data


def _shown(manifest: PluginManifest) -> dict[str, Any]:
    """What a manifest tells clients, in the fields of ComfyTavern."""
    options = [option.model_dump(mode="json", by_alias=True, exclude_unset=True) for option in manifest.config_options]
    shown = {"displayName": manifest.display_name, "version": manifest.version, "configOptions": options}
    return shown if manifest.description is None else {**shown, "description": manifest.description}


def _shown_assets(name: str, assets: Assets) -> dict[str, Any]:
    def url(file: str) -> str:
        return quote(f"/plugins/{name}/{assets.path_of(file)}")

    return {"entryUrl": url(assets.entry), "styleUrls": [url(style) for style in assets.styles]}


@dataclass(frozen=True)
class _Candidate:
    folder: Path
    manifest: PluginManifest
    warnings: tuple[str, ...]


class PluginLoader:
    """Loads plugin folders into a manager; of a disabled one (by name) only its manifest is read."""

    def __init__(self, manager: NodeManager, disabled: Collection[str] = ()) -> None:
        self._manager = manager
        self._disabled = disabled
        self._adapters: dict[str, str] = {}
        """Name of an adapter to the plugin that has it."""

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
        if manifest.name in self._disabled:
            return PluginStatus(manifest.name, plugin.folder, manifest, warnings=plugin.warnings, is_enabled=False)
        adapters: tuple[PluginAdapter, ...] = ()
        try:
            report = self._load_nodes(plugin)
            if not report.errors:
                adapters = self._load_adapters(plugin)
        except PluginLoadError as error:
            report = LoadReport(errors=(LoadError(error.file or MANIFEST, error.message),))
        warnings = (*plugin.warnings, *report.warnings)
        if report.errors:
            self._manager.unregister_plugin(manifest.name)
            return _failed_status(plugin.folder, manifest, report.errors, warnings)
        self._adapters |= {adapter.name: manifest.name for adapter in adapters}
        for warning in warnings:
            _log.warning("plugin %s: %s", manifest.name, warning)
        return PluginStatus(manifest.name, plugin.folder, manifest, report.nodes, warnings=warnings, adapters=adapters)

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

    def _load_adapters(self, plugin: _Candidate) -> tuple[PluginAdapter, ...]:
        found: dict[str, PluginAdapter] = {}
        for part in plugin.manifest.adapters:
            owner = self._adapters.get(part.name) or (plugin.manifest.name if part.name in found else None)
            if part.name in BUILT_IN_ADAPTERS or owner is not None:
                whose = f"the plugin {owner!r}" if owner is not None else "Innkeeper itself"
                raise PluginLoadError(f"the adapter {part.name!r} is already there, of {whose}; choose another name")
            make = _function_of(plugin.folder, part)
            found[part.name] = PluginAdapter(part.name, part.display_name, plugin.manifest.name, make)
        return tuple(found.values())


def _function_of(folder: Path, part: AdapterPart) -> Callable[[], Any]:
    root = folder.resolve()
    file = (root / part.file).resolve()
    if not file.is_relative_to(root) or not file.is_file():
        raise PluginLoadError(f"adapters: {part.file!r} is not a file of the plugin")
    try:
        return import_function(root, file, part.function)
    except (Exception, SystemExit) as error:
        raise PluginLoadError(reason_of(error), file=part.file) from error


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

    def plugin(self, name: str) -> PluginStatus | None:
        """The plugin of this name, loaded or not."""
        return next((plugin for plugin in self.plugins if plugin.name == name), None)

    def absence(self, full_type: str) -> str | None:
        """Why a node type of a known plugin is not there, and what to do; None when nothing is known of it."""
        plugin = self.plugin(full_type.partition(":")[0])
        if plugin is None or plugin.is_loaded:
            return None
        if not plugin.is_enabled:
            return f"its plugin {plugin.name!r} is disabled; enable it, or remove the node"
        return f"its plugin {plugin.name!r} could not be loaded ({plugin.file}: {plugin.reason})"

    @property
    def adapters(self) -> tuple[PluginAdapter, ...]:
        """Protocols of language models that plugins add."""
        return tuple(adapter for plugin in self.plugins for adapter in plugin.adapters)

    @property
    def plugin_set_hash(self) -> str:
        """SHA-256 over (full type, version) of all node types: equal where two processes know the same ones."""
        lines = sorted(f"{node.full_type}\t{node.version}\n" for node in self.get_definitions())
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_catalogue(
    plugin_roots: Sequence[Path] = (), manager: NodeManager | None = None, *, disabled: Collection[str] = ()
) -> Catalogue:
    """Load the built-in library, then the plugins. For composition roots.

    Called again, it runs the files of plugins anew, under fresh module names: what an earlier catalogue holds stays as
    it is. The built-in library, and what plugins import from elsewhere, are imported once in a process.

    Args:
        plugin_roots: Folders whose sub-folders are plugins; a missing one is logged.
        manager: Filled from scratch, what it holds is forgotten; by default a new one.
        disabled: Names of plugins that are not to be loaded.
    """
    manager = manager if manager is not None else NodeManager()
    manager.clear_nodes()
    library = NodeLoader(manager).load_nodes(LIBRARY_ROOT)
    for error in library.errors:
        _log.error("built-in node file %s was not loaded: %s", error.file, error.reason)
    plugins = PluginLoader(manager, disabled).load_plugins(plugin_roots)
    return Catalogue(manager, plugins, library.errors)
