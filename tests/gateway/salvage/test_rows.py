"""Rows and values that are damaged while the gateway runs: one run suffers, and everything else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.container import Container, open_container
from innkeeper.gateway.events.log import LogDamaged
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.settings import Settings
from innkeeper.gateway.store.run_filter import RunFilter
from innkeeper.gateway.store.runs import NewRun
from innkeeper.nodes.errors import InnkeeperError, ResourceError
from innkeeper.nodes.services.blobs import FolderBlobs
from tests.effort import examples

RUNS = ("before", "hurt", "after")
STREAM = [{"type": "text_chunk", "content": f"word {index} "} for index in range(30)]
JUNK = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(["[]", "{}", '"x"', "null", "{", '{"outputs": 5}', '{"outputs": {"x": 1}}', '{"baseRun": []}']),
)
STORE_COLUMNS = (
    *("user_id", "workflow_id", "workflow_name", "status", "interrupt_requested", "paused", "submitted_at"),
    *("started_at", "ended_at", "interface", "warnings", "result", "plan", "plan_hash", "rerun", "preview"),
    *("document", "error"),
)


@dataclass
class Gateway:
    """A gateway without Temporal, three runs that have ended in it, and its loop."""

    container: Container = field(repr=False)
    runner: asyncio.Runner = field(repr=False)
    data: Path

    def do(self, work: Any) -> Any:
        return self.runner.run(work)

    @contextlib.contextmanager
    def damage(self, file: str, query: str, value: Any) -> Iterator[None]:
        """Change a database behind the gateway's back, and put everything back afterwards."""
        with contextlib.closing(sqlite3.connect(self.data / file, isolation_level=None)) as db:
            tables = ("runs", "rows") if file == "events.db" else ("runs",)
            kept = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in tables}
            try:
                with contextlib.suppress(sqlite3.IntegrityError):
                    db.execute(query, (value,))
                yield
            finally:
                for name, rows in kept.items():
                    db.execute(f"DELETE FROM {name}")
                    db.executemany(f"INSERT INTO {name} VALUES({','.join('?' * len(rows[0]))})", rows)

    async def seen(self, run: str) -> Any:
        """All that a client may see of a run."""
        container = self.container
        return await container.runs.status(run), await self.frames(run), await container.log.run_info(run)

    async def frames(self, run: str) -> list[tuple[int, Any]]:
        async with asyncio.timeout(30):
            return [
                (seq, orjson.loads(frame)) async for page in self.container.reader.follow(run) for seq, frame in page
            ]


async def ended(container: Container, run: str) -> None:
    interface = {"outputs": {"out": {"node": "n", "slot": "text", "stream": True, "streamed": True}}}
    await container.runs._store.add(NewRun(run, "default_user", zlib.compress(b"plan"), interface=interface))
    await container.runs._store.mark_started(run)
    writer = container.writer
    await writer.create_run(run, {"interface_streams": {"n": [["out", None]]}, "kept_streams": []})
    node: dict[str, Any] = {"path": "n", "epoch": [1, 0]}
    await writer.append(run, [{"t": "status", "status": "running"}, {"t": "open", **node}])
    await writer.append(run, [{"t": "chunk", **node, "i": index, "chunk": chunk} for index, chunk in enumerate(STREAM)])
    await writer.append(run, [{"t": "complete", **node, "outputs": {"text": "done"}}])
    await writer.close_run(run, [{"t": "status", "status": "complete"}])
    result = {"promptId": run, "status": "complete", "nodeStatus": {"n": {"status": "complete"}}, "outputs": {}}
    await container.runs._store.close(run, "complete", 5, result)
    await container.runs._store.mark_sealed(run)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    data = tmp_path_factory.mktemp("rows") / "data"
    with asyncio.Runner() as runner:
        opened = open_container(Settings(data_dir=data, temporal_address="127.0.0.1:9"))
        container = runner.run(opened.__aenter__())
        for run in RUNS:
            runner.run(ended(container, run))
        yield Gateway(container, runner, data)
        runner.run(opened.__aexit__(None, None, None))


def others(gateway: Gateway) -> list[Any]:
    return [gateway.do(gateway.seen(run)) for run in RUNS if run != "hurt"]


@examples(100)
@given(column=st.sampled_from(STORE_COLUMNS), kind=st.sampled_from(["?", "CAST(? AS BLOB)"]), value=JUNK)
def test_damaged_row_of_the_store_costs_its_run_and_no_other(
    gateway: Gateway, column: str, kind: str, value: Any
) -> None:
    before = others(gateway)
    with gateway.damage("gateway.db", f"UPDATE runs SET {column}={kind} WHERE id='hurt'", value):
        check_store(gateway, before)


