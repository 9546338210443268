"""Changing the plugins while runs go on: the catalogue of the gateway, those of the workers, and who is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innkeeper.gateway.errors import BadRequest, NotFound, shown
from innkeeper.gateway.events.worker_socket import Reloaded, WorkerSockets
from innkeeper.nodes.catalogue.live import LiveCatalogue
from innkeeper.nodes.catalogue.manifest import PluginManifest
from innkeeper.nodes.catalogue.plugin_settings import (
    MAX_SETTINGS_BYTES,
    changed_settings,
    read_settings,
    settings_files,
    shown_settings,
)
from innkeeper.nodes.catalogue.plugin_states import STATES_FILE, disabled_plugins, read_states, states_text
from innkeeper.nodes.catalogue.plugins import Catalogue, PluginStatus, load_catalogue
from innkeeper.nodes.errors import InnkeeperError, PluginLoadError
from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.services.files import write_atomic

logger = logging.getLogger("innkeeper.gateway.plugins")

WORKERS_S = 3.0
"""ComfyTavern's editor gives up a request after 5 s. A worker that takes longer goes on loading."""
MAX_NAMED = 5

JsonObject = dict[str, Any]
Announce = Callable[[str, Mapping[str, Any]], None]


class InvalidSettings(InnkeeperError):
    """A plugin does not take these settings."""

    code = "invalid_settings"


class PluginUnusable(InnkeeperError):
    """A plugin that was to be enabled cannot be loaded."""

    code = "plugin_load_failed"


@dataclass(frozen=True)
class Loaded:
    """What loading the plugins came to. `message` is for people."""

    catalogue: Catalogue
    workers: Reloaded
    message: str

    @property
    def node_count(self) -> int:
        return len(self.catalogue.get_definitions())

    @property
    def plugin_count(self) -> int:
        return sum(plugin.is_loaded for plugin in self.catalogue.plugins)


@dataclass(frozen=True)
class PluginFolders:
    """Where plugins and what belongs to them is kept, and who stores their secrets."""

    roots: Sequence[Path]
    data_dir: Path
    seal: Callable[[str], SecretRef]


