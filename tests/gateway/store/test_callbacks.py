"""Messages about runs: each is there once, and goes with its run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.gateway.store.callbacks import DELIVERED, NEW, PENDING, STOPPED, CallbackStore, NewMessage, Progress
from innkeeper.gateway.store.engine import ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.models import CallbackRow
from innkeeper.gateway.store.runs import NewRun, RunStore
from innkeeper.gateway.store.write_batcher import WriteBatcher


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[tuple[RunStore, CallbackStore]]:
    engine = open_engine(sqlite_url(tmp_path / "gateway.db"))
    await ensure_schema(engine)
    writes = WriteBatcher(engine)
    yield RunStore(engine, writes), CallbackStore(engine, writes)
    await engine.dispose()


@pytest.fixture
def store(stores: tuple[RunStore, CallbackStore]) -> CallbackStore:
    return stores[1]


async def only(store: CallbackStore, run: str = "r") -> CallbackRow:
    (row,) = await store.of_run(run)
    return row


async def test_a_message_that_is_there_stays_as_it_is(store: CallbackStore) -> None:
    await store.add([NewMessage("r", 0, "complete", b"first"), NewMessage("r", 0, "complete", b"same group")])
    await store.note(await only(store), Progress(DELIVERED, 1), 0)
    await store.add([NewMessage("r", 0, "complete", b"later")])
    row = await only(store)
    assert row.status == DELIVERED
    assert await store.due(10, 10) == []
    await store.send_anew(row)
    assert [due.body for due in await store.due(10, 10)] == [b"first"]


async def test_what_is_told_of_an_earlier_send_does_not_count_for_the_next_one(store: CallbackStore) -> None:
    await store.add([NewMessage("r", 0, "complete", b"x")])
    first = await only(store)
    assert not await store.send_anew(first)  # it has not ended
    await store.note(first, Progress(STOPPED, 1, 410), 0)
    assert await store.is_stopped("r", 0)
    assert not await store.is_stopped("r", 1)
    assert await store.send_anew(first)
    assert not await store.send_anew(first)  # somebody was faster
    await store.note(first, Progress(DELIVERED, 9), 0)
    row = await only(store)
    assert (row.status, row.sends, row.attempts) == (NEW, 2, 0)


async def test_the_next_look_is_that_of_the_first_open_message(store: CallbackStore) -> None:
    await store.add([NewMessage("r", number, "complete", b"x") for number in range(3)])
    rows = await store.of_run("r")
    for row, status, at in zip(rows, (PENDING, DELIVERED, PENDING), (500, 100, 300), strict=True):
        await store.note(row, Progress(status), at)
    assert await store.next_check() == 300
    assert [row.position for row in await store.due(499, 10)] == [2]


async def test_an_event_means_the_messages_of_all_its_nodes(store: CallbackStore) -> None:
    for event in ("waiting-1", "waiting-2", "complete"):
        await store.add([NewMessage("r", 0, event, b"x", "n")])
    found = {event: len(await store.of_callback("r", 0, event)) for event in (None, "waiting", "complete", "error")}
    assert found == {None: 3, "waiting": 2, "complete": 1, "error": 0}


async def test_messages_go_with_their_run_and_not_before(stores: tuple[RunStore, CallbackStore]) -> None:
    runs, store = stores
    await runs.add(NewRun(id="r", user_id="u", plan=b"", callbacks=[{"url": "https://a.example"}]))
    await store.add([NewMessage("r", 0, "complete", b"x"), NewMessage("other", 0, "complete", b"x")])
    assert not await runs.delete("r")
    await only(store)
    await runs.close("r", "complete", 1, {})
    await runs.mark_sealed("r")
    assert await runs.delete("r")
    assert await store.of_run("r") == []
    await only(store, "other")
