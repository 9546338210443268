"""Real files in real folders start runs, each once; on the real stack."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway import container
from innkeeper.gateway.deliveries import files as file_triggers
from innkeeper.gateway.deliveries import intake, watched_folder
from innkeeper.gateway.deliveries.book import StoredTrigger
from innkeeper.gateway.deliveries.folder_events import FolderEvents
from innkeeper.gateway.deliveries.folder_watch import Pace
from innkeeper.gateway.deliveries.watched_folder import WatchedFolder
from innkeeper.gateway.store.models import SeenFileRow
from innkeeper.gateway.store.seen_files import SeenFileStore
from innkeeper.gateway.triggers.reading import read_trigger
from tests.gateway.asking import until
from tests.gateway.conftest import Stack

Json = dict[str, Any]
STILL_S = 0.1
QUIET_S = 0.6
"""Time for a file that must not be taken, several times what one that is taken needs."""
SAY = "say"
HASTE = Pace(poll_s=0.5, retry_s=0.5)
"""What folders are looked at by here, in seconds."""


@pytest.fixture(scope="module", autouse=True)
def _haste() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "FileTriggers", partial(file_triggers.FileTriggers, pace=HASTE))
        yield


@pytest.fixture(scope="module")
async def up(temporal: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    stack = Stack(temporal, tmp_path_factory.mktemp("files"))
    async with stack.up() as http:
        await add_workflow(http)
        yield stack
    stack.close()


async def add_workflow(http: httpx.AsyncClient) -> None:
    """One that says the path of the file."""
    document = {
        "id": SAY,
        "name": SAY,
        "nodes": [{"id": "in", "type": "core:GroupInput"}, {"id": "say", "type": "toys:Say"}],
        "edges": [{"id": "a", "source": "in", "sourceHandle": "word", "target": "say", "targetHandle": "text"}],
        "interfaceInputs": {"word": {"key": "word", "dataFlowType": "STRING", "required": True}},
    }
    assert (await http.post("/api/workflows", json=document)).status_code == 201


class Inbox:
    """A folder of its own with a trigger that watches it."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack = stack
        self.name = name
        self.path = stack.data / "users" / stack.settings.user / name
        self.logical = f"user://{name}"

    def definition(self, *, file: Json | None = None, **more: Any) -> Json:
        base: Json = {"name": self.name, "kind": "file", "workflow": {"id": SAY}}
        part = {"folder": self.logical, "stillSeconds": STILL_S, **(file or {})}
        return {**base, "mapping": {"word": {"expression": "file.path"}}, "file": part, **more}

    async def watch(self, **options: Any) -> None:
        definition = read_trigger(self.definition(**options))
        await self.stack.container.triggers.create(self.stack.settings.user, definition)

    async def change(self, **options: Any) -> None:
        await self.stack.container.triggers.change(self.trigger, read_trigger(self.definition(**options)))

    @property
    def trigger(self) -> StoredTrigger:
        found = self.stack.container.triggers.by_name(self.stack.settings.user, self.name)
        assert found is not None
        return found

    def put(self, name: str, content: str | bytes = "x") -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    async def results(self) -> list[Json]:
        """The oldest first."""
        found = await self.stack.container.intake.results(self.trigger, 1000)
        return found[::-1]

    async def outcomes(self) -> list[tuple[str, str, str]]:
        """Outcome, name and event of each delivery."""
        files = [(result["outcome"], result["sample"]["file"]) for result in await self.results() if "sample" in result]
        return [(outcome, file["path"].removeprefix(f"{self.logical}/"), file["event"]) for outcome, file in files]

    async def until(self, *expected: tuple[str, str, str]) -> None:
        """Return when these are the outcomes, in any order, and fail when there are others."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                while len(await self.outcomes()) < len(expected):
                    await asyncio.sleep(0.05)
        assert sorted(await self.outcomes()) == sorted(expected), await self.results()

    async def stays(self, *expected: tuple[str, str, str]) -> None:
        await asyncio.sleep(QUIET_S)
        await self.until(*expected)

    async def until_noted(self, words: str) -> None:
        async with asyncio.timeout(20):
            while not any(words in result.get("reason", "") for result in await self.results()):
                await asyncio.sleep(0.05)


@pytest.fixture
def inbox(up: Stack, request: pytest.FixtureRequest) -> Inbox:
    return Inbox(up, f"in-{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}")


async def test_new_file_starts_a_run_with_its_path(inbox: Inbox) -> None:
    await inbox.watch()
    file = inbox.put("a.png", "no picture")
    await inbox.until(("fired", "a.png", "created"))
    (result,) = await inbox.results()
    told = result["sample"]["file"]
    assert datetime.fromisoformat(told.pop("modifiedAt")).timestamp() == pytest.approx(file.stat().st_mtime, abs=0.002)
    assert told == {
        "path": f"{inbox.logical}/a.png",
        "name": "a.png",
        "folder": inbox.logical,
        "size": 10,
        "mime": "image/png",
        "sha256": hashlib.sha256(b"no picture").hexdigest(),
        "event": "created",
    }
    async with inbox.stack.http() as http:
        status = await until(http, result["runId"], "complete", "error")
        assert status["nodeStatus"]["say"]["output"] == {"text": told["path"]}
        assert status["trigger"]["kind"] == "file"
        # It is a path as nodes and clients use it.
        assert (await http.get(f"/api/files/{told['path'].replace('://', '/')}")).content == b"no picture"


async def test_file_fires_once_for_each_content(inbox: Inbox) -> None:
    await inbox.watch()
    file = inbox.put("a", "one")
    await inbox.until(("fired", "a", "created"))
    os.utime(file)
    file.chmod(0o600)
    await inbox.stays(("fired", "a", "created"))
    file.write_text("two")
    await inbox.until(("fired", "a", "created"), ("fired", "a", "changed"))
    file.write_text("one")
    await inbox.until(("fired", "a", "created"), ("fired", "a", "changed"), ("duplicate", "a", "changed"))


async def test_file_that_is_made_again_counts_as_its_trigger_says(inbox: Inbox) -> None:
    await inbox.watch(dedupe="none")
    inbox.put("a", "one")
    await inbox.until(("fired", "a", "created"))
    (inbox.path / "a").unlink()
    await asyncio.sleep(QUIET_S)
    inbox.put("a", "one")
    await inbox.until(("fired", "a", "created"), ("fired", "a", "created"))


@pytest.mark.parametrize(("dedupe", "outcome"), [("id", "fired"), ({"expression": "file.sha256"}, "duplicate")])
async def test_other_name_is_another_file_unless_the_content_is_the_key(
    inbox: Inbox, dedupe: Any, outcome: str
) -> None:
    await inbox.watch(dedupe=dedupe)
    file = inbox.put("a", "same")
    await inbox.until(("fired", "a", "created"))
    file.rename(inbox.path / "b")
    await inbox.until(("fired", "a", "created"), (outcome, "b", "created"))


async def test_file_is_taken_when_its_writer_has_done(inbox: Inbox) -> None:
    await inbox.watch(file={"stillSeconds": 0.6})
    inbox.path.mkdir()
    with open(inbox.path / "a", "wb", buffering=0) as writer:
        for _ in range(15):
            writer.write(b"0123456789")
            await asyncio.sleep(0.1)
            assert await inbox.outcomes() == []
    await inbox.until(("fired", "a", "created"))
    (result,) = await inbox.results()
    assert result["sample"]["file"]["size"] == 150


async def test_file_that_changes_while_it_is_read_is_taken_as_it_is_later(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, file = watched_folder._digest, inbox.path / "a"

    def meanwhile(*args: Any) -> str:
        if file.read_text() == "before":
            file.write_text("after all")
        return digest(*args)

    monkeypatch.setattr(watched_folder, "_digest", meanwhile)
    await inbox.watch()
    inbox.put("a", "before")
    await inbox.stays(("fired", "a", "created"))
    (result,) = await inbox.results()
    assert result["sample"]["file"]["size"] == len("after all")


async def test_only_files_that_come_after_the_trigger_are_taken(inbox: Inbox) -> None:
    old = inbox.put("old")
    inbox.put("deep/old")
    await asyncio.sleep(0.02)  # a tick of the clock of files
    await inbox.watch(file={"glob": "**"})
    inbox.put("new")
    await inbox.stays(("fired", "new", "created"))
    old.write_text("changed by now")
    # It comes from elsewhere, and is older than the trigger.
    elsewhere = inbox.put("../elsewhere-" + inbox.name)
    os.utime(elsewhere, (1, 1))
    elsewhere.rename(inbox.path / "moved")
    await inbox.until(("fired", "new", "created"), ("fired", "old", "changed"), ("fired", "moved", "created"))


@pytest.mark.parametrize(
    ("on", "expected"),
    [("created", [("fired", "a", "created")]), ("changed", [("fired", "a", "changed"), ("fired", "b", "changed")])],
)
async def test_trigger_hears_of_the_changes_that_it_wants(
    inbox: Inbox, on: str, expected: list[tuple[str, str, str]]
) -> None:
    b = inbox.put("b")
    await asyncio.sleep(0.02)
    await inbox.watch(file={"on": [on]})
    a = inbox.put("a", "one")
    await asyncio.sleep(QUIET_S)
    os.utime(a)
    await asyncio.sleep(QUIET_S)
    a.write_text("two")
    b.write_text("three")
    await inbox.stays(*expected)


async def test_pattern_and_hidden_names_decide_what_is_taken(inbox: Inbox) -> None:
    await inbox.watch(file={"glob": "**/*.txt"})
    for name in ("a.txt", "x/y/b.txt", "c.png", ".d.txt", "e.txt.part", ".x/f.txt"):
        inbox.put(name)
    await inbox.stays(("fired", "a.txt", "created"), ("fired", "x/y/b.txt", "created"))
    # Files of a folder that came later are seen at once, too.
    inbox.put("x/z/g.txt")
    await inbox.until(
        ("fired", "a.txt", "created"), ("fired", "x/y/b.txt", "created"), ("fired", "x/z/g.txt", "created")
    )


async def test_file_that_arrives_under_a_temporary_name_is_taken_under_its_own(inbox: Inbox) -> None:
    await inbox.watch()
    part = inbox.put("film.part", "whole")
    await asyncio.sleep(QUIET_S)
    part.rename(inbox.path / "film")
    await inbox.until(("fired", "film", "created"))


async def test_symbolic_links_start_nothing(inbox: Inbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    await inbox.watch(file={"glob": "**"})
    inbox.path.mkdir()
    (inbox.path / "file").symlink_to(secret)
    (inbox.path / "folder").symlink_to(tmp_path)
    await inbox.until_noted("file' is not taken: it is a symbolic link")
    await inbox.stays()


async def test_folder_that_leads_out_is_not_watched(inbox: Inbox, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    inbox.path.symlink_to(tmp_path / "out")
    await inbox.watch()
    await inbox.until_noted("a symbolic link leads out of its folder")
    (tmp_path / "out" / "a").write_text("x")
    await inbox.stays()
    assert len(await inbox.results()) == 1  # it is told once
    inbox.path.unlink()
    inbox.put("b")
    await inbox.until(("fired", "b", "created"))


async def test_many_files_at_once_are_one_run_each(inbox: Inbox) -> None:
    await inbox.watch()
    for number in range(50):
        inbox.put(f"{number}", f"content {number}")
    await inbox.until(*(("fired", f"{number}", "created") for number in range(50)))
    await inbox.stays(*(("fired", f"{number}", "created") for number in range(50)))
    runs = [result["runId"] for result in await inbox.results()]
    assert len(set(runs)) == 50
    async with inbox.stack.http() as http:
        ended = [await until(http, run, "complete", "error") for run in runs]
    assert Counter(status["status"] for status in ended) == {"complete": 50}


@pytest.mark.slow
async def test_folder_may_come_go_and_come_again(inbox: Inbox) -> None:
    await inbox.watch()
    await asyncio.sleep(QUIET_S)
    inbox.put("a", "one")
    await inbox.until(("fired", "a", "created"))
    inbox.path.rename(inbox.path.with_name(f"away-{inbox.name}"))
    await asyncio.sleep(STILL_S * 4)
    inbox.put("b")
    await inbox.until(("fired", "a", "created"), ("fired", "b", "created"))
    # A disk that is unmounted and comes back is no news.
    (inbox.path / "b").unlink()
    inbox.path.rmdir()
    inbox.path.with_name(f"away-{inbox.name}").rename(inbox.path)
    await asyncio.sleep(2)
    inbox.put("c")
    await inbox.until(("fired", "a", "created"), ("fired", "b", "created"), ("fired", "c", "created"))


@pytest.mark.parametrize("year", [1, 9_000], ids=["long ago", "to come"])
async def test_time_that_a_file_claims_does_not_matter(inbox: Inbox, year: int) -> None:
    await inbox.watch()
    inbox.path.mkdir()
    moment = (year - 1970) * 31_556_952
    file = inbox.put(".a")
    os.utime(file, (moment, moment))
    file.rename(inbox.path / "a")
    await inbox.until(("fired", "a", "created"))


async def test_clock_that_is_set_does_not_matter(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    await inbox.watch(file={"stillSeconds": 1})
    inbox.put("a")
    await asyncio.sleep(0.2)
    wall_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() - 86_400 * 10**9)
    await inbox.until(("fired", "a", "created"))


async def test_too_many_files_are_told_and_start_nothing(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_folder, "MAX_FILES", 3)
    await inbox.watch()
    files = [inbox.put(f"{number}") for number in range(4)]
    await inbox.until_noted("holds more than 3 files that fit '*'; nothing is taken until there are fewer")
    assert await inbox.outcomes() == []
    files[0].unlink()
    await inbox.until(*(("fired", f"{number}", "created") for number in (1, 2, 3)))


async def test_file_that_no_run_came_of_is_offered_again_when_it_is_touched(inbox: Inbox) -> None:
    await inbox.watch(filter="file.size > `1`")
    file = inbox.put("a", "x")
    await inbox.until(("filtered", "a", "created"))
    await inbox.change(filter="file.size > `0`")
    await inbox.stays(("filtered", "a", "created"))
    os.utime(file)
    await inbox.until(("filtered", "a", "created"), ("fired", "a", "changed"))


async def test_rate_delays_files_and_loses_none(inbox: Inbox) -> None:
    await inbox.watch(rate={"limit": 1, "perSeconds": 1})
    for name in ("a", "b", "c"):
        inbox.put(name)
    async with asyncio.timeout(20):
        while Counter(outcome for outcome, *_ in await inbox.outcomes())["fired"] < 3:
            await asyncio.sleep(0.05)
    fired = [name for outcome, name, _ in await inbox.outcomes() if outcome == "fired"]
    assert sorted(fired) == ["a", "b", "c"]


async def test_what_comes_while_a_trigger_is_disabled_is_not_taken(inbox: Inbox) -> None:
    await inbox.watch()
    inbox.put("a")
    await inbox.until(("fired", "a", "created"))
    await inbox.change(enabled=False)
    inbox.put("b")
    inbox.put("a", "changed meanwhile")
    await inbox.stays(("fired", "a", "created"))
    await inbox.change()
    inbox.put("c")
    await inbox.stays(("fired", "a", "created"), ("fired", "c", "created"))


async def test_trigger_that_looks_elsewhere_begins_there_anew(inbox: Inbox) -> None:
    inbox.put("there/old")
    await inbox.watch()
    inbox.put("a")
    await inbox.until(("fired", "a", "created"))
    await inbox.change(file={"folder": f"{inbox.logical}/there"})
    inbox.put("b")
    inbox.put("there/new")
    await inbox.stays(("fired", "a", "created"), ("fired", "there/new", "created"))
    await inbox.change(file={"folder": f"{inbox.logical}/there", "stillSeconds": 0.2}, labels={"x": "y"})
    inbox.put("there/newer")
    await inbox.until(("fired", "a", "created"), ("fired", "there/new", "created"), ("fired", "there/newer", "created"))


async def test_trigger_that_is_gone_leaves_nothing(inbox: Inbox) -> None:
    await inbox.watch()
    inbox.put("a")
    await inbox.until(("fired", "a", "created"))
    trigger = inbox.trigger
    assert rows_of(trigger, inbox.stack) == [1, 1]
    await inbox.stack.container.triggers.delete(trigger)
    async with asyncio.timeout(10):
        while rows_of(trigger, inbox.stack) != [0, 0]:
            await asyncio.sleep(0.02)


def rows_of(trigger: StoredTrigger, stack: Stack) -> list[int]:
    """How many watches and files the store knows of a trigger."""
    with contextlib.closing(sqlite3.connect(stack.settings.store_path)) as db:
        queries = (f"SELECT COUNT(*) FROM {table} WHERE trigger = ?" for table in ("file_watches", "seen_files"))
        return [db.execute(query, (trigger.number,)).fetchone()[0] for query in queries]


async def test_fault_of_ours_is_logged_and_the_watch_goes_on(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scan, faults = WatchedFolder.scan, ["one"]

    def failing(folder: WatchedFolder) -> Any:
        if folder._folder == inbox.logical and faults:
            faults.pop()
            raise RuntimeError("no luck")
        return scan(folder)

    monkeypatch.setattr(WatchedFolder, "scan", failing)
    await inbox.watch()
    inbox.put("a")
    await inbox.until(("fired", "a", "created"))
    assert "a watched folder cannot be looked at" in caplog.text


async def test_file_that_cannot_be_read_is_told_and_taken_when_it_can(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = watched_folder._digest

    def refused(stream: BinaryIO, stop: threading.Event) -> str:
        found = digest(stream, stop)
        if found == hashlib.sha256(b"secret").hexdigest():
            raise PermissionError(13, "Permission denied")
        return found

    await inbox.watch()
    with monkeypatch.context() as patch:
        patch.setattr(watched_folder, "_digest", refused)
        shut = inbox.put("shut", "secret")
        await inbox.until_noted("shut' cannot be read: Permission denied")
        inbox.put("open")
        await inbox.stays(("fired", "open", "created"))
    assert [result["outcome"] for result in await inbox.results()] == ["refused", "fired"]  # it is told once
    shut.chmod(0o644)
    await inbox.until(("fired", "open", "created"), ("fired", "shut", "created"))


async def test_files_wait_while_no_delivery_is_taken(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    await inbox.watch()
    with monkeypatch.context() as patch:
        patch.setattr(intake, "MAX_PENDING", 0)
        inbox.put("a")
        await inbox.stays()
    await inbox.until(("fired", "a", "created"))


async def test_without_events_folders_are_looked_at_often(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FolderEvents, "watch", lambda *args: False)
    await inbox.watch()
    inbox.put("a")
    await inbox.until(("fired", "a", "created"))
    await asyncio.sleep(QUIET_S)
    inbox.put("b")
    await inbox.until(("fired", "a", "created"), ("fired", "b", "created"))


# --- gateways that stop and start -----------------------------------------------------------------------------------


async def test_what_came_while_the_gateway_was_away_is_taken_up(stack: Stack) -> None:
    inbox = Inbox(stack, "inbox")
    async with stack.gateway(), stack.http() as http:
        await add_workflow(http)
        inbox.put("old")
        await asyncio.sleep(0.02)
        await inbox.watch()
        for name in ("same", "touched", "edited", "gone"):
            inbox.put(name)
        seen = [("fired", name, "created") for name in ("same", "touched", "edited", "gone")]
        await inbox.until(*seen)
    os.utime(inbox.path / "touched")
    inbox.put("edited", "by now")
    inbox.put("new")
    (inbox.path / "gone").unlink()
    async with stack.gateway():
        await inbox.stays(*seen, ("fired", "edited", "changed"), ("fired", "new", "created"))
        inbox.put("gone", "another one")
        after = (("fired", "edited", "changed"), ("fired", "new", "created"), ("fired", "gone", "created"))
        await inbox.until(*seen, *after)


@pytest.mark.parametrize("dedupe", ["id", "none"])
async def test_gateway_that_dies_between_run_and_note_starts_no_second_run(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, dedupe: str
) -> None:
    """A store that takes no notes stands for a gateway that is killed just before."""
    inbox = Inbox(stack, "inbox")

    async def never(self: SeenFileStore, rows: Sequence[SeenFileRow]) -> None:
        if rows:
            raise RuntimeError("killed")

    async with stack.gateway(), stack.http() as http:
        await add_workflow(http)
        await inbox.watch(dedupe=dedupe)
        await asyncio.sleep(0.3)
        with monkeypatch.context() as patch:
            patch.setattr(SeenFileStore, "put", never)
            inbox.put("a")
            await inbox.until(("fired", "a", "created"))
    async with stack.gateway():
        await inbox.stays(("fired", "a", "created"), ("duplicate", "a", "created"))
        runs = {result["runId"] for result in await inbox.results()}
        assert len(runs) == 1


async def test_gateway_that_dies_before_its_first_look_takes_what_came_after_the_trigger(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(stack, "inbox")

    async def idle(self: Any) -> None:
        await asyncio.Event().wait()

    async with stack.gateway(), stack.http() as http:
        await add_workflow(http)
    with monkeypatch.context() as patch:
        patch.setattr(file_triggers.FileTriggers, "keep_watching", idle)
        async with stack.gateway():
            inbox.put("old")
            await asyncio.sleep(0.02)
            await inbox.watch()
            await asyncio.sleep(0.02)
            inbox.put("new")
    async with stack.gateway():
        await inbox.stays(("fired", "new", "created"))


async def test_what_comes_while_a_disabled_trigger_restarts_is_not_taken(stack: Stack) -> None:
    inbox = Inbox(stack, "inbox")
    async with stack.gateway(), stack.http() as http:
        await add_workflow(http)
        await inbox.watch()
        await asyncio.sleep(0.3)
        await inbox.change(enabled=False)
        inbox.put("a")
    async with stack.gateway():
        inbox.put("b")
        await asyncio.sleep(0.02)
        await inbox.change()
        inbox.put("c")
        await inbox.stays(("fired", "c", "created"))
