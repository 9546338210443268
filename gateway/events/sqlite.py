"""The run event log in one SQLite file.

One row per run and commit. One thread writes, another reads, a third moves the write-ahead log into the file; WAL lets
them work at the same time. `synchronous=NORMAL`: what was acknowledged survives the death of any process; the loss of
power may take the newest commits, which is told by a new `log_id`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from innkeeper.gateway.events.log import (
    READ_BYTES,
    Batch,
    LogDamaged,
    LogFormatMismatch,
    LogUnavailable,
    RunInfo,
    StoredEvent,
)
from innkeeper.gateway.events.sqlite_schema import FORMAT_VERSION, create_tables
from innkeeper.gateway.salvage.database import boot_id, is_damage

_RAW_ROWS = 2_000
_ROWS_AT_ONCE = 500
"""Of four values each; a statement may have 32,766 of them."""

CHECKPOINT_ROWS = 500
LONG_LOG_PAGES = 4_000
"""16 MB of the write-ahead log; 4 times as much as SQLite's own bound."""
_DELETED_ROWS = 50
_VACUUMED_ROWS = 250
"""What a deleted run and a piece of the file that was given back count, by the pages that they change."""

logger = logging.getLogger("innkeeper.gateway.events")
T = TypeVar("T")

_RUN_COLUMNS = "run, created_ms, sealed_ms, last_seq, bytes, meta"


class SqliteEventLog:
    """See EventLog. Made by `open`."""

    def __init__(
        self,
        writer: sqlite3.Connection,
        reader: sqlite3.Connection,
        log_id: str,
        *,
        threads: _Threads,
        checkpoints: _Checkpoints,
    ) -> None:
        self._writer, self._reader, self._log_id = writer, reader, log_id
        self._threads, self._checkpoints = threads, checkpoints

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        full_sync: bool = False,
        boot: str | None = None,
        on_damage: Callable[[], None] | None = None,
    ) -> SqliteEventLog:
        """Open or create the file.

        Args:
            full_sync: Acknowledged then also means "survives the loss of power", at the price of one fsync per commit.
            boot: Identity of this boot; the machine's own by default.
            on_damage: Called whenever the file is found damaged.

        Raises:
            LogUnavailable: The file cannot be opened.
            LogFormatMismatch: It was written by another version.
        """
        threads = _Threads(on_damage)
        try:
            boot = boot_id() if boot is None else boot
            writer, log_id = await threads.write(partial(_open_writer, path, full_sync, boot))
            reader = await threads.read(lambda: _open_reader(path))
        except BaseException:
            threads.close()
            raise
        return cls(writer, reader, log_id, threads=threads, checkpoints=_Checkpoints(path))

    @property
    def log_id(self) -> str:
        return self._log_id

    async def create_run(self, run: str, meta: Mapping[str, Any]) -> bool:
        return await self._commit(lambda db: _create(db, {run: meta}) == 1)

    async def append(self, batches: Sequence[Batch]) -> None:
        await self._commit(lambda db: _append(db, batches), rows=len(batches))

    async def read(self, run: str, after: int = 0, limit: int = 1000, max_bytes: int = READ_BYTES) -> list[StoredEvent]:
        return await self._threads.read(
            lambda: _select_events(self._reader, run, after=after, limit=limit, max_bytes=max_bytes)
        )

    async def last_seq(self, run: str) -> int:
        info = await self.run_info(run)
        return 0 if info is None else info.last_seq

    async def run_info(self, run: str) -> RunInfo | None:
        found = await self._infos("WHERE run=?", (run,))
        return found[0] if found else None

    async def open_runs(self) -> list[RunInfo]:
        return await self._infos("WHERE sealed_ms IS NULL ORDER BY created_ms", ())

    async def correct_dates(self, now_ms: int, *, margin_ms: int) -> int:
        update = "UPDATE runs SET created_ms=? WHERE sealed_ms IS NULL AND created_ms>?"
        return await self._commit(lambda db: db.execute(update, (now_ms - margin_ms, now_ms)).rowcount)

    async def seal(self, run: str) -> None:
        await self._commit(lambda db: _seal(db, [run]))

    async def delete_sealed(self, *, max_age_s: float, max_bytes: int) -> list[str]:
        doomed = await self._threads.read(lambda: _too_old_or_much(self._reader, max_age_s, max_bytes))
        for run in doomed:
            # One run at a time: appends of live runs get between.
            await self._commit(partial(_delete, run=run), rows=_DELETED_ROWS)
        has_more = bool(doomed)
        while has_more:
            has_more = await self._write(partial(_give_back, self._writer), rows=_VACUUMED_ROWS)
        return doomed

    async def delete_run(self, run: str) -> None:
        if (info := await self.run_info(run)) is not None and info.is_sealed:
            await self._commit(partial(_delete, run=run), rows=_DELETED_ROWS)

    async def raw_events(self, after: int = 0) -> tuple[int, list[bytes]]:
        return await self._threads.read(lambda: _raw(self._reader, after))

    async def stats(self) -> dict[str, int]:
        return await self._threads.read(lambda: _stats(self._reader))

    async def close(self) -> None:
        await self._checkpoints.close()
        await self._threads.read(self._reader.close)
        await self._threads.write(self._writer.close)
        self._threads.close()

    async def _commit(self, job: Callable[[sqlite3.Connection], T], *, rows: int = 1) -> T:
        return await self._write(lambda: _commit(self._writer, job), rows=rows)

    async def _write(self, job: Callable[[], T], *, rows: int) -> T:
        last = self._checkpoints.last()
        done = await self._threads.write(job)
        await self._checkpoints.wrote(rows, last)
        return done

    async def _infos(self, where: str, arguments: tuple[Any, ...]) -> list[RunInfo]:
        query = f"SELECT {_RUN_COLUMNS} FROM runs {where}"
        rows: list[Any] = await self._threads.read(lambda: self._reader.execute(query, arguments).fetchall())
        return [_info(row) for row in rows]


