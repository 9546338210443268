"""Writes of many tasks in one transaction: what comes while one is being committed goes into the next.

SQLite has one writer at a time. Tasks that write each for itself wait for each other in its busy handler, and each pays
for a transaction; here they share it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from innkeeper.gateway.salvage.database import is_damage
from innkeeper.gateway.store.engine import StoreEngine
from innkeeper.nodes.process.critical_tasks import run_critical

P = TypeVar("P")
R = TypeVar("R")
Kind = Callable[[Connection, Sequence[P]], Sequence[R]]
"""Does one kind of write for many at once, in the writer's thread; gives as many results, in order."""

MAX_GROUP = 200
"""Others wait for the whole group, and a process that dies loses what was not committed of it."""


def one_by_one(write: Callable[[Connection, P], R]) -> Kind[P, R]:
    """A kind of write that no statement does for many at once."""

    def write_each(connection: Connection, many: Sequence[P]) -> Sequence[R]:
        return [write(connection, what) for what in many]

    return write_each


@dataclass(eq=False)
class _Write:
    kind: Kind[Any, Any]
    what: Any
    done: asyncio.Future[Any]


class WriteBatcher:
    """The only writer of a database in this process. What `write` has returned from is committed."""

    def __init__(self, engine: StoreEngine) -> None:
        self._engine = engine
        self._waiting: list[_Write] = []
        self._task: asyncio.Task[None] | None = None

    async def write(self, kind: Kind[P, R], what: P) -> R:
        """Do a write together with others, and give its result once it is committed.

        A caller that is cancelled meanwhile does not take its write back. Raises what the database raises, and only to
        whom it concerns: a write that breaks a rule of integrity spoils none beside it.
        """
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(kind, what, done))
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="store-writer")
        return await done

    async def settled(self) -> None:
        """Wait until nothing is being written."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
                await self._write(group)
        finally:
            self._task = None

    async def _write(self, group: Sequence[_Write]) -> None:
        try:
            await self._commit(group)
        except Exception as error:
            if is_damage(error):
                # The next start of this process saves what can be read.
                run_critical(_give_up(), "store-writer")
            # The database being away or full concerns all of them, anything else perhaps one alone.
            if len(group) == 1 or isinstance(error, OperationalError):
                _fail(group, error)
                return
            for each in group:
                await self._write([each])
        except BaseException:  # this task is cancelled: the loop ends, and nobody may wait for what will not come
            for each in group:
                each.done.cancel()
            raise

    async def _commit(self, group: Sequence[_Write]) -> None:
        results = await self._engine.write(partial(_write_all, group))
        for each in group:
            if not each.done.done():
                each.done.set_result(results[each])


def _write_all(group: Sequence[_Write], connection: Connection) -> dict[_Write, Any]:
    """Kind by kind, since one statement does many; whoever needs an order waits for the first write to return."""
    results: dict[_Write, Any] = {}
    kinds: dict[Kind[Any, Any], list[_Write]] = {}
    for each in group:
        kinds.setdefault(each.kind, []).append(each)
    for kind, same in kinds.items():
        results.update(zip(same, kind(connection, [each.what for each in same]), strict=True))
    return results


async def _give_up() -> None:
    raise RuntimeError("the index of runs is damaged and cannot be written")


def _fail(group: Sequence[_Write], error: Exception) -> None:
    for each in group:
        if not each.done.done():
            each.done.set_exception(error)
