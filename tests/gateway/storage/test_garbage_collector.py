"""Which stored values a collection deletes: exactly those that are old and that nothing kept refers to."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text as sql

from innkeeper.gateway.events.log import Batch
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.storage.garbage_collector import CannotCollect, GarbageCollector, Texts, hashes_in
from innkeeper.gateway.store.engine import ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.runs import NewRun, RunStore
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.nodes.services.channels import UserChannel
from innkeeper.nodes.services.secrets import OPERATOR, SecretStore
from innkeeper.nodes.services.user_channels import UserEntries

SHA, OTHER = "a" * 64, "0123456789abcdef" * 4
REFERENCE = {"$blob": SHA, "size": 5000, "mime": "application/json", "preview": ""}


# --- what is a reference ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        REFERENCE,
        {"out": {"text": REFERENCE, "chunks": 3}},
        [[0, {"outputs": {"x": REFERENCE}}]],
        {"name": SHA},
        {"api_key": f"$secret:{SHA}"},
        {"text": orjson.dumps({"inner": f"$secret:{SHA}"}).decode()},
        {SHA: 1},
        {"text": orjson.dumps({"inner": [REFERENCE]}).decode()},
        {"$secret": "s", "$blob": REFERENCE},
    ],
)
def test_every_form_of_reference_is_seen(value: Any) -> None:
    for text in (orjson.dumps(value), orjson.dumps(value, option=orjson.OPT_INDENT_2)):
        assert set(hashes_in(text)) == {SHA}


@pytest.mark.parametrize("text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, f"see {SHA} there"])
def test_other_texts_are_no_references(text: str) -> None:
    assert set(hashes_in(orjson.dumps({"$blob": text, "text": text}))) == set()


# --- a data directory without a gateway ---------------------------------------------------------------------------


@dataclass
class Place:
    root: Path
    store: RunStore
    log: SqliteEventLog
    blobs: FolderBlobs

    @property
    def garbage_collector(self) -> GarbageCollector:
        return self.collector_of()

    def collector_of(self, versions: Texts | None = None) -> GarbageCollector:
        return GarbageCollector(
            self.store,
            self.log,
            self.blobs,
            data=self.root,
            results=self.root / "results",
            grace_s=10,
            secrets=self.secrets,
            versions=versions,
        )

    @property
    def secrets(self) -> SecretStore:
        return SecretStore(self.root / "secrets", b"k" * 40)

    def seal(self, value: str, owner: str = "me") -> Any:
        return self.secrets.put(value, owner).to_json()

    def kept_secrets(self) -> set[str]:
        return set(self.secrets.stored())

    def put(self, value: Any) -> str:
        return self.blobs.put_sync(orjson.dumps(value))

    def age(self, seconds: float = 1000) -> None:
        then = time.time() - seconds
        for path in self.root.rglob("?" * 64):
            os.utime(path, (then, then))

    def date_runs(self, moment_ms: int) -> None:
        """Let all runs have begun then."""
        for file, column in (("gateway.db", "submitted_at"), ("events.db", "created_ms")):
            with contextlib.closing(sqlite3.connect(self.root / file)) as db, db:
                db.execute(f"UPDATE runs SET {column}=?", (moment_ms,))

    def there(self) -> set[str]:
        return {path.name for path in (self.root / "blobs").rglob("?" * 64)}

    async def run(self, id: str, plan: Any, result: Any = None, rerun: Any = None, document: str | None = None) -> None:
        packed = zlib.compress(orjson.dumps(plan))
        plan_hash = self.blobs.put_sync(packed)
        new = NewRun(id, "me", packed, plan_hash=plan_hash, rerun=rerun, document=document, status="running")
        await self.store.add(new)
        if result is not None:
            await self.store.close(id, "complete", 1, result)
            await self.store.mark_sealed(id)


@contextlib.asynccontextmanager
async def place(root: Path) -> AsyncIterator[Place]:
    engine = open_engine(sqlite_url(root / "gateway.db"))
    await ensure_schema(engine)
    log = await SqliteEventLog.open(root / "events.db")
    try:
        yield Place(root, RunStore(engine), log, FolderBlobs(root / "blobs"))
    finally:
        await log.close()
        await engine.dispose()


def ref(sha: str) -> Any:
    return {"$blob": sha, "size": 1, "mime": "application/json", "preview": ""}


async def test_everything_that_keeps_a_value_does(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        words = ("literal", "output", "event", "cache", "table", "seed", "group")
        names = {word: here.put(f"kept by {word}") for word in words}
        document = here.put({"document": {}, "groups": {"g": ref(names["group"])}})
        table = here.put({"node": {"output": {"out": ref(names["table"])}}})
        seeds = here.put({"node": {"below": [{"refs": [ref(here.put({"deep": ref(names["seed"])}))]}]}})
        loose = {here.put("nobody's"), here.put({"$blob": names["output"]})}
        await here.run("one", {"inputs": {"a": {"value": ref(names["literal"])}}}, {"outputs": ref(names["output"])})
        await here.run("two", {}, {"nodes_ref": ref(table)}, {"seeds": [ref(seeds)]}, document)
        await here.log.create_run("two", {})
        line = orjson.dumps({"type": "APPROVAL_REQUIRED", "payload": {"data": ref(names["event"])}})
        await here.log.append([Batch("two", 1, [line])])
        await here.log.seal("two")
        kept = tmp_path / "results" / "me" / "ab" / "key"
        kept.parent.mkdir(parents=True)
        kept.write_bytes(orjson.dumps({"user": "me", "outputs": {"out": ref(names["cache"])}}))
        here.age()
        before = here.there()
        plan = await here.garbage_collector.collect(dry_run=True)
        assert (plan.deleted, here.there()) == (2, before)
        done = await here.garbage_collector.collect()
        assert before - here.there() == loose
        assert (done.deleted, done.deleted_bytes) == (2, plan.deleted_bytes)
        assert (done.kept, done.marked) == (len(before) - 2, len(before) - 2)
        # One by one, what kept them goes.
        await here.log.delete_run("two")
        kept.unlink()
        await here.store.delete("two")
        await here.garbage_collector.collect()
        left = {names["literal"], names["output"]}
        assert left < here.there()
        assert len(here.there()) == 3  # and the plan of run one


async def test_secrets_stay_as_long_as_something_refers_to_them(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        words = ("literal", "output", "event", "seed", "workflow", "channel", "own", "loose")
        secrets = {word: here.seal(f"key of {word}") for word in words}
        ids = {word: found["$secret"] for word, found in secrets.items()}
        seeds = here.put({"node": {"output": {"api_settings": {"api_key": secrets["seed"]}}}})
        await here.run("one", {"inputs": {"a": {"value": secrets["literal"]}}}, {"outputs": {"o": secrets["output"]}})
        await here.run("two", {}, {}, {"seeds": [ref(seeds)]})
        await here.log.create_run("two", {})
        await here.log.append([Batch("two", 1, [orjson.dumps({"payload": {"data": secrets["event"]}})])])
        await here.log.seal("two")
        library = tmp_path / "shared" / "library" / "workflows"
        library.mkdir(parents=True)
        (library / "w.json").write_bytes(orjson.dumps({"nodes": [{"inputs": {"api_key": secrets["workflow"]}}]}))
        (tmp_path / "channels.yaml").write_text(f"channels: [{{apiKey: {{$secret: {ids['channel']}}}}}]")
        own = UserChannel.model_validate({"id": "c", "owner": "u", "baseUrl": "demo", "apiKey": secrets["own"]})
        (tmp_path / "channels.json").write_bytes(UserEntries((own,)).to_bytes())
        here.age()
        await here.garbage_collector.collect(dry_run=True)
        assert here.kept_secrets() == set(ids.values())
        await here.garbage_collector.collect()
        assert here.kept_secrets() == set(ids.values()) - {ids["loose"]}
        await here.log.delete_run("two")
        await here.store.delete("two")
        (library / "w.json").unlink()
        await here.garbage_collector.collect()
        assert here.kept_secrets() == {ids["literal"], ids["output"], ids["channel"], ids["own"]}


async def test_a_secret_stays_as_long_as_a_stored_version_refers_to_it(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        sealed, plain, loose = (here.seal(f"key {number}")["$secret"] for number in range(3))
        documents = [
            {"nodes": [{"inputValues": {"api_key": f"$secret:{sealed}"}}]},
            {"interfaceInputs": {"key": {"config": {"default": {"$secret": plain}}}}},
        ]

        async def versions() -> AsyncIterator[bytes]:
            for document in documents:
                yield orjson.dumps(document)

        here.age()
        await here.collector_of(versions).collect()
        assert here.kept_secrets() == {sealed, plain}
        documents.pop()
        await here.collector_of(versions).collect()
        assert here.kept_secrets() == {sealed}
        assert loose not in here.kept_secrets()


async def test_nothing_is_deleted_when_a_stored_version_cannot_be_read(tmp_path: Path) -> None:
    async def versions() -> AsyncIterator[bytes]:
        yield b"{}"
        raise OSError("the database is gone")

    async with place(tmp_path) as here:
        value, secret = here.put("old"), here.seal("old")["$secret"]
        here.age()
        with pytest.raises(OSError, match="gone"):
            await here.collector_of(versions).collect()
        assert here.there() == {value}
        assert here.kept_secrets() == {secret}


async def test_a_run_that_was_given_a_text_reference_keeps_the_secret(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        secret = here.seal("key")["$secret"]
        stored = here.put({"items": [f"$secret:{secret}"]})
        await here.run("one", {"inputs": {"a": {"value": ref(stored)}}})
        here.age()
        await here.store.close("one", "complete", 1, {})
        await here.store.mark_sealed("one")
        await here.garbage_collector.collect()
        assert here.kept_secrets() == {secret}


async def test_secrets_that_are_young_the_operators_or_unreadable_stay(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        old, again, kept = (here.seal(f"key {number}")["$secret"] for number in range(3))
        of_operator = here.seal("pasted into no file yet", OPERATOR)["$secret"]
        unreadable = SecretStore(tmp_path / "secrets", b"q" * 40).put("of another key", "me").id
        here.age()
        here.seal("key 1")
        assert here.secrets.keep(kept)
        assert not here.secrets.keep("0" * 64)
        await here.garbage_collector.collect()
        assert here.kept_secrets() == {again, kept, of_operator, unreadable}
        assert old not in here.kept_secrets()


YEAR_S = 31_536_000.0


@pytest.mark.parametrize("years", [0.1, 1, 10])
async def test_an_open_run_keeps_what_it_may_hold_however_old_it_is(tmp_path: Path, years: float) -> None:
    async with place(tmp_path) as here:
        begun_ms = int((time.time() - years * YEAR_S) * 1000)
        await here.log.create_run("open", {})
        await here.log.append([Batch("open", 1, [orjson.dumps({"payload": "first"})])])
        await here.run("open", {})
        here.date_runs(begun_ms)
        # Referred to by the history in Temporal alone: an output, and a key that a node sealed for another.
        value, secret = here.put("on its way"), here.seal("on its way")["$secret"]
        here.age(years * YEAR_S - 1)
        await here.log.delete_sealed(max_age_s=7 * 86_400, max_bytes=0)
        await here.garbage_collector.collect()
        assert value in here.there()
        assert here.kept_secrets() == {secret}
        assert len(await here.log.read("open")) == 1
        # Once it has ended nothing keeps them any more.
        await here.store.close("open", "complete", 1, {})
        await here.store.mark_sealed("open")
        await here.log.seal("open")
        await here.garbage_collector.collect()
        assert value not in here.there()
        assert here.kept_secrets() == set()


@pytest.mark.parametrize("back_s", [86_400.0, YEAR_S])
async def test_an_open_run_keeps_what_it_wrote_after_the_clock_was_set_back(tmp_path: Path, back_s: float) -> None:
    async with place(tmp_path) as here:
        await here.log.create_run("open", {})
        await here.run("open", {})
        ahead = int((time.time() + back_s) * 1000)
        here.date_runs(ahead)
        value = here.put("on its way")
        here.age(1_000)
        await here.garbage_collector.collect()
        assert value in here.there()
        # It stays so when the clock has reached the old date of the run.
        (info,) = await here.log.open_runs()
        assert info.created_ms < time.time() * 1000 - 1_000_000


async def test_nothing_that_is_young_goes(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        old, young = here.put("old"), here.put("young")
        here.age()
        assert here.put("young") == young
        assert (await here.garbage_collector.collect()).deleted == 1
        assert here.there() == {young}
        assert old not in here.there()


async def test_what_was_written_since_the_oldest_open_run_began_stays(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        before = here.put("before it")
        here.age()
        await here.run("open", {})
        since = here.put("in flight")
        # An hour later: it runs still.
        garbage_collector = GarbageCollector(
            here.store, here.log, here.blobs, data=tmp_path, results=tmp_path / "r", grace_s=0
        )
        await asyncio.sleep(0.2)
        await garbage_collector.collect()
        assert since in here.there()
        assert before not in here.there()
        await here.store.close("open", "complete", 1, {})
        await here.store.mark_sealed("open")
        await garbage_collector.collect()
        assert since not in here.there()


async def test_run_that_only_the_log_knows_keeps_its_values(tmp_path: Path) -> None:
    """The index of runs was lost or put back: what still runs must not lose its values."""
    async with place(tmp_path) as here:
        await here.log.create_run("lost", {})
        here.put("in flight")
        garbage_collector = GarbageCollector(
            here.store, here.log, here.blobs, data=tmp_path, results=tmp_path / "r", grace_s=0
        )
        await asyncio.sleep(0.2)
        assert (await garbage_collector.collect()).deleted == 0


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_references_inside_large_values_are_seen_wherever_they_stand(tmp_path: Path, size: int) -> None:
    async with place(tmp_path) as here:
        inner = [here.put(f"inner {number}") for number in range(5)]
        gap = "x" * (size // 5)
        outer = here.put([[gap, ref(sha)] for sha in inner])
        # One that is cut in two by the end of a piece.
        cut = here.put("cut")
        text = orjson.dumps(["", ref(cut)])
        edge = here.blobs.put_sync(b'["' + b"y" * (1024 * 1024 - 40) + text[2:])
        await here.run("run", {"a": ref(outer), "b": ref(edge)}, {})
        here.age()
        garbage_collector = here.garbage_collector
        for _ in range(2):  # the second time from memory
            assert (await garbage_collector.collect()).deleted == 0
        await here.store.delete("run")
        await garbage_collector.collect()
        assert here.there() == set()


async def test_collection_that_cannot_read_deletes_nothing(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.put("nobody's")
        await here.run("run", {}, {})
        here.age()
        async with here.store._sessions.begin() as session:
            await session.execute(sql("UPDATE runs SET result = X'00'"))
        with pytest.raises(CannotCollect, match="innkeeper delete run"):
            await here.garbage_collector.collect()
        assert len(here.there()) == 2


async def test_unfinished_files_of_killed_writers_go_after_a_day(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        old, today, other = (tmp_path / "users" / "me" / name for name in (".new-abcd_123", ".new-00000000", "x.txt"))
        old.parent.mkdir(parents=True)
        for path, hours in ((old, 25), (today, 23), (other, 25)):
            path.write_text("part of an upload")
            os.utime(path, (time.time() - hours * 3600,) * 2)
        assert (await here.garbage_collector.collect(dry_run=True)).temporaries == 0
        assert old.exists()
        assert (await here.garbage_collector.collect()).temporaries == 1
        assert sorted(old.parent.iterdir()) == [today, other]


GRAPHS = st.lists(st.tuples(st.sets(st.integers(0, 11), max_size=4), st.booleans()), min_size=1, max_size=8)
INSIDE = st.dictionaries(st.integers(0, 11), st.sets(st.integers(0, 11), max_size=3), max_size=6)


async def shares_exactly(here: Place, runs: list[tuple[set[int], bool]], inside: dict[int, set[int]]) -> None:
    names: list[str] = []
    below: list[set[int]] = []
    for number in range(12):
        held = {lower for lower in inside.get(number, ()) if lower < number}
        names.append(here.put([number, [ref(names[lower]) for lower in held]]))
        below.append(held.union(*(below[lower] for lower in held)))
    needed: set[str] = set()
    for index, (values, is_kept) in enumerate(runs):
        id = f"r{index}"
        await here.run(id, {"run": index}, {"outputs": [ref(names[value]) for value in values]})
        if is_kept:
            needed.add(hashlib.sha256(zlib.compress(orjson.dumps({"run": index}))).hexdigest())
            needed.update(names[value] for top in values for value in (top, *below[top]))
        else:
            await here.store.delete(id)
    here.age()
    await here.garbage_collector.collect()
    assert here.there() == needed
    for index in range(len(runs)):
        await here.store.delete(f"r{index}")


def test_collected_is_exactly_what_no_kept_run_refers_to(tmp_path: Path) -> None:
    """Runs share values, values hold values of lower numbers; some runs are deleted."""
    with asyncio.Runner() as runner:
        opened = place(tmp_path)
        here = runner.run(opened.__aenter__())

        @given(runs=GRAPHS, inside=INSIDE)
        @settings(max_examples=40, deadline=None)
        def check(runs: list[tuple[set[int], bool]], inside: dict[int, set[int]]) -> None:
            runner.run(shares_exactly(here, runs, inside))

        check()
        runner.run(opened.__aexit__(None, None, None))
