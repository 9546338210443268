"""Reports: what is grouped and filtered, and that days which are summed up say the same as their requests."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.errors import BadRequest
from innkeeper.gateway.store.usage import Call, Changes
from innkeeper.gateway.store.usage_sums import DAY_MS, GROUPS, Filter
from innkeeper.gateway.usage.report import UsageReports, filter_of, moment_of, shown_sums, with_usage
from innkeeper.workflows.document.budget import NANOS, Budget
from tests.gateway.usage.accounting import NOON_S, Books, books, end, start

TODAY = int(NOON_S * 1000) // DAY_MS
HOUR_MS = 3_600_000


def reports(its: Books) -> UsageReports:
    return UsageReports(its.store, its.prices)


async def page(its: Books, group: Any, which: Filter | None = None, *, offset: int = 0, limit: int = 100) -> Any:
    return await reports(its).page(which or Filter(), group, offset=offset, limit=limit)


def some_calls(count: int) -> list[Call]:
    """Requests of the last six days, of all kinds."""
    chance = random.Random(7)
    found = []
    for number in range(count):
        at = (TODAY - 5) * DAY_MS + chance.randrange(6 * DAY_MS)
        call = Call(f"c{number}", f"r{number % 7}", f"n{number % 3}", 1, "me", at // DAY_MS, at, ended_at=at + 5)
        call = replace(
            call,
            workflow=chance.choice(["w", None]),
            channel=chance.choice(["", "main"]),
            model=chance.choice(["m", "k"]),
            outcome=chance.choice(["ok", "ok", "failed", "cut", "lost", "open", "not_sent"]),
            estimated=chance.random() < 0.3,
            input_tokens=chance.randrange(100),
            output_tokens=chance.randrange(50),
            cost=chance.choice([None, 0, 5 * NANOS]),
        )
        found.append(replace(call, currency=chance.choice(["USD", "EUR"]) if call.cost else None))
    return found


FILTERS = [
    Filter(),
    Filter(from_ms=(TODAY - 4) * DAY_MS, to_ms=(TODAY - 1) * DAY_MS),
    Filter(from_ms=(TODAY - 4) * DAY_MS + 5 * HOUR_MS, to_ms=(TODAY - 1) * DAY_MS + 7 * HOUR_MS),
    Filter(from_ms=(TODAY - 3) * DAY_MS + HOUR_MS, to_ms=(TODAY - 3) * DAY_MS + 9 * HOUR_MS),
    Filter(from_ms=(TODAY - 1) * DAY_MS + HOUR_MS),
    Filter(model="m", channel="main", workflow="w"),
    Filter(run="r3"),
    Filter(node="n1", to_ms=TODAY * DAY_MS),
]


async def test_days_that_are_summed_up_say_what_their_requests_say(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.store.write(Changes(added=tuple(some_calls(400))))
        asked = [(group, which) for group in ("day", "run", "node") for which in FILTERS]
        asked += [(group, Filter()) for group in GROUPS]
        before = [await page(its, group, which) for group, which in asked]
        assert await its.store.sum_up_days(TODAY) == 5
        assert await its.store.sum_up_days(TODAY) == 0
        assert [await page(its, group, which) for group, which in asked] == before
    total = before[0]["total"]
    assert total["calls"] > 250
    assert total["otherCosts"]["EUR"] > 0


async def test_what_changes_on_a_day_that_is_summed_up_counts(tmp_path: Path) -> None:
    """An end that comes days late, a request that begins after the clock was set back, and one that is not made."""
    async with books(tmp_path) as its:
        for id in ("late", "gone"):
            await its.ledger.reserve(start(id))
        its.clock.now += 86_400 * 2
        await its.store.sum_up_days(TODAY + 2)
        assert (await page(its, "day"))["total"]["openCalls"] == 2
        await its.ledger.settle(end("late"))
        await its.ledger.release("gone")
        its.clock.now -= 86_400
        await its.ledger.reserve(start("back"))
        await its.ledger.settle(end("back", used=(1, 1)))
        found = await page(its, "day")
        assert [(row["calls"], row["openCalls"], row["totalTokens"]) for row in found["groups"]] == [
            (1, 0, 2),
            (1, 0, 50),
        ]


async def test_old_requests_are_forgotten_day_by_day(tmp_path: Path) -> None:
    async with books(tmp_path, user=Budget(tokens=200)) as its:
        await its.ledger.reserve(start("old"))
        its.clock.now += 86_400 * 3
        await its.store.sum_up_days(TODAY + 3)
        await its.ledger.reserve(start("young"))
        assert await its.ledger.reserve(start("more")) is not None
        assert await its.ledger.delete_older(86_400 * 2) == 1
        assert (await page(its, "day"))["total"]["openCalls"] == 1
        assert await its.ledger.reserve(start("more")) is None  # the sum of the user follows


async def test_groups_come_by_cost_and_in_pages(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        for number, model in enumerate(["a", "b", "c", "priced", "d"]):
            await its.ledger.reserve(start(f"c{number}", model=model))
            await its.ledger.settle(end(f"c{number}", used=(number, 1)))
        first = await page(its, "model", limit=2)
        second = await page(its, "model", offset=first["nextCursor"], limit=3)
        assert [row["key"] for row in first["groups"] + second["groups"]] == ["priced", "d", "c", "b", "a"]
        assert second["nextCursor"] is None
        assert first["total"] == second["total"]
        assert (first["total"]["calls"], first["total"]["unknownCost"]) == (5, 4)
        assert first["groups"][1]["cost"] is None


async def test_the_status_of_a_run_has_what_it_took_while_it_runs(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("silent")
        assert await reports(its).of_run("silent") is None
        await its.add_run("r", Budget(nanos=NANOS))
        await its.ledger.reserve(start("a"))
        found = await reports(its).of_run("r")
        assert found is not None
        assert (found.usage["calls"], found.usage["openCalls"], found.usage["totalTokens"]) == (1, 1, 0)
        assert found.usage["budget"] == {"scope": "run", "money": 1.0}
        assert found.usage["budgetBlind"] is False
        await its.ledger.settle(end("a"))
        await its.ledger.reserve(start("b", model="nobody-knows"))
        found = await reports(its).of_run("r")
    assert found is not None
    assert (found.usage["totalTokens"], found.usage["cost"], found.usage["budgetBlind"]) == (50, 0.00008, True)
    shown = with_usage({"nodeStatus": {"n": {"status": "running"}, "o": {}}}, found)
    assert shown["nodeStatus"]["n"]["usage"]["calls"] == 2
    assert shown["nodeStatus"]["o"] == {}


def test_a_sum_of_unknown_prices_is_unknown() -> None:
    row = dict.fromkeys(("calls", "open", "failed", "estimated", "input_tokens", "output_tokens", "tokens"), 0)
    row |= {"cached_tokens": 0, "reasoning_tokens": 0, "nanos": 0, "unknown": 1}
    assert shown_sums(row, "USD")["cost"] is None
    assert shown_sums({**row, "nanos": 5}, "USD")["cost"] == 5e-9
    assert shown_sums({**row, "unknown": 0}, "USD")["cost"] == 0


@pytest.mark.parametrize(
    ("text", "is_end", "ms"),
    [
        ("1970-01-02", False, DAY_MS),
        ("1970-01-02", True, 2 * DAY_MS),
        ("1970-01-02T00:00:01Z", True, DAY_MS + 1000),
        ("1970-01-02T02:00:00+02:00", False, DAY_MS),
        ("1970-01-02T00:00", False, DAY_MS),
    ],
)
def test_a_time_is_a_day_or_a_moment_in_utc(text: str, is_end: bool, ms: int) -> None:
    assert moment_of(text, "from", is_end=is_end) == ms


@pytest.mark.parametrize("text", ["", "yesterday", "2030-13-01", "99999-01-01", "1", "\ud83d"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="'to' must be a day"):
        filter_of(None, text)


@pytest.mark.slow
async def test_two_hundred_thousand_requests_are_reported_at_once(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        calls = [replace(call, id=f"{turn}-{call.id}") for turn in range(250) for call in some_calls(800)]
        for first in range(0, len(calls), 10_000):
            await its.store.write(Changes(added=tuple(calls[first : first + 10_000])))
        await its.store.sum_up_days(TODAY + 1)
        began = time.perf_counter()
        for group in ("day", "model", "run", "workflow", "channel", "user"):
            assert (await page(its, group))["total"]["calls"] > 100_000
        assert time.perf_counter() - began < 3