class _Threads:
    """One thread for the writing connection, one for the reading one. SQLite's errors become LogUnavailable."""

    def __init__(self, on_damage: Callable[[], None] | None = None) -> None:
        self._on_damage = on_damage
        self._write = ThreadPoolExecutor(1, "event-log-write")
        self._read = ThreadPoolExecutor(1, "event-log-read")

    async def write(self, job: Callable[[], T]) -> T:
        return await self._run(self._write, job)

    async def read(self, job: Callable[[], T]) -> T:
        return await self._run(self._read, job)

    def close(self) -> None:
        self._read.shutdown(wait=False)
        self._write.shutdown(wait=False)

    async def _run(self, pool: ThreadPoolExecutor, job: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, job)
        except sqlite3.Error as error:
            if is_damage(error):
                if self._on_damage is not None:
                    self._on_damage()
                raise LogDamaged(
                    f"the event log is damaged here ({error}); the next start of the gateway saves what can be read"
                ) from error
            raise LogUnavailable(f"the event log cannot be used: {error}") from error


class _Checkpoints:
    """Moves what is in the write-ahead log to its place in the file, beside the commits.

    SQLite would do so within a commit, which then waits for the disk, with everybody whose events it holds. A passive
    checkpoint holds up nobody, but while commits go on it never ends the log: when that has `LONG_LOG_PAGES`, whoever
    writes waits for one.

    None begins before something is written behind the last one. When a checkpoint finds nothing to move, a commit may
    begin the log anew beside it, and SQLite before 3.51.3 may then take for moved what that commit has written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(1, "event-log-checkpoint")
        self._db: sqlite3.Connection | None = None
        self._rows = 0
        self._begun = 0
        self._running: Future[None] | None = None
        self._is_behind = False

    def last(self) -> int | None:
        """Which checkpoint was the last, for whoever is about to write; None while it goes on."""
        return self._begun if self._running is None or self._running.done() else None

    async def wrote(self, rows: int, last: int | None) -> None:
        """Count rows that were committed; from `CHECKPOINT_ROWS` on it is time again.

        Args:
            last: What `last` gave before they were written.
        """
        self._rows += rows
        if last != self._begun or (self._rows < CHECKPOINT_ROWS and not self._is_behind):
            return
        self._rows, self._begun = 0, self._begun + 1
        self._running = self._pool.submit(self._checkpoint)
        if self._is_behind:
            await asyncio.wait({asyncio.wrap_future(self._running)})

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, self._close)
        self._pool.shutdown(wait=False)

    def _checkpoint(self) -> None:
        # A file that cannot be written, or is damaged, is found so by the next commit.
        with contextlib.suppress(sqlite3.Error):
            self._db = self._db or _connect(self._path)
            _, pages, moved = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._is_behind = pages > LONG_LOG_PAGES and moved < pages

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()


def _open_writer(path: Path, full_sync: bool, boot: str) -> tuple[sqlite3.Connection, str]:
    db = _connect(path)
    try:
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before the first table, else it has no effect
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={'FULL' if full_sync else 'NORMAL'}")
        db.execute("PRAGMA journal_size_limit=67108864")
        db.execute("PRAGMA wal_autocheckpoint=0")  # `_Checkpoints` does it
        return db, _commit(db, lambda db: _identify(db, path, boot))
    except BaseException:
        db.close()
        raise


def create_log(path: Path) -> None:
    """Make a new file with its tables."""
    db, _ = _open_writer(path, False, boot_id())
    db.close()


def _open_reader(path: Path) -> sqlite3.Connection:
    db = _connect(path)
    db.execute("PRAGMA query_only=ON")
    return db


def _connect(path: Path) -> sqlite3.Connection:
    # Each connection lives in a pool of one thread; it is opened and closed there.
    db = sqlite3.connect(path, timeout=10, isolation_level=None)
    db.execute("PRAGMA busy_timeout=10000")
    # A name that is damaged must not keep all others from being read.
    db.text_factory = lambda text: text.decode(errors="replace")
    return db


def _identify(db: sqlite3.Connection, path: Path, boot: str) -> str:
    """Check the format; give the log's id, a new one when the machine went down under an open run."""
    create_tables(db)
    meta: dict[str, str] = dict(db.execute("SELECT key, value FROM meta"))
    found = meta.get("format_version", FORMAT_VERSION)
    if found != FORMAT_VERSION:
        raise LogFormatMismatch(
            f"{path} has event log format {found}, this version writes {FORMAT_VERSION}; "
            "use the version that wrote it, or move the file away (finished runs lose their event logs)"
        )
    has_open = db.execute("SELECT 1 FROM runs WHERE sealed_ms IS NULL LIMIT 1").fetchone() is not None
    log_id = meta.get("log_id")
    if log_id is None or (meta.get("boot_id") != boot and has_open):
        log_id = uuid.uuid4().hex[:12]
    rows = {"format_version": FORMAT_VERSION, "log_id": log_id, "boot_id": boot}
    db.executemany("INSERT OR REPLACE INTO meta VALUES(?,?)", rows.items())
    return log_id


