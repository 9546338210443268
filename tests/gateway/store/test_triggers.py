"""Writing deliveries down: once, and with errors that the rest of the store can read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from innkeeper.gateway.store.engine import StoreEngine, ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.triggers import TriggerStore
from innkeeper.gateway.store.write_batcher import WriteBatcher


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[StoreEngine]:
    engine = open_engine(sqlite_url(tmp_path / "store.db"))
    await ensure_schema(engine)
    yield engine
    await engine.dispose()


def delivery(id: str, **more: Any) -> dict[str, Any]:
    base = {
        "id": id,
        "trigger": 1,
        "status": "accepted",
        "at": 5,
        "run_id": f"run-{id}",
        "dedupe_key": None,
        "replay_key": None,
        "concurrency_key": "",
        "limit_keys": None,
        "reason": "",
        "request": b"\x00\xff",
        "sample": "{}",
        "ended": False,
    }
    return {**base, **more}


async def test_a_delivery_is_kept_as_it_came(engine: StoreEngine) -> None:
    store = TriggerStore(engine, WriteBatcher(engine))
    assert await store.receive(delivery("a", sample='{"word":"Zoë"}'))
    (row,) = await store.accepted(10)
    assert {name: getattr(row, name) for name in delivery("a")} == delivery("a", sample='{"word":"Zoë"}')


@pytest.mark.parametrize("key", ["dedupe_key", "replay_key"])
async def test_a_second_one_with_a_key_of_the_first_is_not(engine: StoreEngine, key: str) -> None:
    store = TriggerStore(engine, WriteBatcher(engine))
    assert await store.receive(delivery("a", **{key: "same"}))
    assert not await store.receive(delivery("b", **{key: "same"}))
    assert await store.receive(delivery("c", trigger=2, **{key: "same"}))
    assert await store.delivery("b") is None


async def test_an_error_is_one_that_the_store_can_read(engine: StoreEngine) -> None:
    store = TriggerStore(engine, WriteBatcher(engine))
    await engine.write(lambda connection: connection.execute(text("drop table deliveries")))
    with pytest.raises(OperationalError, match="no such table"):
        await store.receive(delivery("a"))