def check_store(gateway: Gateway, before: list[Any]) -> None:
    container = gateway.container
    listed, _ = gateway.do(container.runs.history(None, 50, None))
    assert {"before", "after"} <= {run["promptId"] for run in listed}
    gateway.do(container.runs.executions())
    listed, _ = gateway.do(container.run_list.page(RunFilter(user_id="default_user"), None, 50))
    assert {"before", "after"} <= {run["promptId"] for run in listed}
    for look in (container.run_details.document, container.run_details.inputs):
        with contextlib.suppress(InnkeeperError):
            gateway.do(look("hurt", "n"))
    gateway.do(container.finisher.resume())
    assert others(gateway) == before
    with contextlib.suppress(InnkeeperError):
        assert gateway.do(container.runs.status("hurt"))["promptId"] == "hurt"
    with contextlib.suppress(InnkeeperError):
        gateway.do(container.garbage_collector.collect(dry_run=True))


def test_damaged_result_is_told_from_the_events_and_without_them_as_damaged(gateway: Gateway) -> None:
    query = "UPDATE runs SET result=? WHERE id='hurt'"
    with gateway.damage("gateway.db", query, b"\0damaged"):
        found = gateway.do(gateway.container.runs.status("hurt"))
        assert (found["status"], found["nodeStatus"]["n"]["output"]) == ("complete", {"text": "done"})
        with gateway.damage("events.db", "DELETE FROM rows WHERE run=?", "hurt"):
            gateway.container.runs._run_log._readings.clear()
            with pytest.raises(InnkeeperError, match="innkeeper delete hurt") as refused:
                gateway.do(gateway.container.runs.status("hurt"))
    assert refused.value.code == "run_damaged"


@examples(100)
@given(data=st.data())
def test_damaged_row_of_the_event_log_costs_its_run_and_no_other(gateway: Gateway, data: st.DataObject) -> None:
    before = others(gateway)
    table, column = data.draw(
        st.sampled_from(
            [("rows", "body"), ("rows", "first_seq"), ("runs", "meta"), ("runs", "created_ms"), ("rows", "run")]
        )
    )
    value = data.draw(JUNK if column != "body" else flipped(gateway))
    place = "AND last_seq > 20" if table == "rows" else ""
    with gateway.damage("events.db", f"UPDATE OR IGNORE {table} SET {column}=? WHERE run='hurt' {place}", value):
        check_log(gateway, before)


@st.composite
def flipped(draw: st.DrawFn, gateway: Gateway) -> bytes:
    """The body of a row, some of its bytes changed."""
    with contextlib.closing(sqlite3.connect(gateway.data / "events.db")) as db:
        query = "SELECT body FROM rows WHERE run='hurt' AND last_seq > 20 ORDER BY last_seq LIMIT 1"
        body = bytearray(db.execute(query).fetchone()[0])
    for _ in range(draw(st.integers(1, 10))):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.sampled_from(list(b'\n\t"{}[]\x00\x80,:1e')))
    return bytes(body[: draw(st.integers(0, len(body)))]) if draw(st.booleans()) else bytes(body)


def check_log(gateway: Gateway, before: list[Any]) -> None:
    container = gateway.container
    container.writer._closed.clear()
    container.runs._run_log._readings.clear()
    assert others(gateway) == before
    gateway.do(container.log.open_runs())
    gateway.do(container.finisher.resume())
    with contextlib.suppress(InnkeeperError):
        numbers = [seq for seq, _ in gateway.do(gateway.frames("hurt"))]
        assert numbers == sorted(set(numbers))
    gateway.do(container.runs.status("hurt"))
    # The fence still reads its state, and says what a late message of its node is.
    late = {"t": "open", "path": "n", "epoch": [1, 0]}
    gateway.do(container.writer.append("hurt", [late]))


@examples(60)
@given(data=st.data())
def test_damaged_value_is_told_and_comes_back_when_it_is_stored_again(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    blobs = FolderBlobs(tmp_path_factory.mktemp("blobs"))
    content, other = b"a value " * 50, blobs.put_sync(b"another")
    sha = blobs.put_sync(content)
    path = blobs._path(sha)
    match data.draw(st.sampled_from(["content", "folder", "gone", "loop"])):
        case "content":
            spoiled = bytearray(content)
            spoiled[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            path.write_bytes(bytes(spoiled[: data.draw(st.integers(0, len(content)))]))
        case "folder":
            path.unlink()
            path.mkdir()
        case "gone":
            path.unlink()
        case "loop":
            path.unlink()
            path.symlink_to(path)
    with pytest.raises(ResourceError) as told:
        blobs.get_sync(sha)
    assert told.value.code in ("blob_damaged", "blob_not_found")
    assert blobs.get_sync(other) == b"another"
    assert blobs.put_sync(content) == sha
    assert blobs.get_sync(sha) == content


async def test_page_that_is_damaged_under_an_open_log_is_told_as_damage_and_leads_to_a_repair(tmp_path: Path) -> None:
    told: list[bool] = []
    path = tmp_path / "events.db"
    log = await SqliteEventLog.open(path, on_damage=lambda: told.append(True))
    await log.create_run("r", {})
    await log.close()
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    path.write_bytes(data)
    with pytest.raises(LogDamaged, match="next start"):
        await SqliteEventLog.open(path, on_damage=lambda: told.append(True))
    assert told
