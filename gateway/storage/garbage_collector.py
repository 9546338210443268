"""Collecting stored values and secrets that nothing refers to: mark what kept runs, their logs and the result cache
hold, then delete the old rest. A secret's id looks like a hash, so it is marked wherever it stands.

What is written, or kept (`FolderBlobs.keep`), while this goes on is younger than the horizon and stays whatever the
marks say: so no writer ever waits for a collection, and one that is killed has done no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from innkeeper.gateway.events.clock import correct_dates
from innkeeper.gateway.events.log import EventLog
from innkeeper.gateway.store.runs import HeldByRun, RunStore
from innkeeper.nodes.catalogue.plugin_settings import PLUGIN_SECRETS_FOLDER
from innkeeper.nodes.errors import InnkeeperError, ResourceError
from innkeeper.nodes.services.blobs import HASH_BYTES, FolderBlobs, hashes_in
from innkeeper.nodes.services.channel_file import CHANNELS_FILE
from innkeeper.nodes.services.files import delete_temporaries
from innkeeper.nodes.services.secrets import SecretStore
from innkeeper.nodes.services.user_channels import USER_CHANNELS_FILE

_ID = re.compile(rb"[0-9a-f]{64}")
logger = logging.getLogger("innkeeper.gateway.collection")

SLICE_S = 0.02
"""Work in one go; then others have as much time."""
CLOCK_S = 0.05
"""Times of files come from a clock that lags some milliseconds behind."""
TEMPORARY_S = 86_400.0
"""A file that nobody has written to for so long is no upload any more."""
Texts = Callable[[], AsyncIterator[bytes]]
"""Gives the JSON of every stored version of every workflow, those in the bin included."""
LARGE_BYTES = 65_536
"""What a larger value refers to is remembered until the next collection: content of one hash never changes."""


class CannotCollect(InnkeeperError):
    """A run cannot be read, so its values cannot be told from those that nobody needs."""

    code = "run_damaged"


@dataclass(frozen=True)
class Collected:
    """What a collection did, or would do. `bytes` count content, `temporaries` files that killed writers left.

    Attributes:
        deleted: Values deleted, as `deleted_bytes`; of the others `marked` are referred to, the rest is too young.
    """

    dry_run: bool
    deleted: int = 0
    deleted_bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0
    marked: int = 0
    temporaries: int = 0

    def to_json(self) -> dict[str, Any]:
        names = {"dry_run": "dryRun", "deleted_bytes": "deletedBytes", "kept_bytes": "keptBytes"}
        return {names.get(key, key): value for key, value in asdict(self).items()}


@dataclass
class Marks:
    """Hashes that are referred to, and those of them that were not looked into yet."""

    seen: set[bytes] = field(default_factory=set)
    open: list[str] = field(default_factory=list)

    def add(self, hashes: Iterable[str]) -> None:
        for sha256 in hashes:
            # Half the memory of the text.
            if (digest := bytes.fromhex(sha256)) not in self.seen:
                self.seen.add(digest)
                self.open.append(sha256)

    def __contains__(self, sha256: str) -> bool:
        return bytes.fromhex(sha256) in self.seen


class GarbageCollector:
    """Collects the values of one data directory.

    Args:
        results: The folder of the result cache.
        secrets: Stored workflows, channels and settings of plugins in the data directory refer to these, too; None:
            they all stay.
        versions: Stored workflows that are in no file. Whoever stores one keeps the secrets in it first
            (`SecretStore.put`, `keep`), so that they are young.
        deliveries: Triggers, and what came for them and is no run yet.
        grace_s: A value is written before its reference is: one that is younger than this always stays.
    """

    def __init__(
        self,
        store: RunStore,
        log: EventLog,
        blobs: FolderBlobs,
        *,
        data: Path,
        results: Path,
        grace_s: float,
        secrets: SecretStore | None = None,
        versions: Texts | None = None,
        deliveries: Texts | None = None,
    ) -> None:
        self._store = store
        self._log = log
        self._blobs = blobs
        self._data = data
        self._results = results
        self._secrets = secrets
        self._versions = versions
        self._deliveries = deliveries
        self._grace_s = grace_s
        self._one_at_a_time = asyncio.Lock()
        self._inside_large: dict[str, tuple[str, ...]] = {}
        self.counters = {"runs": 0, "blobs_deleted": 0, "bytes_deleted": 0}
        self.last = Collected(dry_run=True)

    async def collect(self, *, dry_run: bool = False) -> Collected:
        """Delete values that nothing refers to any more; with `dry_run` only count them.

        Raises:
            LogUnavailable: The event log cannot be read. Nothing is deleted.
        """
        async with self._one_at_a_time:
            # Before anything is read: what comes later is younger.
            horizon = await self._horizon()
            marks = await self._marked()
            # Before anything is deleted: what cannot be read may refer to anything.
            named = set() if dry_run or self._secrets is None else await self._named()
            sweep = _Sweep(self._blobs, marks, horizon, dry_run)
            await _drive(sweep.steps())
            temporaries = 0
            if not dry_run:
                before = time.time() - TEMPORARY_S
                temporaries = await asyncio.to_thread(delete_temporaries, self._data, before)
                if self._secrets is not None:
                    await _drive(self._delete_secrets(self._secrets, marks, named, horizon))
            self.last = sweep.collected(temporaries)
            self._add_to_counters(self.last)
            return self.last

    async def keep_collecting(self, first_s: float, every_s: float) -> None:
        """For ever: collect after `first_s`, then every `every_s`."""
        pause_s = first_s
        while True:
            await asyncio.sleep(pause_s)
            pause_s = every_s
            try:
                found = await self.collect()
                if found.deleted:
                    logger.info("stored values collected", extra={"event": "collected", "count": found.deleted})
            except Exception:
                logger.exception("collecting stored values failed", extra={"event": "collection_failed"})

    def _add_to_counters(self, found: Collected) -> None:
        self.counters["runs"] += 1
        if not found.dry_run:
            self.counters["blobs_deleted"] += found.deleted
            self.counters["bytes_deleted"] += found.deleted_bytes

    async def _horizon(self) -> float:
        """Values written since then stay: references to them may be on their way in open runs, in Temporal alone."""
        now = time.time()
        await correct_dates(self._log, now)
        opened = [info.created_ms for info in (await self._log.open_runs())[:1]]
        if (submitted := await self._store.oldest_open()) is not None:
            opened.append(submitted)
        return min([now, *(moment / 1000 for moment in opened)]) - self._grace_s - CLOCK_S

    async def _named(self) -> set[str]:
        """Everything that stored workflows, channels and settings of plugins may mean as a secret's id."""
        files = [
            self._data / CHANNELS_FILE,
            self._data / USER_CHANNELS_FILE,
            *(self._data / "shared" / "library" / "workflows").glob("*.json"),
            *(self._data / PLUGIN_SECRETS_FOLDER).glob("*.json"),
        ]
        named = await asyncio.to_thread(_named_in, files)
        for texts in (self._versions, self._deliveries):
            if texts is not None:
                async for text in texts():
                    await _drive(_each([text], lambda data: named.update(_ids_in(data))))
        return named

    def _delete_secrets(self, secrets: SecretStore, marks: Marks, named: set[str], horizon: float) -> Iterator[None]:
        deleted = 0
        for secret in secrets.stored():
            if secret not in marks and secret not in named:
                deleted += secrets.delete(secret, horizon)
            yield
        if deleted:
            logger.info("stored secrets collected", extra={"event": "secrets_collected", "count": deleted})

    # --- marking --------------------------------------------------------------------------------------------------

    async def _marked(self) -> Marks:
        marks = Marks()
        # Before the runs: what becomes one meanwhile is found here or there.
        await self._mark_deliveries(marks)
        await self._mark_runs(marks)
        await self._mark_events(marks)
        await _drive(self._mark_results(marks))
        await _drive(self._mark_inside(marks))
        self._inside_large = {sha: found for sha, found in self._inside_large.items() if sha in marks}
        return marks

    async def _mark_deliveries(self, marks: Marks) -> None:
        if self._deliveries is not None:
            async for text in self._deliveries():
                await _drive(_each([text], lambda data: marks.add(hashes_in(data))))

    async def _mark_runs(self, marks: Marks) -> None:
        after = 0
        while True:
            after, rows = await self._store.references(after)
            if not rows:
                return
            for row in rows:
                await _drive(self._mark_run(marks, row))

    def _mark_run(self, marks: Marks, row: HeldByRun) -> Iterator[None]:
        marks.add(hashes_in(row.plain))
        for data in row.packed:
            try:
                marks.add(hashes_in(zlib.decompress(data)))
            except zlib.error as error:
                raise _cannot_collect(row) from error
            yield
        plan = row.plan_hash
        if not all(sha is None or _is_hash(sha) for sha in (plan, row.document)):
            raise _cannot_collect(row)
        if row.document is not None:
            marks.add([row.document])
        if plan is not None and plan not in marks:
            marks.add([plan])
            # A plan that is gone or damaged refers to nothing; its run can be no base, and says so when asked.
            with contextlib.suppress(ResourceError, zlib.error):
                marks.add(hashes_in(zlib.decompress(self._blobs.get_sync(plan))))
            yield

    async def _mark_events(self, marks: Marks) -> None:
        after = 0
        while True:
            after, bodies = await self._log.raw_events(after)
            if not bodies:
                return
            await _drive(_each(bodies, lambda body: marks.add(hashes_in(body))))

    def _mark_results(self, marks: Marks) -> Iterator[None]:
        for folder, _, names in os.walk(self._results):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    marks.add(hashes_in(Path(folder, name).read_bytes()))
                yield

    def _mark_inside(self, marks: Marks) -> Iterator[None]:
        """Values hold references, too: tables of nodes, outcomes of items, what a rerun begins with."""
        while marks.open:
            sha256 = marks.open.pop()
            if sha256 not in self._inside_large:
                yield from self._look_into(sha256, marks)
            marks.add(self._inside_large.get(sha256, ()))

    def _look_into(self, sha256: str, marks: Marks) -> Iterator[None]:
        found: set[str] = set()
        size = 0
        for piece in self._blobs.pieces(sha256, HASH_BYTES):
            found.update(hashes_in(piece))
            size += len(piece)
            yield
        marks.add(found)
        if size > LARGE_BYTES:
            self._inside_large[sha256] = tuple(found)