class Plugins:
    """Changes come one at a time; the next waits. Runs go on, for workers keep what they began with.

    Args:
        announce: Tells all clients: message type and payload.
    """

    def __init__(
        self, catalogue: LiveCatalogue, folders: PluginFolders, workers: WorkerSockets, announce: Announce
    ) -> None:
        self._catalogue = catalogue
        self._folders = folders
        self._workers = workers
        self._announce = announce
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> Loaded:
        """Load all plugins anew, here and in the workers, and tell all clients how it went."""
        async with self._one_at_a_time:
            try:
                loaded = await self._load()
            except Exception:
                message = "the plugins could not be loaded anew; those that were loaded go on"
                self._announce("NODES_RELOADED", {"success": False, "message": message})
                self._announce("plugins-reloaded", {"message": message, "reloadedPluginCount": 0})
                raise
            self._announce("NODES_RELOADED", {"success": True, "message": loaded.message, "count": loaded.node_count})
            self._announce("plugins-reloaded", {"message": loaded.message, "reloadedPluginCount": loaded.plugin_count})
            return loaded

    async def set_enabled(self, name: str, is_enabled: bool) -> Loaded:
        """Turn a plugin on or off, for good. It may be so already.

        Raises:
            NotFound: There is no such plugin.
            PluginUnusable: It is enabled now, and cannot be loaded.
        """
        async with self._one_at_a_time:
            self._status(name)
            await asyncio.to_thread(self._write_state, name, is_enabled)
            # Nobody submits a node that no worker has: they take up what is new before the gateway, and what goes
            # after it.
            loaded = await self._load(gateway_first=not is_enabled)
            if not is_enabled:
                self._announce("plugin-disabled", {"pluginName": name})
                return loaded
            status = self._status(name)
            if status.reason is not None:
                raise PluginUnusable(f"plugin {name!r} is enabled and could not be loaded: {_fault(status)}")
            self._announce("plugin-enabled", {"plugin": status.to_json()})
            return loaded

    async def settings(self, name: str) -> JsonObject:
        """The effective settings of a plugin, secrets masked.

        Raises:
            NotFound: There is no such plugin.
        """
        manifest = self._manifest(name)
        return shown_settings(manifest, await asyncio.to_thread(self._stored, manifest))

    async def save_settings(self, name: str, given: JsonObject) -> Reloaded:
        """Replace the settings of a plugin; nodes that begin from now on get them.

        Raises:
            NotFound: There is no such plugin.
            InvalidSettings: A value does not fit its option.
        """
        async with self._one_at_a_time:
            await asyncio.to_thread(self._write_settings, self._manifest(name), given)
            return await self._workers.reload(WORKERS_S)

    def asset(self, name: str, path: str) -> Path:
        """A file of a plugin's front end, by its path below the plugin's folder.

        Raises:
            NotFound: No such plugin is loaded with a front end, or there is no such file in its folder of assets.
        """
        plugin = self._catalogue.current.plugin(name)
        assets = plugin.assets if plugin is not None else None
        if plugin is None or assets is None:
            raise NotFound(f"no plugin {shown(name)} with a front end is loaded")
        file = asset_file(plugin.folder, assets.folder, path)
        if file is None:
            raise NotFound(f"the front end of plugin {shown(name)} has no file {shown(path)}")
        return file

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _load(self, *, gateway_first: bool = False) -> Loaded:
        if gateway_first:
            found = await self._load_here()
            self._catalogue.replace(found)
            workers = await self._workers.reload(WORKERS_S)
        else:
            found, workers = await asyncio.gather(self._load_here(), self._workers.reload(WORKERS_S))
            self._catalogue.replace(found)
        logger.info("plugins loaded anew", extra={"event": "plugins_loaded", "count": len(found.plugins)})
        return Loaded(found, workers, message_of(found, workers))

    async def _load_here(self) -> Catalogue:
        disabled = disabled_plugins(self._folders.data_dir)
        return await asyncio.to_thread(_load, self._folders.roots, disabled)

    def _status(self, name: str) -> PluginStatus:
        found = self._catalogue.current.plugin(name)
        if found is None:
            raise NotFound(f"there is no plugin {shown(name)}; GET /api/plugins lists them", code="unknown_plugin")
        return found

    def _manifest(self, name: str) -> PluginManifest:
        status = self._status(name)
        if status.manifest is None:
            raise NotFound(f"plugin {shown(name)} has no usable plugin.yaml: {_fault(status)}", code="unknown_plugin")
        return status.manifest

    def _stored(self, manifest: PluginManifest) -> JsonObject:
        try:
            return read_settings(manifest, self._folders.data_dir)
        except PluginLoadError as error:
            logger.error("settings of plugin %s: %s; its defaults count", manifest.name, error.message)
            return {}

    def _write_state(self, name: str, is_enabled: bool) -> None:
        states = {**read_states(self._folders.data_dir), name: is_enabled}
        write_atomic(self._folders.data_dir / STATES_FILE, states_text(states), durable=True)

    def _write_settings(self, manifest: PluginManifest, given: JsonObject) -> None:
        settings, problems = changed_settings(manifest, self._stored(manifest), given, self._folders.seal)
        if problems:
            raise InvalidSettings("; ".join(problems[:MAX_NAMED]))
        files = settings_files(manifest, settings)
        if any(len(data) > MAX_SETTINGS_BYTES for data in files.values()):
            raise BadRequest(f"the settings of a plugin may have {MAX_SETTINGS_BYTES} bytes")
        for path, data in files.items():
            write_atomic(self._folders.data_dir / path, data, durable=True)


def _load(roots: Sequence[Path], disabled: Collection[str]) -> Catalogue:
    return load_catalogue(roots, disabled=disabled)


def message_of(catalogue: Catalogue, workers: Reloaded) -> str:
    """What was loaded, what was not, and which workers are behind."""
    loaded = sum(plugin.is_loaded for plugin in catalogue.plugins)
    faults = [f"{plugin.name}: {_fault(plugin)}" for plugin in catalogue.plugins if plugin.reason is not None]
    parts = [f"{_count(loaded, 'plugin')} loaded, {_count(len(catalogue.get_definitions()), 'node type')}"]
    if faults:
        parts.append(f"not loaded: {', '.join(faults[:MAX_NAMED])}")
    if workers.missing:
        parts.append(
            f"{_count(workers.missing, 'worker')} not done within {WORKERS_S:g} s: if the log of a worker tells no end "
            "of it, start that worker again"
        )
    elif not workers.workers:
        parts.append("no worker is connected")
    return "; ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _fault(status: PluginStatus) -> str:
    return f"{status.file}: {status.reason}"


def asset_file(plugin: Path, folder: str, path: str) -> Path | None:
    """The file at `path` below a plugin's folder, if it lies in its folder of assets; no links, no hidden names."""
    parts = path.split("/")
    if not path.isprintable() or any(part in ("", ".", "..") or part.startswith(".") for part in parts):
        return None
    home = plugin.resolve()
    root = home / folder
    file = home / path
    try:
        # What differs from its own real path goes over a link somewhere.
        is_plain = root.resolve() == root and file.resolve() == file
        return file if is_plain and file.is_relative_to(root) and file.is_file() else None
    except OSError:  # a name that is too long for the system
        return None