def _commit(db: sqlite3.Connection, job: Callable[[sqlite3.Connection], T]) -> T:
    db.execute("BEGIN IMMEDIATE")
    try:
        result = job(db)
        db.execute("COMMIT")
        return result
    except BaseException:
        # SQLite has rolled back by itself after some errors (disk full): then there is no transaction left.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _create(db: sqlite3.Connection, metas: Mapping[str, Mapping[str, Any]]) -> int:
    """Make empty open runs; one that exists is left as it is. Gives how many are new."""
    if not metas:
        return 0
    values = [value for run, meta in metas.items() for value in (run, _now_ms(), orjson.dumps(meta).decode())]
    insert = f"INSERT INTO runs(run, created_ms, meta) VALUES {_marks(3, len(metas))} ON CONFLICT DO NOTHING"
    return db.execute(insert, values).rowcount


def _append(db: sqlite3.Connection, batches: Sequence[Batch]) -> None:
    for group in _groups(batches):
        _append_group(db, group)


def _groups(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """Batches in order, as many together as one statement takes, and of each run one."""
    group: dict[str, Batch] = {}
    for batch in batches:
        if batch.run in group or len(group) == _ROWS_AT_ONCE:
            yield list(group.values())
            group = {}
        group[batch.run] = batch
    if group:
        yield list(group.values())


def _append_group(db: sqlite3.Connection, group: Sequence[Batch]) -> None:
    """Two statements for any number of runs, one more when some of them are new, and one when some end.

    Each statement gives up the interpreter lock and has to win it back, which takes up to a switch interval while the
    loop is busy: with two statements for each of 200 runs one commit was seen to take seconds. `json_each` for the
    values is a trap: without AS MATERIALIZED its JSON is parsed anew for each row.
    """
    _create(db, {batch.run: batch.new_run_meta for batch in group if batch.new_run_meta is not None})
    rows = [(batch.run, batch.first_seq + len(batch.lines) - 1, batch.first_seq, _body(batch)) for batch in group]
    marks = _marks(4, len(rows))
    update = f"""
        UPDATE runs SET last_seq=new.column2, bytes=bytes+new.column3 FROM (VALUES {marks}) AS new
        WHERE run=new.column1 AND last_seq=new.column4 AND sealed_ms IS NULL"""
    ends = [value for run, last, first, body in rows for value in (run, last, len(body), first - 1)]
    # Not by RETURNING: each row that it gives is a step of its own, which gives up the lock again.
    if db.execute(update, ends).rowcount != len(rows):
        raise _misfit(db, group)
    values = [value for row in rows for value in row]
    db.execute(f"INSERT INTO rows VALUES {marks}", values)
    _seal(db, [batch.run for batch in group if batch.is_last])


def _seal(db: sqlite3.Connection, runs: Sequence[str]) -> None:
    if runs:
        update = f"UPDATE runs SET sealed_ms=? WHERE run IN {_marks(len(runs), 1)} AND sealed_ms IS NULL"
        db.execute(update, (_now_ms(), *runs))


def _marks(columns: int, rows: int) -> str:
    """The places of values in a statement."""
    return ",".join([f"({','.join('?' * columns)})"] * rows)


def _body(batch: Batch) -> bytes:
    return b"\n".join(batch.lines)


def _misfit(db: sqlite3.Connection, group: Sequence[Batch]) -> LogUnavailable:
    """Which batch does not follow from what is there; those that do have moved their runs on already."""
    select = "SELECT 1 FROM runs WHERE run=? AND last_seq=? AND sealed_ms IS NULL"
    ends = ((batch, batch.first_seq + len(batch.lines) - 1) for batch in group)
    wrong = (batch for batch, last in ends if db.execute(select, (batch.run, last)).fetchone() is None)
    batch = next(wrong, group[0])  # none looks wrong when one was appended before: then any may be it
    return LogUnavailable(f"run {batch.run!r} is gone, sealed, or does not end before event {batch.first_seq}")


def _select_events(db: sqlite3.Connection, run: str, *, after: int, limit: int, max_bytes: int) -> list[StoredEvent]:
    query = "SELECT first_seq, last_seq, body FROM rows WHERE run=? AND last_seq>? ORDER BY last_seq"
    events: list[StoredEvent] = []
    size = 0
    with contextlib.closing(db.execute(query, (run, after))) as rows:
        for first, last, body in rows:
            for event in _events_of(first, last, body):
                if event.seq <= after:
                    continue
                after = event.seq
                events.append(event)
                size += len(event.line)
                if len(events) >= limit or size >= max_bytes:
                    return events
    return events


def _events_of(first: Any, last: Any, body: Any) -> Iterator[StoredEvent]:
    """The events of a row, of which damage may have left anything."""
    is_sound = isinstance(first, int) and isinstance(last, int) and isinstance(body, bytes)
    if is_sound and 0 < first <= last and body.count(b"\n") == last - first:
        return map(StoredEvent, range(first, last + 1), body.split(b"\n"))
    return _numbered(body, last)


def _numbered(body: Any, last: Any) -> Iterator[StoredEvent]:
    """Damage has changed the numbers of the row, or the ends of its lines: a line that can be read says its own."""
    before = 0
    for line in body.split(b"\n") if isinstance(body, bytes) else ():
        if before < (seq := _seq_of(line)) and isinstance(last, int) and seq <= last:
            before = seq
            yield StoredEvent(seq, line)


def _seq_of(line: bytes) -> int:
    with contextlib.suppress(ValueError, TypeError, LookupError):
        seq = StoredEvent(0, line).decode()["seq"]
        return seq if isinstance(seq, int) else 0
    return 0


def _info(row: sqlite3.Row | tuple[Any, ...]) -> RunInfo:
    run, created_ms, sealed_ms, last_seq, size, meta = row
    return RunInfo(run, created_ms, sealed_ms, last_seq, size, _meta(run, meta))


def _meta(run: str, text: str) -> Mapping[str, Any]:
    """What is damaged here costs the run the chunks of its outputs, and no other run anything."""
    with contextlib.suppress(ValueError, TypeError):
        if isinstance(found := orjson.loads(text), dict):
            return found
    logger.warning("what the event log was told of run %s cannot be read", run, extra={"event": "damaged"})
    return {}


def _too_old_or_much(db: sqlite3.Connection, max_age_s: float, max_bytes: int) -> list[str]:
    total: int = db.execute("SELECT COALESCE(SUM(bytes),0) FROM runs").fetchone()[0]
    oldest_sealed = "SELECT run, sealed_ms, bytes FROM runs WHERE sealed_ms IS NOT NULL ORDER BY sealed_ms, created_ms"
    horizon = _now_ms() - max_age_s * 1000
    doomed = []
    for run, sealed_ms, size in db.execute(oldest_sealed):
        if sealed_ms >= horizon and total <= max_bytes:
            break
        doomed.append(run)
        total -= size
    return doomed


def _raw(db: sqlite3.Connection, after: int) -> tuple[int, list[bytes]]:
    bodies: list[bytes] = []
    with contextlib.closing(db.execute("SELECT rowid, body FROM rows WHERE rowid>? ORDER BY rowid", (after,))) as rows:
        size = 0
        for number, body in rows:
            after = number
            bodies.append(body)
            size += len(body)
            if size >= READ_BYTES or len(bodies) >= _RAW_ROWS:
                break
    return after, bodies


def _delete(db: sqlite3.Connection, run: str) -> None:
    db.execute("DELETE FROM rows WHERE run=?", (run,))
    db.execute("DELETE FROM runs WHERE run=?", (run,))


def _give_back(db: sqlite3.Connection) -> bool:
    """Shrink the file by some free pages; True while there are more. In small pieces: commits wait meanwhile.

    A file that was made without auto_vacuum never gives pages back, however often it is asked.
    """
    before = _free_pages(db)
    db.execute("PRAGMA incremental_vacuum(1000)").fetchall()
    return 0 < _free_pages(db) < before


def _free_pages(db: sqlite3.Connection) -> int:
    count: int = db.execute("PRAGMA freelist_count").fetchone()[0]
    return count


def _stats(db: sqlite3.Connection) -> dict[str, int]:
    counts = "SELECT COUNT(*), COUNT(*)-COUNT(sealed_ms), COALESCE(SUM(last_seq),0), COALESCE(SUM(bytes),0) FROM runs"
    row = db.execute(counts).fetchone()
    pages, page_size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return dict(zip(("runs", "open_runs", "events", "bytes"), row, strict=True)) | {"file_bytes": pages * page_size}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
