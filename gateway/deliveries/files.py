"""Files that start runs: a watch for each enabled trigger of the kind `file`, as long as there is one."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from innkeeper.gateway.deliveries.book import StoredTrigger, TriggerBook
from innkeeper.gateway.deliveries.folder_events import FolderEvents
from innkeeper.gateway.deliveries.folder_watch import (
    DEFAULT_PACE,
    HASHED_AT_ONCE,
    THREADS,
    FolderWatch,
    Pace,
    WatchServices,
)
from innkeeper.gateway.deliveries.intake import Intake
from innkeeper.gateway.store.seen_files import SeenFileStore
from innkeeper.gateway.triggers.model import FilePart
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.process.critical_tasks import run_critical

logger = logging.getLogger("innkeeper.gateway.files")

_REALTIME_COARSE = 5
"""Linux: the clock that file systems take their times from. It is up to 10 ms behind the one of `time.time`."""


@dataclass(frozen=True)
class _Change:
    """A trigger before and after a change; `at_ns` on the clock of files."""

    before: StoredTrigger | None
    after: StoredTrigger | None
    at_ns: int


@dataclass(frozen=True)
class _Running:
    watch: FolderWatch
    task: asyncio.Task[None]


class FileTriggers:
    """Follows the book of triggers, and keeps a watch for each that wants files."""

    def __init__(
        self, book: TriggerBook, intake: Intake, store: SeenFileStore, data_dir: Path, pace: Pace = DEFAULT_PACE
    ) -> None:
        self._book = book
        self._intake = intake
        self._store = store
        self._data_dir = data_dir
        self._pace = pace
        self._changes: asyncio.Queue[_Change] = asyncio.Queue()
        self._watches: dict[int, _Running] = {}
        book.listeners.append(self._note_change)

    async def keep_watching(self) -> None:
        """Work until cancelled."""
        services = WatchServices(
            data_dir=self._data_dir,
            book=self._book,
            intake=self._intake,
            store=self._store,
            events=FolderEvents(),
            threads=ThreadPoolExecutor(THREADS, "file-watch"),
            hashing=asyncio.Semaphore(HASHED_AT_ONCE),
            pace=self._pace,
        )
        try:
            await self._take_up(services)
            while True:
                await self._follow(await self._changes.get(), services)
        finally:
            await asyncio.gather(*map(self._stop, list(self._watches)))
            await services.events.aclose()
            services.threads.shutdown(wait=False, cancel_futures=True)

    def _note_change(self, before: StoredTrigger | None, after: StoredTrigger | None) -> None:
        if _part(before) is not None or _part(after) is not None:
            # Taken before anybody is told of the change: what is written after that is new.
            self._changes.put_nowait(_Change(before, after, file_clock_ns()))

    async def _take_up(self, services: WatchServices) -> None:
        """Start the watches of all triggers that there are; forget what others have left."""
        wanted = {trigger.number: trigger for trigger in self._book.of_kind("file")}
        for trigger in wanted.values():
            row = await self._store.watch(trigger.number)
            part = _part(trigger)
            goes_on = row is not None and part is not None and (row.folder, row.glob) == (part.folder, part.glob)
            self._start(trigger, services, None if goes_on else trigger.updated_at * 1_000_000)
        others = {trigger.number for trigger in self._book.of_kind("file", enabled=False)} - wanted.keys()
        for number in await self._store.numbers() - wanted.keys():
            await self._end(number, for_good=number not in others)

    async def _follow(self, change: _Change, services: WatchServices) -> None:
        old, new = _part(change.before), _part(change.after)
        if old is not None and old == new:
            return  # of the rest of the definition the watch asks the book
        trigger = change.after or change.before
        if trigger is None:
            return
        watch = await self._stop(trigger.number)
        if new is None:
            await self._end(trigger.number, for_good=change.after is None)
        elif watch is not None and old is not None and (old.folder, old.glob) == (new.folder, new.glob):
            self._start(trigger, services, watch.begun_ns)
        else:
            self._start(trigger, services, change.at_ns)

    def _start(self, trigger: StoredTrigger, services: WatchServices, begun_ns: int | None) -> None:
        part = _part(trigger)
        if part is None:
            return
        try:
            watch = FolderWatch(trigger, part, services, begun_ns)
        except ResourceError as error:  # the user of a damaged row
            logger.error("a file trigger cannot watch: %s", error.message, extra={"trigger": trigger.id})
            return
        self._watches[trigger.number] = _Running(watch, run_critical(watch.run(), f"file-watch-{trigger.id}"))

    async def _stop(self, number: int) -> FolderWatch | None:
        running = self._watches.pop(number, None)
        if running is None:
            return None
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        return running.watch

    async def _end(self, number: int, *, for_good: bool) -> None:
        """A trigger that is disabled begins anew when it is enabled; one that is gone never comes back."""
        try:
            await (self._store.forget(number) if for_good else self._store.end(number))
        except SQLAlchemyError as error:
            # The next start of the gateway does it.
            logger.warning("the end of a file trigger could not be written down: %s", error)


def _part(trigger: StoredTrigger | None) -> FilePart | None:
    """What an enabled trigger watches; None: nothing."""
    if trigger is None or trigger.definition.kind != "file" or not trigger.definition.enabled:
        return None
    return trigger.definition.file


def file_clock_ns() -> int:
    """Now, as a file would have it that is written at this moment; ns since 1970."""
    return time.clock_gettime_ns(_REALTIME_COARSE) if sys.platform == "linux" else time.time_ns()