def _is_hash(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and _ID.fullmatch(text.encode()) is not None


def _cannot_collect(row: HeldByRun) -> CannotCollect:
    return CannotCollect(
        f"what is kept of run {row.run!r} is damaged, and nobody knows which values belong to it: no value is deleted "
        f"until the run is ('innkeeper delete {row.run}')"
    )


class _Sweep:
    """The second half: what is neither marked nor young is deleted, if it still is old in that moment."""

    def __init__(self, blobs: FolderBlobs, marks: Marks, horizon: float, dry_run: bool) -> None:
        self._blobs = blobs
        self._marks = marks
        self._horizon = horizon
        self._dry_run = dry_run
        self._counts = dict.fromkeys(("deleted", "deleted_bytes", "kept", "kept_bytes", "marked"), 0)

    def steps(self) -> Iterator[None]:
        for folder in self._blobs.folders():
            for blob in self._blobs.stored(folder):
                is_marked = blob.sha256 in self._marks
                is_gone = not is_marked and blob.written < self._horizon and self._delete(blob.sha256)
                word = "deleted" if is_gone else "kept"
                self._counts[word] += 1
                self._counts[f"{word}_bytes"] += blob.size
                self._counts["marked"] += is_marked
                yield

    def _delete(self, sha256: str) -> bool:
        return self._dry_run or self._blobs.delete(sha256, self._horizon)

    def collected(self, temporaries: int) -> Collected:
        return Collected(self._dry_run, temporaries=temporaries, **self._counts)


def _named_in(files: Iterable[Path]) -> set[str]:
    """Everything in these files that may be an id, however it is written."""
    found: set[str] = set()
    for file in files:
        with contextlib.suppress(OSError):
            found.update(_ids_in(file.read_bytes()))
    return found


def _ids_in(data: bytes) -> Iterator[str]:
    return (match.decode() for match in _ID.findall(data))


def _each(items: Iterable[Any], work: Any) -> Iterator[None]:
    for item in items:
        work(item)
        yield


async def _drive(steps: Iterator[None]) -> None:
    """Take all steps, in threads, for at most half of the time: runs come first."""
    while True:
        began = time.perf_counter()
        if await asyncio.to_thread(_are_done, steps):
            return
        await asyncio.sleep(time.perf_counter() - began)


def _are_done(steps: Iterator[None]) -> bool:
    deadline = time.perf_counter() + SLICE_S
    while time.perf_counter() < deadline:
        if next(steps, steps) is steps:
            return True
    return False
