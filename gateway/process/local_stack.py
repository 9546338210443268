"""The embedded stack: Temporal server, gateway and workers as supervised processes over one data directory."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from innkeeper.gateway.process.data_dir import DEFAULT_DATA_DIR, DataDir, DataLock, private_files
from innkeeper.gateway.process.http_probe import POLL_S, answers, fetched
from innkeeper.gateway.process.listening_socket import CannotListen, listen, url_of
from innkeeper.gateway.process.plugin_report import plugin_lines as lines_of
from innkeeper.gateway.process.plugin_watch import changes
from innkeeper.gateway.process.supervisor import ChildSpec, StackError, Supervisor
from innkeeper.gateway.process.temporal_access import EMBEDDED, checked_server, embedded_environment
from innkeeper.gateway.process.temporal_server import TemporalServer
from innkeeper.gateway.settings import Settings, worker_token
from innkeeper.nodes.process.critical_tasks import run_critical
from innkeeper.nodes.process.variables import unknown_variables
from innkeeper.nodes.services.damaged import told_since, told_size
from innkeeper.nodes.services.payload_keys import open_payload_keys
from innkeeper.nodes.services.secrets import load_or_create_key

if TYPE_CHECKING:
    import socket

logger = logging.getLogger("innkeeper.stack")

READY_S = 60.0
SALVAGED_BYTES_PER_S = 5_000_000
"""A gateway that saves what can be read of a damaged database is ready after that, on a slow machine."""
TELL_S = 1.0
PROBED_FROM_S = 10.0
"""Seconds after all is ready from which on the Temporal server is asked for life. It takes the Temporal client, which
loads for as long as a short run lasts."""


@dataclass(frozen=True)
class StackOptions:
    """What an embedded stack is made of.

    Attributes:
        port: Of the gateway; 0 takes a free one, the same as last time if it is still free.
        workers: Number of worker processes.
        plugins: Folders of plugins.
        temporal: Address of the Temporal server to use, or "" for the one that Temporal's own configuration names;
            None: an embedded one is started.
        temporary: It lasts only for one run: others should not rely on it.
        watch: Load plugins anew when their files change.
        env: Further environment of gateway and workers.
    """

    data_dir: Path = DEFAULT_DATA_DIR
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 1
    plugins: tuple[Path, ...] = ()
    temporal: str | None = None
    temporary: bool = False
    watch: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


class LocalStack:
    """A whole Innkeeper for as long as an `async with` block lasts.

    Example:
        async with LocalStack(StackOptions(Path(".innkeeper"))) as stack:
            print(stack.url)
    """

    def __init__(self, options: StackOptions) -> None:
        self.options = options
        self._cleanup = contextlib.AsyncExitStack()
        self._supervisor: Supervisor | None = None
        self._lock: DataLock | None = None
        self.url = ""
        self.temporal_address = ""
        self._told = 0
        self._is_over = False

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._cleanup.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = kind is None and self.options.temporary
        await self._cleanup.aclose()

    def pids(self) -> dict[str, int]:
        """Process ids of the children that run now, by name: `temporal`, `gateway`, `worker-1`, ..."""
        children = self._supervisor.children.values() if self._supervisor else ()
        return {child.spec.name: child.pid for child in children if child.pid is not None}

    def damages(self) -> list[str]:
        """What was found damaged in the data directory since this stack was started, a sentence each."""
        return told_since(self.options.data_dir, self._told)

    async def _start(self) -> None:
        options = self.options
        # Before anything is made; the children inherit it.
        self._cleanup.enter_context(private_files())
        settings = Settings.load(data_dir=options.data_dir, host=options.host, port=options.port)
        for sentence in unknown_variables(os.environ):
            logger.warning(sentence)
        self._told = told_size(options.data_dir)
        data = DataDir.open(options.data_dir)
        lock = DataLock.acquire(data)
        self._cleanup.callback(lock.release)
        sock = self._cleanup.enter_context(_listen(data, options))
        self.url = url_of(sock)
        lock.tell(self._facts(ready=False))
        # Before the children start: two of them would find the same damage and put each other's new file aside.
        worker_token(settings)
        secret = load_or_create_key(data.root, os.environ)
        encrypts = settings.changed(temporal_embedded=options.temporal is None).encrypts_payloads
        open_payload_keys(data.root, secret, encrypts=encrypts, may_create=True)
        server = await self._embedded(data) if options.temporal is None else None
        if server is None:
            self.temporal_address = await checked_server(options.temporal or None, settings.namespace)
        self._supervisor = Supervisor(data.logs)
        self._cleanup.push_async_callback(self._stop, self._supervisor)
        # Each child inherits the lock: the directory stays locked until the last one that writes to it has ended.
        first = [] if server is None else [server.spec((lock.fd,))]
        await self._supervisor.start([*first, *self._python_children(data, sock, lock.fd)])
        await self._supervisor.ready(self._ready(data.logs, settings))
        if server is not None:
            self._cleanup.callback(run_critical(_probe_later(server), "temporal-probe", may_return=True).cancel)
        self._lock = lock
        lock.tell(self._facts(ready=True))

    async def _embedded(self, data: DataDir) -> TemporalServer:
        server = await asyncio.to_thread(TemporalServer, data)
        self._cleanup.callback(server.stopped)
        self.temporal_address = server.address
        return server

    async def _stop(self, supervisor: Supervisor) -> None:
        workers = [name for name in supervisor.children if name.startswith("worker")]
        if self._is_over:
            # The server would go on serving for a second, for nobody. What it has committed outlives it.
            await supervisor.stop(workers, ["gateway"], killed=["temporal"])
        else:
            await supervisor.stop(workers, ["gateway"], ["temporal"])

    def _facts(self, *, ready: bool) -> dict[str, object]:
        facts = {"pid": os.getpid(), "address": self.url, "temporal": self.temporal_address, "ready": ready}
        facts["embedded"] = self.options.temporal is None
        return {**facts, "host": self.options.host, "temporary": self.options.temporary, "pids": self.pids()}

    async def tell_pids(self) -> None:
        """Keep the process ids that others can read up to date, until cancelled."""
        told = self.pids()
        while True:
            await asyncio.sleep(TELL_S)
            if self._lock is not None and (now := self.pids()) != told:
                told = now
                self._lock.tell(self._facts(ready=True))

    def _python_children(self, data: DataDir, sock: socket.socket, lock: int) -> list[ChildSpec]:
        env = self._environment(data)
        # -P: a folder "nodes" in the user's current directory must not hide our package.
        python = (sys.executable, "-P", "-m")
        gateway = ChildSpec(
            "gateway",
            (*python, "innkeeper.gateway.serve", "--fd", str(sock.fileno())),
            env,
            (lock, sock.fileno()),
            gives_life_signs=True,
        )
        worker = (*python, "innkeeper.activities.worker")
        numbers = range(1, self.options.workers + 1)
        return [
            gateway,
            *(ChildSpec(f"worker-{number}", worker, env, (lock,), gives_life_signs=True) for number in numbers),
        ]

    def _environment(self, data: DataDir) -> dict[str, str]:
        env = {
            **(embedded_environment(os.environ) if self.options.temporal is None else {**os.environ, EMBEDDED: "0"}),
            "INNKEEPER_DATA_DIR": str(data.root),
            "INNKEEPER_HOST": self.options.host,
            "INNKEEPER_PORT": str(urlsplit(self.url).port),
            "INNKEEPER_GATEWAY_URL": self.url,
            "INNKEEPER_TEMPORAL_ADDRESS": self.temporal_address,
        }
        if self.options.plugins:
            env["INNKEEPER_PLUGINS"] = os.pathsep.join(str(path.absolute()) for path in self.options.plugins)
        return env | dict(self.options.env)

    async def _ready(self, logs: Path, settings: Settings) -> None:
        """Wait for the gateway: it says whether Temporal answers, and whether a worker is there."""
        ready_s = READY_S + sum(map(_size_of, (settings.store_path, settings.events_path))) / SALVAGED_BYTES_PER_S
        token = settings.access_token
        try:
            async with asyncio.timeout(ready_s):
                await ready_or_refused(self.url, token.get_secret_value() if token else None)
        except TimeoutError as error:
            raise StackError(
                f"the stack is not ready after {ready_s:.0f} s: look into the logs in {str(logs)!r}"
            ) from error

    async def watch_plugins(self, say: Callable[[str], None]) -> None:
        """Load plugins anew whenever their files change, until cancelled: gateway and workers are started again."""
        async for files in changes(self.options.plugins):
            shown = ", ".join(Path(file).name for file in files[:3]) + (", ..." if len(files) > 3 else "")
            say(f"{shown} changed: loading the plugins anew")
            before = self.pids()
            supervisor = self._supervisor
            assert supervisor is not None
            names = [name for name in supervisor.children if name != "temporal"]
            supervisor.replace(names)
            while True:
                now = self.pids()
                if all(name in now and now[name] != before.get(name) for name in names):
                    break
                await asyncio.sleep(0.1)
            for line in await self.plugin_lines():
                say(line)

    async def plugin_lines(self) -> list[str]:
        """How loading each plugin went, as the gateway tells it."""
        settings = Settings.load(data_dir=self.options.data_dir)
        token = settings.access_token.get_secret_value() if settings.access_token else None
        try:
            async with asyncio.timeout(READY_S):
                await answers(self.url, "/healthz")
        except TimeoutError:
            return ["the gateway does not answer: look into its log"]
        import httpx2  # only those who write plugins wait for it

        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx2.AsyncClient(trust_env=False, headers=headers) as http:
            found = (await http.get(f"{self.url}/api/plugins")).json()
        return lines_of(found)


async def _probe_later(server: TemporalServer) -> None:
    await asyncio.sleep(PROBED_FROM_S)
    await asyncio.to_thread(importlib.import_module, "temporalio.client")
    await server.ready()


def _listen(data: DataDir, options: StackOptions) -> socket.socket:
    """Unfinished runs may know the demo model by the gateway's address, so a port that was picked is kept."""
    if options.port:
        return listen(options.host, options.port)
    with contextlib.suppress(OSError, ValueError, OverflowError, CannotListen):
        return listen(options.host, int(data.port_file.read_text()))
    sock = listen(options.host, 0)
    data.port_file.write_text(str(sock.getsockname()[1]))
    return sock


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


