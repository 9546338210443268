"""Writes of many tasks in one transaction: committed before anybody is told, and none spoils another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import IntegrityError, OperationalError

from innkeeper.gateway.store.engine import StoreEngine, open_engine, sqlite_url
from innkeeper.gateway.store.write_batcher import WriteBatcher


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[StoreEngine]:
    engine = open_engine(sqlite_url(tmp_path / "some.db"))
    await execute(engine, "create table words(word text primary key)")
    yield engine
    await engine.dispose()


async def execute(engine: StoreEngine, statement: str) -> None:
    await engine.write(lambda connection: connection.execute(text(statement)))


def add(connection: Connection, words: Sequence[str]) -> Sequence[str]:
    connection.execute(text("insert into words values(:word)"), [{"word": word} for word in words])
    return [word.upper() for word in words]


async def written(engine: StoreEngine) -> list[str]:
    return list(await engine.read(lambda session: session.scalars(text("select word from words order by word")).all()))


async def test_what_comes_during_a_commit_shares_the_next_one_and_gets_its_own_result(engine: StoreEngine) -> None:
    commits = []
    event.listen(engine.sync, "commit", commits.append)
    writes = WriteBatcher(engine)
    results = await asyncio.gather(*(writes.write(add, f"w{number:03}") for number in range(150)))
    assert results == [f"W{number:03}" for number in range(150)]
    assert len(await written(engine)) == 150
    assert len(commits) <= 3


async def test_a_write_that_has_returned_is_committed(engine: StoreEngine) -> None:
    writes = WriteBatcher(engine)

    async def write_and_look(word: str) -> None:
        await writes.write(add, word)
        assert word in await written(engine)  # by another connection

    await asyncio.gather(*(write_and_look(f"w{number}") for number in range(20)))


async def test_a_write_that_breaks_a_rule_spoils_none_beside_it(engine: StoreEngine) -> None:
    writes = WriteBatcher(engine)
    words = ["a", "b", "a", "c"]
    results = await asyncio.gather(*(writes.write(add, word) for word in words), return_exceptions=True)
    assert [result for result in results if isinstance(result, str)] == ["A", "B", "C"]
    assert isinstance(results[2], IntegrityError)
    assert await written(engine) == ["a", "b", "c"]


async def test_a_database_that_cannot_be_written_is_told_to_all_and_the_next_write_works(engine: StoreEngine) -> None:
    writes = WriteBatcher(engine)
    await execute(engine, "alter table words rename to hidden")
    results = await asyncio.gather(*(writes.write(add, word) for word in "abc"), return_exceptions=True)
    assert all(isinstance(result, OperationalError) for result in results)
    await execute(engine, "alter table hidden rename to words")
    assert await writes.write(add, "d") == "D"
    assert await written(engine) == ["d"]


async def test_a_cancelled_caller_leaves_the_others_their_results(engine: StoreEngine) -> None:
    writes = WriteBatcher(engine)
    tasks = [asyncio.create_task(writes.write(add, word)) for word in "abc"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] == "A"
    assert isinstance(results[1], asyncio.CancelledError)
    assert results[2] == "C"
    await writes.settled()
    assert await written(engine) == ["a", "b", "c"]
