"""Writes of many tasks in one transaction: committed before anybody is told, and none spoils another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from innkeeper.gateway.store.engine import open_engine, sqlite_url
from innkeeper.gateway.store.write_batcher import WriteBatcher


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(sqlite_url(tmp_path / "some.db"))
    async with engine.begin() as connection:
        await connection.execute(text("create table words(word text primary key)"))
    yield engine
    await engine.dispose()


async def add(connection: AsyncConnection, words: Sequence[str]) -> Sequence[str]:
    await connection.execute(text("insert into words values(:word)"), [{"word": word} for word in words])
    return [word.upper() for word in words]


async def written(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return list((await connection.execute(text("select word from words order by word"))).scalars())


async def test_what_comes_during_a_commit_shares_the_next_one_and_gets_its_own_result(engine: AsyncEngine) -> None:
    commits = []
    event.listen(engine.sync_engine, "commit", commits.append)
    writes = WriteBatcher(engine)
    results = await asyncio.gather(*(writes.write(add, f"w{number:03}") for number in range(150)))
    assert results == [f"W{number:03}" for number in range(150)]
    assert len(await written(engine)) == 150
    assert len(commits) <= 3


async def test_a_write_that_has_returned_is_committed(engine: AsyncEngine) -> None:
    writes = WriteBatcher(engine)

    async def write_and_look(word: str) -> None:
        await writes.write(add, word)
        assert word in await written(engine)  # by another connection

    await asyncio.gather(*(write_and_look(f"w{number}") for number in range(20)))


async def test_a_write_that_breaks_a_rule_spoils_none_beside_it(engine: AsyncEngine) -> None:
    writes = WriteBatcher(engine)
    words = ["a", "b", "a", "c"]
    results = await asyncio.gather(*(writes.write(add, word) for word in words), return_exceptions=True)
    assert [result for result in results if isinstance(result, str)] == ["A", "B", "C"]
    assert isinstance(results[2], IntegrityError)
    assert await written(engine) == ["a", "b", "c"]


async def test_a_database_that_cannot_be_written_is_told_to_all_and_the_next_write_works(engine: AsyncEngine) -> None:
    writes = WriteBatcher(engine)
    async with engine.begin() as connection:
        await connection.execute(text("alter table words rename to hidden"))
    results = await asyncio.gather(*(writes.write(add, word) for word in "abc"), return_exceptions=True)
    assert all(isinstance(result, OperationalError) for result in results)
    async with engine.begin() as connection:
        await connection.execute(text("alter table hidden rename to words"))
    assert await writes.write(add, "d") == "D"
    assert await written(engine) == ["d"]


async def test_a_cancelled_caller_leaves_the_others_their_results(engine: AsyncEngine) -> None:
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
