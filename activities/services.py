"""What one node run gets of the world: composed here, once per worker, bound to the run's user per call."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from innkeeper.activities.link.gateway_door import GatewayDoor, GatewayEvents
from innkeeper.activities.link.model_gate import ModelGate
from innkeeper.activities.settings import SettingsError, WorkerSettings, worker_token
from innkeeper.nodes.node import Blobs, SecretRef, Services, require_secret
from innkeeper.nodes.process.logging import mask_in_log
from innkeeper.nodes.services.channel_book import ChannelBook, VouchedHosts
from innkeeper.nodes.services.http import AddressPolicy, Endpoint, Network
from innkeeper.nodes.services.llm.call_gate import CallOrigin, OpenGate
from innkeeper.nodes.services.llm.dispatch import DemoEndpoint, DispatchingLlm
from innkeeper.nodes.services.llm.media import MediaLoader
from innkeeper.nodes.services.llm.model_calls import ModelCalls, ModelServices
from innkeeper.nodes.services.llm.registry import OfferedAdapter, built_in_adapters
from innkeeper.nodes.services.masking import forms_of_all
from innkeeper.nodes.services.resources import FolderResources
from innkeeper.nodes.services.scripts import ScriptProcesses
from innkeeper.nodes.services.secrets import SecretStore, UserSecrets, load_or_create_key
from innkeeper.nodes.services.web import GuardedHttp
from innkeeper.nodes.worker_protocol import demo_token

MEGABYTE = 1024 * 1024


class RunSecrets:
    """One user's secrets during one node run; remembers what was revealed, so that all it says can be cleaned of it."""

    def __init__(self, inner: UserSecrets, store: SecretStore, user: str, channels: ChannelBook | None = None) -> None:
        self._inner = inner
        self._channels = channels
        self._store = store
        self._user = user
        self.revealed: set[str] = set()

    async def reveal(self, ref: SecretRef | None, host: str | None = None) -> str:
        ref = require_secret(ref)
        source = self._channels if self._channels and self._channels.is_key(ref) else self._inner
        value = await source.reveal(ref, host)
        if value not in self.revealed:
            self.revealed.add(value)
            # Code of plugins has loggers of its own, and libraries log what they send.
            mask_in_log(forms_of_all((value,)))
        return value

    def from_environment(self, name: str) -> SecretRef | None:
        return self._inner.from_environment(name)

    def setting(self, name: str) -> str | None:
        return self._inner.setting(name)

    async def seal(self, value: str) -> SecretRef:
        return await asyncio.to_thread(self._store.put, value, self._user)


def _endpoint(url: str) -> Endpoint | None:
    parts = urlsplit(url)
    return (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)) if parts.hostname else None


def _demo_endpoint(settings: WorkerSettings) -> DemoEndpoint | None:
    if not settings.gateway_url:
        return None
    try:
        token = demo_token(worker_token(settings))
    except SettingsError:  # such a worker connects to no gateway
        return None
    return DemoEndpoint(f"{settings.gateway_url}/demo/v1", token)


def _engine_endpoint(address: str) -> Endpoint | None:
    try:
        return _endpoint(address if "://" in address else f"//{address}")
    except ValueError as error:
        raise SettingsError(f"the address of Temporal, {address!r}, is not understood: write host:port") from error


class _OfUser(NamedTuple):
    """What all nodes of one user share."""

    secrets: UserSecrets
    resources: FolderResources
    models: ModelServices


class ServicesForRuns:
    """Makes the services of a node run; connections and stores are shared by all of them.

    Attributes:
        http: Requests to where nodes may send them.

    Args:
        engine_address: Where the Temporal server is, which no node may reach. It may come from Temporal's own variables
            and profiles, so the settings alone do not tell.
        plugin_adapters: Protocols of language models that plugins offer at the time.

    Raises:
        SettingsError: That address cannot be read.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        blobs: Blobs,
        environ: Mapping[str, str],
        *,
        engine_address: str | None = None,
        plugin_adapters: Callable[[], Iterable[OfferedAdapter]] = tuple,
    ) -> None:
        self._settings = settings
        self._blobs = blobs
        self._environ = environ
        data: Path = settings.data_dir
        key = load_or_create_key(data, environ)
        self._secrets = SecretStore(data / "secrets", key)
        policy = AddressPolicy(
            allow_loopback=settings.allow_loopback,
            allow_private=settings.allow_private,
            allowed_hosts=frozenset(settings.allowed_hosts),
            gateway=_endpoint(settings.gateway_url),
            allow_demo=True,
            closed=frozenset(filter(None, [_engine_endpoint(engine_address or settings.temporal_address or "")])),
        )
        proxy = settings.llm_proxy.get_secret_value() if settings.llm_proxy else ""
        adapters = built_in_adapters(Network(proxy, settings.llm_ca_bundle), plugin_adapters)
        self._channels = ChannelBook(data, self._secrets, environ, adapters.names)
        vouched = VouchedHosts(self._channels, settings.allowed_hosts)
        channel_policy = replace(policy, allowed_hosts=vouched)
        self._llm = DispatchingLlm(
            adapters,
            policy,
            channel_policy,
            demo=_demo_endpoint(settings),
            is_operators=self._channels.is_operators,
        )
        web_policy = replace(policy, allow_loopback=settings.allow_loopback_http, allow_demo=False)
        self.http = GuardedHttp(web_policy, max_response_bytes=settings.max_response_mb * MEGABYTE)
        self.door = GatewayDoor(settings.gateway_url, lambda: worker_token(settings))
        self._events = GatewayEvents(self.door)
        self._gate = ModelGate(self.door, patience_s=settings.flush_timeout_s) if settings.gateway_url else None
        self._models = ModelServices(
            self._llm,
            self._channels,
            self._gate or OpenGate(),
            hmac.digest(key, b"keys of models", "sha256"),
            remote_media=adapters.remote_media,
        )
        self._scripts = ScriptProcesses(settings.script_processes, settings.script_memory_mb, settings.script_idle_s)
        self._of_user = lru_cache(maxsize=1_000)(self._make)

    def secrets_of(self, user: str) -> RunSecrets:
        """What one user has stored."""
        return RunSecrets(self._of_user(user).secrets, self._secrets, user, self._channels)

    def __call__(self, origin: CallOrigin) -> tuple[Services, RunSecrets]:
        own, secrets = self._of_user(origin.user), self.secrets_of(origin.user)
        services = Services(
            llm=ModelCalls(own.models, secrets, origin, MediaLoader(own.resources, self.http)),
            secrets=secrets,
            resources=own.resources,
            blobs=self._blobs,
            channels=own.models.channels,
            http=self.http,
            scripts=self._scripts,
            events=self._events,
        )
        return services, secrets

    def _make(self, user: str) -> _OfUser:
        settings = self._settings
        resources = FolderResources(settings.data_dir, user, max_bytes=settings.max_resource_mb * MEGABYTE)
        return _OfUser(
            secrets=UserSecrets(self._secrets, user, self._environ, env_key_hosts=settings.env_key_hosts),
            resources=resources,
            models=replace(self._models, channels=self._channels.of_user(user)),
        )

    async def warm_up(self) -> None:
        """Load what the first model call would otherwise wait for."""
        await self._llm.warm_up()

    async def aclose(self) -> None:
        await self._scripts.aclose()
        if self._gate is not None:
            await self._gate.aclose()
        await self.door.aclose()
        await self.http.aclose()
        await self._llm.aclose()
