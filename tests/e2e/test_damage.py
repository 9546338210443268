"""Data directories that were damaged while nothing ran: everything starts, and only what was damaged is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.container import Container, open_container
from innkeeper.gateway.process.data_dir import DataDir, DataLock
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions, _listen
from innkeeper.gateway.process.temporal_server import Binary, TemporalServer
from innkeeper.gateway.settings import Settings, worker_token
from innkeeper.gateway.store.runs import NewRun
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.services.damaged import MARK, told_since
from innkeeper.nodes.services.secrets import SecretStore, load_or_create_key
from tests.e2e.sealed import until_sealed
from tests.e2e.test_streams import PLUGINS, Json, graph, node
from tests.effort import LONG

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
HELLO = json.loads((EXAMPLES / "hello.json").read_text())
SEED = None if LONG else 11
ASKS: Json = {"id": "asks", "name": "Asks", "edges": [], "nodes": [{"id": "ask", "type": "core:Approval"}]}
GROUPED: Json = {
    "nodes": [
        {"id": "group", "fullType": "core:NodeGroup", "configValues": {"referencedWorkflowId": "inner"}},
        {"id": "big", "fullType": "core:CreateMessage", "inputs": {"role": "user", "content": "x" * 20_000}},
        {"id": "key", "fullType": "core:APISettings", "inputs": {"base_url": "http://127.0.0.1:9", "api_key": "sk-1"}},
    ],
    "edges": [],
}
STREAMS = graph([node("s", "Words", count=60), node("r", "Take")], "s.out > r.stream")
INNER: Json = {
    "id": "inner",
    "name": "Inner",
    "nodes": [{"id": "hi", "type": "core:CreateMessage", "inputValues": {"role": "user", "content": "Hi"}}],
    "edges": [],
}


@dataclass(frozen=True)
class Made:
    """A data directory that a whole stack has worked in, and its runs."""

    root: Path
    version: str
    ended: list[str]
    waiting: str


@pytest.fixture(scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("made") / "data"
    library = root / "shared" / "library" / "workflows"
    library.mkdir(parents=True)
    for document in (ASKS, INNER):
        (library / f"{document['id']}.json").write_text(json.dumps(document))
    shutil.copy(EXAMPLES / "channels.yaml", root / "channels.yaml")
    async with LocalStack(StackOptions(root, plugins=(PLUGINS,))) as stack, GatewayClient(stack.url) as client:
        ended = [await client.submit(body) for body in (HELLO, STREAMS, GROUPED)]
        for run in ended:
            await until(client, run, "complete")
        waiting = await client.submit(ASKS)
        await until(client, waiting, "waiting")
        user = root / "users" / "default_user"
        user.mkdir(parents=True, exist_ok=True)
        (user / "notes.txt").write_text("a file of the user")
        version = json.loads((root / "temporal" / "version.json").read_text())["version"]
        await until_sealed(root, but=[waiting])
    return Made(root, version, ended, waiting)


async def until(client: GatewayClient, run: str, *statuses: str) -> Json:
    async with asyncio.timeout(60):
        while (found := await client.status(run))["status"] not in statuses:
            await asyncio.sleep(0.05)
    return found


# --- ways of damage -------------------------------------------------------------------------------------------------

Damage = Callable[[Path, random.Random], None]


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes() or b"\0")
    for _ in range(8):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(max(1, path.stat().st_size)))


def zero_page(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    page = rng.randrange(len(data) // 4096 + 1) * 4096
    data[page : page + 4096] = bytes(len(data[page : page + 4096]))
    path.write_bytes(data)


def garbage(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(max(64, path.stat().st_size)))


def gone(path: Path, rng: random.Random) -> None:
    path.unlink()


def folder(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("x")


def unreadable(path: Path, rng: random.Random) -> None:
    """A link to itself: nobody can open that, not even root, who may read any file."""
    path.unlink()
    path.symlink_to(path.name)


KINDS: tuple[Damage, ...] = (flip, cut, zero_page, garbage, gone, folder, unreadable)


def cases(root: Path, kind: Damage) -> Iterator[Path]:
    """Files of the directory that this kind of damage is tried on: all, or each with one kind."""
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    for number, path in enumerate(files):
        if LONG or number % len(KINDS) == KINDS.index(kind):
            yield path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_every_file_may_be_damaged(made: Made, tmp_path: Path, kind: Damage) -> None:
    """In this process: the start of the stack without its children, then a gateway without Temporal."""
    rng = random.Random(SEED)
    failures = {}
    for number, path in enumerate(cases(made.root, kind)):
        root = tmp_path / str(number)
        shutil.copytree(made.root, root)
        kind(root / path, rng)
        try:
            await check_start(made, root, path)
        except Exception as error:
            failures[str(path)] = repr(error)
        shutil.rmtree(root)
    assert failures == {}


async def check_start(made: Made, root: Path, path: Path) -> None:
    content = (root / path).read_bytes() if (root / path).is_file() and not (root / path).is_symlink() else None
    prepare(made, root)
    async with open_container(Settings(data_dir=root, temporal_address="127.0.0.1:9")) as container:
        await check_runs(made, container, path)
        await check_goes_on(container, root)
    told = " ".join(told_since(root, 0))
    asides = [aside for aside in root.rglob(f"*{MARK}*") if MARK in aside.name]
    for aside in asides:
        # Companions go with their database; of a secret, which is stored again then, the gateway's log tells.
        assert "-wal" in aside.name or aside.parent.name == "secrets" or aside.name in told, aside.name
    # A changed secret.key may still be one, another: what it opened is put aside then, and it stays.
    own = [aside for aside in asides if aside.name.startswith(path.name)]
    if content is not None and path.name in ("events.db", "gateway.db", "secret.key", "worker.token") and own:
        assert content in [aside.read_bytes() for aside in own if aside.is_file()]


def prepare(made: Made, root: Path) -> None:
    """What `innkeeper up` does before its children start."""
    data = DataDir.open(root)
    lock = DataLock.acquire(data)
    with contextlib.closing(_listen(data, StackOptions(root))):
        worker_token(Settings(data_dir=root))
        load_or_create_key(root, {})
        TemporalServer(data, Binary(Path("/bin/true"), made.version))
    lock.release()


async def check_runs(made: Made, container: Container, path: Path) -> None:
    """All runs are there, as they were; of a store or a log that was damaged, as far as the other knows them."""
    listed, _ = await container.runs.history(None, 50, None)
    active = {run["promptId"] for run in (await container.runs.executions())["running"]}
    assert active == {made.waiting}
    assert {run["promptId"]: run["status"] for run in listed} == dict.fromkeys(made.ended, "complete")
    for run in (*made.ended, made.waiting):
        with contextlib.suppress(InnkeeperError):
            status = await container.runs.status(run)
            assert status["promptId"] == run


async def check_goes_on(container: Container, root: Path) -> None:
    """New runs, events, values and secrets are taken."""
    assert await container.runs._store.add(NewRun("new", "default_user", b"plan")) is not None
    await container.writer.create_run("new", {})
    async with asyncio.timeout(30):
        await container.writer.append("new", [{"t": "status", "status": "running"}])
    assert len(await container.log.read("new")) == 1
    for folder_of_blobs in ("2", "f"):
        sha = await container.blobs.put(folder_of_blobs.encode())
        assert await container.blobs.get(sha) == folder_of_blobs.encode()
    for value in (b"x" * 20_000,):
        await container.blobs.put(value)
    secrets = SecretStore(root / "secrets", load_or_create_key(root, {}))
    assert secrets.load(secrets.put("sk-1", "default_user")).value == "sk-1"


# --- the whole stack ------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def up(root: Path) -> AsyncIterator[tuple[LocalStack, GatewayClient]]:
    async with LocalStack(StackOptions(root)) as stack, GatewayClient(stack.url) as client:
        yield stack, client


def zero_index(file: Path, table: str) -> None:
    """Zero the root of an index: every row of the table can be read all the same."""
    with contextlib.closing(sqlite3.connect(file)) as store:
        query = "select rootpage from sqlite_master where type = 'index' and tbl_name = ? order by rootpage"
        (page,) = store.execute(query, (table,)).fetchone()
        (size,) = store.execute("pragma page_size").fetchone()
    with file.open("r+b") as opened:
        opened.seek((page - 1) * size)
        opened.write(bytes(size))


@pytest.mark.slow
async def test_stack_starts_on_much_damage_and_says_what_is_lost(made: Made, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(made.root, root)
    rng = random.Random(SEED)
    for name in ("temporal/temporal.db", "port", "lock"):
        garbage(root / name, rng)
    (root / "temporal" / "temporal.db-wal").unlink(missing_ok=True)
    zero_index(root / "gateway.db", "runs")
    cut(root / "secret.key", rng)
    folder(root / "worker.token", rng)
    folder(root / "logs" / "gateway.log", rng)
    async with up(root) as (stack, client):
        told = " ".join(stack.damages())
        for word in ("secret.key", "worker.token", "gateway.log", "gateway.db", "temporal.db"):
            assert word in told
        for run in made.ended:
            assert (await client.status(run))["status"] == "complete"
        lost = await until(client, made.waiting, "error")
        assert lost["errorInfo"]["code"] == "run_lost"
        again = await client.submit({"baseRun": made.waiting})
        await until(client, again, "waiting")
        new = await client.submit(HELLO)
        assert (await until(client, new, "complete", "error"))["status"] == "complete"


async def test_open_approval_survives_a_log_that_lost_its_events(made: Made, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(made.root, root)
    (root / "events.db").write_bytes(b"")
    async with up(root) as (stack, client):
        assert "events.db" in " ".join(stack.damages())
        async with asyncio.timeout(30):
            # A replay tells of the approval again; nobody could answer it else.
            while not (approvals := await client.approvals.find(made.waiting)):
                await asyncio.sleep(0.1)
        await client.approvals.answer(made.waiting, approvals[0]["approvalId"], True)
        assert (await until(client, made.waiting, "complete", "error"))["status"] == "complete"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_stack_starts_whatever_file_is_damaged(made: Made, tmp_path: Path, kind: Damage) -> None:
    for number, path in enumerate(sorted(made.root.rglob("*"))):
        if not path.is_file() or "blobs" in path.parts:
            continue
        root = tmp_path / str(number)
        shutil.copytree(made.root, root)
        kind(root / path.relative_to(made.root), random.Random(number))
        async with up(root) as (_, client):
            new = await client.submit(HELLO)
            found = await until(client, new, "complete", "error")
            assert found["status"] == "complete", (path, found)
        shutil.rmtree(root)
