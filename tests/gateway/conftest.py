"""A real gateway on a free port, and a real worker beside it, in this process: what most tests here talk to."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from temporalio.client import Client
from temporalio.worker import Worker

from innkeeper.activities.callbacks import CallbackActivities
from innkeeper.activities.engine_activities import EngineActivities
from innkeeper.activities.execution.execute_node import ExecuteNode
from innkeeper.activities.execution.execute_segment import ExecuteSegment
from innkeeper.activities.execution.values import Values
from innkeeper.activities.link.event_sink import LinkSink
from innkeeper.activities.link.gateway_door import GatewayDoor
from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.placement.node_host import NodeHost
from innkeeper.activities.run_starter import RunStarter
from innkeeper.activities.services import ServicesForRuns
from innkeeper.activities.settings import WorkerSettings
from innkeeper.activities.trigger_activities import TriggerActivities
from innkeeper.gateway.app import create_app
from innkeeper.gateway.container import Container
from innkeeper.gateway.process.listening_socket import listen
from innkeeper.gateway.process.uvicorn_config import server_config
from innkeeper.gateway.settings import Settings, worker_token
from innkeeper.nodes.catalogue.live import LiveCatalogue
from innkeeper.nodes.catalogue.plugin_settings import load_plugin_settings
from innkeeper.nodes.catalogue.plugin_states import disabled_plugins
from innkeeper.nodes.catalogue.plugins import Catalogue, load_catalogue
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.nodes.worker_protocol import StartPlace
from innkeeper.workflows.engine.all_workflows import RUN_TYPE, WORKFLOWS
from innkeeper.workflows.engine.callback_workflow import CALLBACK_QUEUE
from innkeeper.workflows.engine.event_sink import install_event_sink
from innkeeper.workflows.namespace import namespace_id
from tests.gateway.asking import until_ready
from tests.gateway.contract import contract

PLUGINS = Path(__file__).parent / "plugins"
NO_ROOTS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Loading the root certificates takes 20 ms a client, and nothing here speaks TLS."""


class Sinks:
    """A process has one sink, these tests several workers: each gateway drops what it has no log of."""

    def __init__(self) -> None:
        self._sinks: list[LinkSink] = []

    def add(self, sink: LinkSink) -> None:
        self._sinks.append(sink)
        install_event_sink(self)

    def remove(self, sink: LinkSink) -> None:
        self._sinks.remove(sink)
        install_event_sink(self if self._sinks else None)

    def fact(self, run: str, path: str, type: str, payload: dict[str, Any]) -> None:
        for sink in self._sinks:
            sink.fact(run, path, type, payload)


SINKS = Sinks()


@cache
def _own_catalogue() -> Catalogue:
    """What workers load whose test adds no plugins: nobody changes these files, and reading them takes 14 ms."""
    return load_catalogue((PLUGINS,))


