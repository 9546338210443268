"""The store: schema, idempotency, and changes of status that only one of two tasks can make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from innkeeper.gateway.store.engine import NEWEST, StoreEngine, alembic_config, ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.models import Base
from innkeeper.gateway.store.runs import NewRun, RunStore, stored_result


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[StoreEngine]:
    engine = open_engine(sqlite_url(tmp_path / "gateway.db"))
    yield engine
    await engine.dispose()


@pytest.fixture
async def runs(engine: StoreEngine) -> RunStore:
    await ensure_schema(engine)
    return RunStore(engine)


def new(run: str, key: str | None = None) -> NewRun:
    return NewRun(id=run, user_id="u", plan=b"plan", key_hash=key, body_hash="b")


def _differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


async def _said(engine: StoreEngine, query: str) -> object:
    return await engine.read(lambda session: session.scalar(text(query)))


async def test_migrations_lead_to_the_same_schema_as_the_models(engine: StoreEngine) -> None:
    await engine.write(lambda connection: command.upgrade(alembic_config(connection), "head"))
    assert await engine.write(_differences) == []


async def test_empty_file_gets_the_schema_and_its_version_at_once(engine: StoreEngine) -> None:
    await ensure_schema(engine)
    await ensure_schema(engine)
    assert await _said(engine, "select version_num from alembic_version") == NEWEST
    assert await _said(engine, "pragma journal_mode") == "wal"


async def test_the_version_that_new_stores_get_is_that_of_the_last_migration(engine: StoreEngine) -> None:
    await engine.write(lambda connection: command.upgrade(alembic_config(connection), "head"))
    assert await _said(engine, "select version_num from alembic_version") == NEWEST


async def test_older_store_is_migrated_and_keeps_its_runs(engine: StoreEngine) -> None:
    columns = "id, user_id, status, interrupt_requested, sealed, submitted_at, interface, warnings"
    run = text(f"insert into runs({columns}) values('r', 'u', 'complete', 0, 1, 5, '{{}}', '[]')")
    await engine.write(lambda connection: command.upgrade(alembic_config(connection), "0001"))
    await engine.write(lambda connection: connection.execute(run))
    await ensure_schema(engine)
    row = await RunStore(engine).get("r")
    assert row is not None
    assert (row.submitted_at, row.paused, row.preview, row.over_socket) == (5, False, False, False)
    assert await engine.write(_differences) == []


async def test_two_submissions_with_one_key_make_one_run(runs: RunStore) -> None:
    added = await asyncio.gather(*(runs.add(new(f"r{index}", "key")) for index in range(5)))
    assert sum(row is not None for row in added) == 1
    kept = await runs.by_key("u", "key")
    assert kept is not None
    assert kept.body_hash == "b"


async def test_only_one_of_start_and_interrupt_gets_a_queued_run(runs: RunStore) -> None:
    for index in range(5):
        await runs.add(new(f"r{index}"))
        claimed, dropped = await asyncio.gather(runs.claim(f"r{index}"), runs.drop_queued(f"r{index}"))
        assert claimed != dropped


async def test_waiting_runs_come_in_order_until_temporal_has_them(runs: RunStore) -> None:
    for run in ("a", "b", "c"):
        await runs.add(new(run))
    await runs.claim("a")
    assert [row.id for row in await runs.claimed()] == ["a"]
    assert [row.id for row in await runs.queued(None)] == ["b", "c"]
    assert [row.id for row in await runs.queued(1)] == ["b"]
    assert await runs.queued(0) == []
    await runs.set_paused("b", True)
    assert [row.id for row in await runs.queued(1)] == ["c"]
    await runs.mark_started("a")
    assert await runs.claimed() == []
    started = await runs.get("a")
    assert started is not None
    assert started.plan is None
    assert started.started_at


async def test_closed_run_keeps_its_result_and_history_pages_newest_first(runs: RunStore) -> None:
    for index in range(5):
        await runs.add(new(f"r{index}"))
        await runs.claim(f"r{index}")
        await runs.close(f"r{index}", "error" if index == 2 else "complete", 10 + index, {"outputs": {"n": index}})
    first = await runs.page(before=None, limit=2, status=None)
    second = await runs.page(before=first[-1].number, limit=2, status=None)
    assert [row.id for row in (*first, *second)] == ["r4", "r3", "r2", "r1"]
    assert [row.id for row in await runs.page(before=None, limit=9, status="error")] == ["r2"]
    row = await runs.get("r4")
    assert row is not None
    assert await stored_result(row) == {"outputs": {"n": 4}}


async def test_open_runs_of_sockets_are_found_with_their_user_until_they_are_sealed(runs: RunStore) -> None:
    for run, over_socket in (("a", True), ("b", False), ("c", True)):
        await runs.add(NewRun(id=run, user_id=f"user of {run}", plan=b"plan", over_socket=over_socket))
    assert await runs.open_over_socket() == [("a", "user of a"), ("c", "user of c")]
    await runs.mark_sealed("a")
    assert await runs.open_over_socket() == [("c", "user of c")]