async def ready_or_refused(url: str, token: str | None) -> None:
    """Wait until a gateway can run workflows.

    Raises:
        StackError: It does not take the Temporal server, which no waiting changes.
    """
    while True:
        status, body = await fetched(url, "/readyz", token)
        if status == 200:
            return
        if status == 503:
            said = json.loads(body)["checks"]["temporal"]
            if said not in ("ok", "Temporal does not answer"):
                raise StackError(said)
        await asyncio.sleep(POLL_S)


async def stay_up(options: StackOptions, say: Callable[[str], None], show: Callable[[str], None] | None = None) -> int:
    """Keep a stack up until this task is cancelled; `say` gets a line for each damage that was found, and the lines
    about the stack when it is ready. `show` gets its address then, in a thread of its own."""
    begun = time.monotonic()
    async with LocalStack(options) as stack:
        took = time.monotonic() - begun
        for sentence in stack.damages():
            say(f"Damage: {sentence}")
        say(f"Innkeeper is ready at {stack.url} after {took:.1f} s (data in {options.data_dir}, Ctrl-C stops it)")
        parts = ", ".join(f"{name} {pid}" for name, pid in stack.pids().items())
        if options.temporal is not None:
            say(f"Temporal: {stack.temporal_address}, so no server was started here.")
        say(f"Processes: {parts}. Logs: {options.data_dir / 'logs'}, or 'innkeeper logs -f'.")
        say(f"Console: {stack.url}/ shows the runs in a browser.")
        say("Next, in another terminal: innkeeper run FILE ('innkeeper init FOLDER' makes one); -h shows the rest.")
        if options.plugins:  # one that was not loaded is looked for in vain elsewhere
            for line in await stack.plugin_lines():
                say(line)
        if show is not None:  # no task: Ctrl-C does not wait for a browser
            threading.Thread(target=show, args=(f"{stack.url}/",), daemon=True).start()
        async with asyncio.TaskGroup() as group:
            group.create_task(stack.tell_pids())
            if options.watch:
                group.create_task(stack.watch_plugins(say))
    return 0
