"""One trigger that watches a folder: looks at it, and hands over the files that are news."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import mimetypes
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from innkeeper.gateway.deliveries.book import StoredTrigger, TriggerBook
from innkeeper.gateway.deliveries.file_tracker import (
    DueFile,
    FileState,
    FileTracker,
    SeenFile,
    is_news,
    known_from_start,
)
from innkeeper.gateway.deliveries.folder_events import FolderEvents
from innkeeper.gateway.deliveries.intake import Arrival, Handled, Intake, TooManyDeliveries
from innkeeper.gateway.deliveries.watched_folder import FileChanged, Scan, Stamp, WatchedFolder
from innkeeper.gateway.moments import iso
from innkeeper.gateway.store.models import FileWatchRow, SeenFileRow
from innkeeper.gateway.store.runs import now_ms
from innkeeper.gateway.store.seen_files import SeenFileStore
from innkeeper.gateway.triggers.model import FilePart
from innkeeper.nodes.errors import ResourceError

logger = logging.getLogger("innkeeper.gateway.files")

HANDED_OVER_AT_ONCE = 8
"""They share transactions; more of them would only wait for each other."""
THREADS = 4
HASHED_AT_ONCE = 2
"""Of the threads; the others look into folders meanwhile."""
MIN_SUSPENSION_S = 0.1
WITH_RUN = ("fired", "queued", "duplicate")
UNKNOWN_TYPE = "application/octet-stream"

T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """How often folders are looked at, in seconds.

    Attributes:
        rescan_s: Without any event: events get lost.
        poll_s: Where no events come, and while the folder is missing.
        retry_s: After a fault of ours or of the disk.
        rest: A look is followed by a rest so many times as long, whatever happens: folders may be large.
    """

    rescan_s: float = 60.0
    poll_s: float = 2.0
    retry_s: float = 5.0
    rest: float = 5.0


DEFAULT_PACE = Pace()


@dataclass(frozen=True)
class WatchServices:
    """What all watches share.

    Attributes:
        threads: Of their own: a network file system that hangs must not hold those that everything else uses.
        hashing: Bounds how many files are read at once.
    """

    data_dir: Path
    book: TriggerBook
    intake: Intake
    store: SeenFileStore
    events: FolderEvents
    threads: ThreadPoolExecutor
    hashing: asyncio.Semaphore
    pace: Pace

    async def in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


class FolderWatch:
    """Watches for one trigger until its task is cancelled.

    Attributes:
        begun_ns: What came before this moment (of the clock of files, ns since 1970) is not taken. None: that is
            written down already, and the watch goes on with what it has seen.
    """

    def __init__(self, trigger: StoredTrigger, part: FilePart, services: WatchServices, begun_ns: int | None) -> None:
        self._id = trigger.id
        self._number = trigger.number
        self._part = part
        self._services = services
        self.begun_ns = begun_ns
        self._folder = WatchedFolder(services.data_dir, trigger.user, part.folder, part.glob)
        self._tracker: FileTracker | None = None
        self._hashes: dict[str, tuple[Stamp, str]] = {}
        self._noted: set[str] = set()
        self._is_due = asyncio.Event()
        self._resumes_at = 0.0
        self._rest_s = 0.0

    async def run(self) -> None:
        """Look again and again. Only its cancellation ends it."""
        try:
            while True:
                # Cleared before the look: what happens during it is worth another one.
                self._is_due.clear()
                pause = await self._look_safely()
                await asyncio.sleep(self._rest_s)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._is_due.wait()
        finally:
            self._services.events.forget(self)

    async def _look_safely(self) -> float:
        try:
            return await self._look()
        except Exception:
            # A full disk, a locked database: the gateway goes on, and so does this watch, after a rest.
            logger.exception("a watched folder cannot be looked at", extra={"event": "file_watch_failed"})
            self._rest_s = self._services.pace.retry_s
            return 0

    async def _look(self) -> float:
        """Look once; gives the seconds until the next look, unless something happens before."""
        tracker, pace = await self._loaded(), self._services.pace
        scan = await self._services.in_thread(self._folder.scan)
        self._rest_s = scan.took_s * pace.rest
        is_told = self._services.events.watch(self, scan.places, self._is_due.set) and scan.has_events
        pause = pace.rescan_s if is_told else pace.poll_s
        if scan.refusal is not None:
            self._tell([*scan.problems, scan.refusal])
            return pause
        await self._begin(tracker, scan)
        # In a thread: ten thousand files would hold the event loop. Nobody else uses the tracker meanwhile.
        compare = partial(tracker.look, scan.files, now_s=time.monotonic(), now_ms=now_ms())
        look = await self._services.in_thread(compare)
        await self._write(look.changed)
        await self._services.store.drop(self._number, tracker.surplus())
        again_s, problems = await self._hand_over(tracker, look.due)
        self._tell([*scan.problems, *problems])
        return min(pause, again_s, pause if look.next_in_s is None else look.next_in_s)

    async def _loaded(self) -> FileTracker:
        if self._tracker is None:
            rows = await self._services.store.files(self._number)
            seen = {row.path: _seen_of(row) for row in rows if row.path.startswith(f"{self._part.folder}/")}
            others = [row.path for row in rows if row.path not in seen]
            await self._services.store.drop(self._number, others)  # of a folder that was watched before
            self._tracker = FileTracker(seen, self._part.still_seconds)
        return self._tracker

    async def _begin(self, tracker: FileTracker, scan: Scan) -> None:
        """Write down what is there, once. A gateway that dies before the end begins again."""
        if self.begun_ns is None:
            return
        known = known_from_start(scan.files, tracker.seen, self.begun_ns)
        await self._write(known)
        watch = FileWatchRow(trigger=self._number, folder=self._part.folder, glob=self._part.glob)
        await self._services.store.begin(watch)
        for path, seen in known.items():
            tracker.note(path, seen)
        self.begun_ns = None

    async def _write(self, files: Mapping[str, SeenFile]) -> None:
        await self._services.store.put([_row(self._number, path, seen) for path, seen in files.items()])

    def _tell(self, problems: Sequence[str]) -> None:
        """Note in the trigger's results what has gone wrong since the last look."""
        trigger = self._services.book.find(self._id)
        for problem in dict.fromkeys(problems):
            if trigger is not None and problem not in self._noted:
                self._services.intake.refuse(trigger, problem)
        self._noted = set(problems)

    # --- files that are due ---------------------------------------------------------------------------------------

    async def _hand_over(self, tracker: FileTracker, due: Sequence[DueFile]) -> tuple[float, list[str]]:
        """Offer files; gives when to look again for those that are left, in seconds, and why some cannot be read."""
        problems: list[str] = []
        left = 0
        for start in range(0, len(due), HANDED_OVER_AT_ONCE):
            if time.monotonic() < self._resumes_at:
                break
            some = due[start : start + HANDED_OVER_AT_ONCE]
            found = await asyncio.gather(*(self._hand_over_one(tracker, file) for file in some), return_exceptions=True)
            for outcome in found:
                if isinstance(outcome, ResourceError):
                    problems.append(outcome.message)
                elif isinstance(outcome, FileChanged):
                    left += 1
                elif isinstance(outcome, BaseException):
                    raise outcome
        self._hashes = {file.path: self._hashes[file.path] for file in due if file.path in self._hashes}
        rest_s = self._resumes_at - time.monotonic()
        return rest_s if rest_s > 0 else self._part.still_seconds if left else math.inf, problems

    async def _hand_over_one(self, tracker: FileTracker, file: DueFile) -> None:
        """Offer a file if it is news, and write it down after that: a gateway that dies between offers it again, and
        the delivery's id tells that it has a run.

        Raises:
            FileChanged: It is being written again.
            ResourceError: It cannot be read.
        """
        if file.event == "changed" and "changed" not in self._part.on:
            return await self._see(tracker, file, None, "known")
        sha256 = await self._hash(file)
        seen = tracker.seen.get(file.path)
        if seen is not None and not is_news(seen, sha256):
            return await self._see(tracker, file, sha256, seen.state)
        if file.event not in self._part.on:
            return await self._see(tracker, file, sha256, "known")
        handled = await self._offer(file, sha256)
        if handled is not None:
            await self._see(tracker, file, sha256, "taken" if handled.outcome in WITH_RUN else "passed")

    async def _see(self, tracker: FileTracker, file: DueFile, sha256: str | None, state: FileState) -> None:
        seen = SeenFile(file.stamp, sha256, state)
        await self._write({file.path: seen})
        tracker.note(file.path, seen)
        self._hashes.pop(file.path, None)

    async def _hash(self, file: DueFile) -> str:
        stamp, sha256 = self._hashes.get(file.path, (None, ""))
        if stamp == file.stamp:
            return sha256
        stop = threading.Event()
        async with self._services.hashing:
            try:
                read = partial(self._folder.sha256, file.path, file.stamp, stop)
                sha256 = await self._services.in_thread(read)
            finally:
                stop.set()  # the thread of a cancelled task would read on
        self._hashes[file.path] = (file.stamp, sha256)
        return sha256

    async def _offer(self, file: DueFile, sha256: str) -> Handled | None:
        """Let the trigger take a file; None: not now."""
        trigger = self._services.book.find(self._id)
        if trigger is None or not trigger.definition.enabled or trigger.definition.file != self._part:
            return None  # whoever follows the book is about to end this watch
        arrival = Arrival({"file": payload_of(file, sha256)}, f"{file.path}#{sha256}", replay_key_of(file, sha256))
        try:
            handled = await self._services.intake.take(trigger, arrival)
        except TooManyDeliveries:
            self._suspend(self._services.pace.retry_s)
            return None
        if handled.outcome == "refused" and handled.retry_after_s is not None:
            self._suspend(handled.retry_after_s)
            return None
        return handled

    def _suspend(self, seconds: float) -> None:
        """Offer nothing for some time: a rate lets no more pass. What is due stays due."""
        self._resumes_at = time.monotonic() + max(MIN_SUSPENSION_S, seconds)