@dataclass
class Stack:
    """One data directory with its gateway and worker, each of which a test may stop and start."""

    temporal: Client
    data: Path
    options: dict[str, Any] = field(default_factory=dict)
    plugins: tuple[Path, ...] = (PLUGINS,)
    worker_options: dict[str, Any] = field(default_factory=dict)
    queue: str = field(default_factory=lambda: f"q-{uuid.uuid4().hex}")
    url: str = ""

    def __post_init__(self) -> None:
        self._sock = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"
        self.settings = Settings(
            data_dir=self.data,
            port=self._sock.getsockname()[1],
            temporal_address=self.temporal.service_client.config.target_host,
            namespace=self.temporal.namespace,
            task_queue=self.queue,
            plugins=self.plugins,
            # The worker of these tests has the session's client, which has no keys.
            **{"flush_timeout_s": 2.0, "payload_encryption": "off", **self.options},
        )

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws"

    @property
    def container(self) -> Container:
        """The parts of the gateway that is up."""
        container: Container = self.app.routes.state.container
        return container

    @contextlib.asynccontextmanager
    async def gateway(self) -> AsyncIterator[None]:
        self.app = create_app(self.settings)
        config = server_config(self.app)
        config.timeout_graceful_shutdown = 1
        server = uvicorn.Server(config)
        # The duplicate is closed with the server; the port stays ours for the next one.
        task = asyncio.create_task(server._serve([self._sock.dup()]))
        try:
            async with asyncio.timeout(30):
                while not server.started:
                    assert not task.done(), "the gateway did not start"
                    await asyncio.sleep(0.01)
            yield
        finally:
            server.should_exit = True
            await task

    @contextlib.asynccontextmanager
    async def worker(self, link: GatewayLink | None = None) -> AsyncIterator[None]:
        """A worker; with a link of the test's own when given."""
        settings = WorkerSettings(data_dir=self.data, gateway_url=self.url, flush_timeout_s=2.0, **self.worker_options)
        blobs = FolderBlobs(self.data / "blobs")
        values = Values(blobs)
        services = ServicesForRuns(settings, blobs, {})
        link = link or GatewayLink(self.url, worker_token(self.settings), uuid.uuid4().hex, flush_timeout_s=2.0)
        catalogue = LiveCatalogue(self._load(), keeps_missing=True)
        plugin_settings = load_plugin_settings(catalogue.plugins, self.data)

        async def load_plugins() -> None:
            catalogue.replace(await asyncio.to_thread(self._load))
            plugin_settings.update(load_plugin_settings(catalogue.plugins, self.data))

        link.load_plugins_by(load_plugins)
        place = StartPlace(self.queue, await namespace_id(self.temporal))
        link.start_runs_by(place, RunStarter(self.temporal, RUN_TYPE, self.queue).start)
        link.start()
        sink = LinkSink(link, asyncio.get_running_loop())
        SINKS.add(sink)
        host = NodeHost.of()
        execute = ExecuteNode(catalogue, services, link, values, plugin_settings=plugin_settings, host=host)
        door = GatewayDoor(self.url, lambda: worker_token(self.settings))
        worker = Worker(
            self.temporal,
            task_queue=self.queue,
            workflows=WORKFLOWS,
            activities=[
                execute.execute_node,
                ExecuteSegment(execute, link).execute_segment,
                *EngineActivities(values, self.temporal).activities(),
                *TriggerActivities(door).activities(),
            ],
            max_heartbeat_throttle_interval=timedelta(seconds=1),
            default_heartbeat_throttle_interval=timedelta(seconds=1),
        )
        callbacks = Worker(
            self.temporal,
            task_queue=f"{self.queue}.{CALLBACK_QUEUE}",
            activities=CallbackActivities(services.http, services.secrets_of).activities(),
        )
        try:
            async with worker, callbacks:
                yield
        finally:
            SINKS.remove(sink)
            await link.stop()
            await host.aclose()
            await door.aclose()
            await services.aclose()

    def _load(self) -> Catalogue:
        disabled = disabled_plugins(self.data)
        if self.plugins == (PLUGINS,) and not disabled:
            return _own_catalogue()
        return load_catalogue(self.plugins, disabled=disabled)

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[httpx.AsyncClient]:
        """Gateway and worker, ready; gives an HTTP client."""
        async with self.gateway(), self.worker(), self.http() as http:
            await until_ready(http)
            yield http

    def http(self, **options: Any) -> httpx.AsyncClient:
        """A client; each answer must be as the OpenAPI document declares it."""
        hooks = {"response": [contract().check]}
        defaults: dict[str, Any] = {"timeout": 20, "trust_env": False, "verify": NO_ROOTS, "event_hooks": hooks}
        return httpx.AsyncClient(base_url=self.url, **{**defaults, **options})

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
async def stack(temporal: Client, tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack of a test's own, nothing started."""
    stack = Stack(temporal, tmp_path)
    yield stack
    stack.close()


@pytest.fixture(scope="session")
async def shared(temporal: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack that is up, shared by all tests that leave it as it is."""
    stack = Stack(temporal, tmp_path_factory.mktemp("shared"))
    async with stack.up():
        yield stack
    stack.close()


@pytest.fixture
async def http(shared: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with shared.http() as client:
        yield client
