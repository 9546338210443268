"""Limits and accounts in one step: all is spent, or nothing; and what is kept over a restart."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.usage.accounts import BudgetRefusal
from innkeeper.gateway.usage.calls import CallAdmission, EndedCall, Go, Share, share_of
from innkeeper.gateway.usage.leases import LEASE_S
from innkeeper.gateway.usage.limit_state import Clocks, LimitState, elapsed_s
from innkeeper.gateway.usage.limiter import Limiter, Wait
from innkeeper.gateway.usage.limits import Limit
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart
from innkeeper.workflows.document.budget import Budget
from tests.gateway.usage.accounting import Books, books, end, start

SIX_AT_ONCE = Limit("requests channel c", "requests", "channel 'c'", 60)
ONE_AT_ONCE = Limit("concurrent channel c", "concurrent", "channel 'c'", 1)


@dataclass
class Machine:
    """The clocks of a machine."""

    boot: str = "first"
    steady: float = 500.0
    wall: float = 1_900_000_000.0

    def clocks(self) -> Clocks:
        return Clocks(self.boot, self.steady, self.wall)


@dataclass
class Desk:
    """An admission over a real ledger and a real file."""

    its: Books
    calls: CallAdmission
    machine: Machine
    limits: list[Limit] = field(default_factory=list)


@contextlib.asynccontextmanager
async def desk(folder: Path, *limits: Limit, machine: Machine | None = None) -> AsyncIterator[Desk]:
    machine = machine or Machine()
    async with books(folder) as its:
        found = Desk(its, None, machine, list(limits))  # type: ignore[arg-type]

        async def limits_of(begun: CallStart) -> Sequence[Limit]:
            return found.limits

        state = LimitState(folder / "limits.db", machine.clocks)
        found.calls = CallAdmission(Limiter(lambda: machine.steady), limits_of, its.ledger, state, workers=lambda: 2)
        await found.calls.load()
        yield found
        await found.calls.close()


async def test_a_call_that_waits_for_a_limit_reserves_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path, SIX_AT_ONCE) as at:
        await at.its.add_run("r")
        answers = [await at.calls.begin(start(f"c{number}")) for number in range(7)]
        assert [isinstance(answer, Go) for answer in answers] == [True] * 6 + [False]
        assert isinstance(answers[6], Wait)
        assert await at.its.spent("r") == 600


async def test_a_call_that_a_budget_refuses_spends_nothing_of_a_limit(tmp_path: Path) -> None:
    async with desk(tmp_path, SIX_AT_ONCE, ONE_AT_ONCE) as at:
        await at.its.add_run("poor", Budget(tokens=50))
        await at.its.add_run("r")
        for number in range(20):
            refusal = await at.calls.begin(start(f"p{number}", "poor"))
            assert isinstance(refusal, BudgetRefusal)
            assert (refusal.scope, refusal.limit) == ("run", {"tokens": 50})
        assert isinstance(await at.calls.begin(start("c")), Go)
        assert isinstance(await at.calls.begin(start("d")), Wait)


async def test_a_ledger_that_cannot_write_spends_nothing_of_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, ONE_AT_ONCE) as at:

        async def full(changes: object) -> None:
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(at.its.store, "write", full)
            with pytest.raises(OSError, match="disk full"):
                await at.calls.begin(start("c"))
        assert isinstance(await at.calls.begin(start("d")), Go)


async def test_the_same_call_asked_for_twice_at_once_goes_once(tmp_path: Path) -> None:
    async with desk(tmp_path, SIX_AT_ONCE) as at:
        await at.its.add_run("r")
        answers = await asyncio.gather(*(at.calls.begin(start("c")) for _ in range(20)))
        assert {type(answer) for answer in answers} == {Go}
        assert await at.its.spent("r") == 100


async def test_ends_free_their_places_and_settle(tmp_path: Path) -> None:
    async with desk(tmp_path, ONE_AT_ONCE) as at:
        await at.its.add_run("r")
        await at.calls.begin(start("c"))
        for _ in range(2):
            await at.calls.end([EndedCall(end("c", used=(20, 30)))])
        assert await at.its.spent("r") == 50
        assert isinstance(await at.calls.begin(start("d")), Go)
        await at.calls.end([EndedCall(end("d", "not_sent", used=None)), EndedCall(end("stranger", "not_sent"))])
        assert await at.its.spent("r") == 50


async def test_a_call_that_was_made_without_asking_is_written_down(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.its.add_run("r")
        for _ in range(2):
            await at.calls.end([EndedCall(end("late", used=(20, 30)), start("late"))])
        row = await at.its.row("late")
        assert (row.run, row.node, row.outcome, row.tokens) == ("r", "n", "ok", 50)


async def test_calls_of_a_dead_worker_are_given_up(tmp_path: Path) -> None:
    async with desk(tmp_path, ONE_AT_ONCE) as at:
        await at.its.add_run("r")
        await at.calls.begin(start("c"))
        at.machine.steady += LEASE_S - 1
        await at.calls.sweep()
        assert isinstance(await at.calls.begin(start("d")), Wait)
        at.machine.steady += 1
        await at.calls.sweep()
        assert (await at.its.row("c")).outcome == "lost"
        assert isinstance(await at.calls.begin(start("d")), Go)
        assert at.calls.counts.lost == 1


async def test_the_text_of_an_attempt_that_died_is_that_of_its_last_request(tmp_path: Path) -> None:
    async with desk(tmp_path, ONE_AT_ONCE) as at:
        await at.its.add_run("r")
        await at.calls.begin(start("refused"))
        await at.calls.end([EndedCall(end("refused", "failed", used=None, code="invalid_request_error"))])
        await at.calls.begin(start("asked-again"))
        lost = CallEnd("refused", "cut", "cancelled", output_chars=40, lost_of=CallOrigin("r", "n", 1))
        await at.calls.end([EndedCall(lost)])
        assert (await at.its.row("refused")).outcome == "failed"
        row = await at.its.row("asked-again")
        assert (row.outcome, row.output_tokens, row.estimated) == ("cut", 10, True)
        assert isinstance(await at.calls.begin(start("next")), Go), "its place is free"


async def test_what_is_told_of_an_attempt_without_open_requests_changes_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.its.add_run("r")
        await at.calls.begin(start("c"))
        for attempt, run in ((2, "r"), (1, "other")):
            lost = CallEnd("x", "cut", "cancelled", output_chars=40, lost_of=CallOrigin(run, "n", attempt))
            await at.calls.end([EndedCall(lost)])
        assert (await at.its.row("c")).outcome == "open"
        assert await at.its.store.calls(["x"]) == {}


async def test_a_call_that_a_killed_gateway_had_just_let_go_is_given_up_unless_it_is_renewed(tmp_path: Path) -> None:
    """Its limits have not been kept yet, its reservation has."""
    async with desk(tmp_path) as at:
        await at.its.add_run("r")
        for id in ("dead", "alive"):
            assert isinstance(await at.calls.begin(start(id)), Go)
    (tmp_path / "limits.db").unlink()
    async with desk(tmp_path) as at:
        at.machine.steady += LEASE_S - 1
        assert at.calls.renew(["alive", "stranger"]) == ["stranger"]
        at.machine.steady += 1
        await at.calls.sweep()
        assert [(await at.its.row(id)).outcome for id in ("dead", "alive")] == ["lost", "open"]


async def test_calls_that_could_not_be_given_up_are_given_up_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path) as at:
        await at.its.add_run("r")
        await at.calls.begin(start("c"))

        async def full(changes: object) -> None:
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(at.its.store, "write", full)
            at.machine.steady += LEASE_S
            await at.calls.sweep()
        assert (await at.its.row("c")).outcome == "open"
        await at.calls.sweep()
        assert (await at.its.row("c")).outcome == "lost"


@pytest.mark.parametrize(
    ("boot", "steady", "wall", "free"),
    [
        ("first", 500.0, 1_900_000_000.0, 0),  # at once
        ("first", 503.0, 1_900_000_000.0, 3),
        ("first", 503.0, 1_800_000_000.0, 3),  # the clock was set back: nobody asks it
        ("first", 503.0, 2_000_000_000.0, 3),  # or forward
        ("second", 2.0, 1_900_000_003.0, 3),
        ("second", 2.0, 1_800_000_000.0, 0),  # spent stays spent
        ("second", 2.0, 2_000_000_000.0, 6),  # one burst
    ],
)
async def test_what_was_spent_is_known_after_a_restart_whatever_the_clocks_do(
    tmp_path: Path, boot: str, steady: float, wall: float, free: int
) -> None:
    async with desk(tmp_path, SIX_AT_ONCE) as at:
        for number in range(6):
            await at.calls.begin(start(f"c{number}"))
    async with desk(tmp_path, SIX_AT_ONCE, machine=Machine(boot, steady, wall)) as at:
        answers = [await at.calls.begin(start(f"d{number}")) for number in range(7)]
        assert sum(isinstance(answer, Go) for answer in answers) == free


@pytest.mark.parametrize(
    "part",
    [{"learned": [["h", "k", "m"]]}, {"buckets": [1]}, {"buckets": {"a": None}}, {"calls": [[{}, [], False]]}],
)
async def test_what_another_version_has_kept_of_limits_stops_no_gateway(tmp_path: Path, part: dict[str, Any]) -> None:
    machine = Machine()
    state = LimitState(tmp_path / "limits.db", machine.clocks)
    state.load()
    state.save({"buckets": {}, "learned": [], "calls": [], **part})
    state.close()
    async with desk(tmp_path, SIX_AT_ONCE) as at:
        await at.its.add_run("r")
        assert isinstance(await at.calls.begin(start("c")), Go)
        await at.calls.sweep()
    async with desk(tmp_path, SIX_AT_ONCE, machine=machine) as at:
        answers = [await at.calls.begin(start(f"d{number}")) for number in range(6)]
        assert sum(isinstance(answer, Go) for answer in answers) == 5, "what this version kept counts"


async def test_a_killed_gateway_forgets_a_second_at_most(tmp_path: Path) -> None:
    async with desk(tmp_path, SIX_AT_ONCE) as at:
        for number in range(4):
            await at.calls.begin(start(f"c{number}"))
        await at.calls.sweep()
        kept = (tmp_path / "limits.db").read_bytes(), (tmp_path / "limits.db-wal").read_bytes()
        await at.calls.begin(start("c4"))
    other = tmp_path / "killed"
    other.mkdir()
    for name, data in zip(("limits.db", "limits.db-wal"), kept, strict=True):
        (other / name).write_bytes(data)
    async with desk(other, SIX_AT_ONCE) as at:
        answers = [await at.calls.begin(start(f"d{number}")) for number in range(3)]
        assert [isinstance(answer, Go) for answer in answers] == [True, True, False]


@pytest.mark.parametrize("damage", [b"no database", b"SQLite format 3\0" + b"x" * 5_000])
async def test_a_damaged_file_is_put_aside_and_limits_begin_anew(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "limits.db").write_bytes(damage)
    async with desk(tmp_path, SIX_AT_ONCE) as at:
        assert isinstance(await at.calls.begin(start("c")), Go)
    assert [found.read_bytes() for found in tmp_path.glob("limits.db.damaged-*")] == [damage]


@pytest.mark.parametrize("body", [b"{}", b"no JSON", b'{"boot":1,"steady":"x","wall":0,"state":{}}'])
async def test_a_row_that_nobody_can_read_is_no_obstacle(tmp_path: Path, body: bytes) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "limits.db", isolation_level=None)) as db:
        db.execute("CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL)")
        db.execute("INSERT INTO state VALUES (1, ?)", [body])
    async with desk(tmp_path, SIX_AT_ONCE) as at:
        assert isinstance(await at.calls.begin(start("c")), Go)


@pytest.mark.parametrize(
    "state",
    [
        '{"buckets": {"requests channel c": "soon"}}',
        '{"buckets": [1]}',
        '{"buckets": {"requests channel c": 1e300}, "learned": [[1, 2]]}',
        '{"buckets": {"requests channel c": 1e300}, "calls": [[{"start": {}, "began": 0}, [], false]]}',
        '{"calls": [[{"start": {"id": "x"}, "began": null}, ["concurrent channel c"], false]]}',
    ],
)
async def test_a_state_that_nobody_understands_keeps_no_gateway_from_starting(tmp_path: Path, state: str) -> None:
    async with desk(tmp_path, SIX_AT_ONCE):
        pass
    keep_state(tmp_path, state)
    async with desk(tmp_path, SIX_AT_ONCE) as at:
        assert isinstance(await at.calls.begin(start("c")), Go)


async def test_a_kept_limit_is_spent_for_two_minutes_at_most(tmp_path: Path) -> None:
    async with desk(tmp_path, SIX_AT_ONCE):
        pass
    keep_state(tmp_path, '{"buckets": {"requests channel c": 1e300}, "learned": [], "calls": []}')
    async with desk(tmp_path, SIX_AT_ONCE) as at:
        assert isinstance(await at.calls.begin(start("c")), Wait)
        at.machine.steady += 120
        assert isinstance(await at.calls.begin(start("c")), Go)


def keep_state(folder: Path, state: str) -> None:
    body = f'{{"boot": "first", "steady": 500, "wall": 1900000000, "state": {state}}}'
    with contextlib.closing(sqlite3.connect(folder / "limits.db", isolation_level=None)) as db:
        db.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", [body.encode()])


async def test_an_answer_says_what_its_worker_may_do_alone(tmp_path: Path) -> None:
    async with desk(tmp_path, SIX_AT_ONCE, ONE_AT_ONCE) as at:
        await at.its.add_run("r")
        await at.its.add_run("rich", Budget(tokens=5_000))
        assert await at.calls.begin(start("c")) == Go(Share(30.0, 1), has_budget=False)
        await at.calls.end([EndedCall(end("c"))])
        assert await at.calls.begin(start("d", "rich")) == Go(Share(30.0, 1), has_budget=True)


def test_a_share_without_limits_has_none() -> None:
    assert share_of([], None, 4) == Share()
    assert share_of([], 60, 0) == Share(60, None)
    tokens = Limit("tokens", "tokens", "x", 10)
    assert share_of([SIX_AT_ONCE, tokens, ONE_AT_ONCE], 20, 4) == Share(5, 1)


def test_time_does_not_go_back() -> None:
    assert elapsed_s(Clocks("a", 10, 100), Clocks("a", 4, 90)) == 0