def replay_key_of(file: DueFile, sha256: str) -> str:
    """Names this appearance of a file. It tells an offer that is made again, after a crash, whatever the trigger takes
    for the same delivery."""
    return hashlib.sha256(f"{file.path}\0{file.stamp}\0{sha256}".encode()).hexdigest()


def payload_of(file: DueFile, sha256: str) -> dict[str, Any]:
    """What the mapping sees as `file`."""
    folder, _, name = file.path.rpartition("/")
    return {
        "path": file.path,
        "name": name,
        "folder": folder,
        "size": file.stamp.size,
        "mime": mimetypes.guess_type(name)[0] or UNKNOWN_TYPE,
        "sha256": sha256,
        "event": file.event,
        "modifiedAt": _moment(file.stamp.mtime_ns),
    }


def _moment(ns: int) -> str | None:
    """A file may claim any time, also one that no calendar has."""
    try:
        return iso(ns / 1_000_000)
    except (ValueError, OverflowError, OSError):
        return None


def _row(trigger: int, path: str, seen: SeenFile) -> SeenFileRow:
    return SeenFileRow(
        trigger=trigger,
        path=path,
        size=seen.stamp.size,
        mtime_ns=seen.stamp.mtime_ns,
        sha256=seen.sha256,
        state=seen.state,
        gone_at=seen.gone_at,
    )


def _seen_of(row: SeenFileRow) -> SeenFile:
    state: FileState = "taken" if row.state == "taken" else "passed" if row.state == "passed" else "known"
    return SeenFile(Stamp(row.size, row.mtime_ns), row.sha256, state, row.gone_at)
