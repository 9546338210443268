"""Every request counts once, whatever is told twice, late or never; and no budget is passed by what is reserved."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from innkeeper.gateway.store.usage import Changes, Whose
from innkeeper.nodes.services.llm.call_gate import CallEnd
from innkeeper.workflows.document.budget import NANOS, Budget
from tests.gateway.usage.accounting import Books, books, end, start, usage

HOUR_S = 3600.0


async def test_a_request_is_written_down_before_it_is_made_and_settled_with_what_it_took(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", workflow_id="w", project_id="p")
        assert await its.ledger.reserve(start("a")) is None
        begun = await its.row("a")
        assert (begun.outcome, begun.tokens, begun.workflow, begun.project) == ("open", 100, "w", "p")
        await its.ledger.settle(CallEnd("a", "ok", model="priced-1", usage=usage(20, 30, 8), first_ms=5, whole_ms=70))
        row = await its.row("a")
    assert (row.input_tokens, row.output_tokens, row.cached_tokens) == (20, 30, 8)
    assert (row.cost, row.currency) == (12 * 1000 + 8 * 500 + 30 * 2000, "USD")
    assert (row.outcome, row.answered, row.estimated, row.first_ms, row.whole_ms) == ("ok", "priced-1", False, 5, 70)
    assert row.ended_at == row.started_at  # our clock stood still; the worker's does not count beyond ours


async def test_what_is_told_twice_counts_once(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=150))
        assert [await its.ledger.reserve(start("a")) for _ in range(3)] == [None] * 3
        await asyncio.gather(*(its.ledger.settle(end("a")) for _ in range(3)))
        await its.ledger.settle(end("a", used=(1, 1)))
        await its.ledger.lost(["a", "a"])
        await its.ledger.release("a")
        assert await its.spent("r") == 50
        assert await its.ledger.reserve(start("b")) is None  # 100 are left
        assert await its.ledger.reserve(start("c")) is not None


async def test_what_was_reserved_is_free_again_when_it_is_not_made(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=100))
        await its.ledger.reserve(start("a"))
        assert await its.ledger.reserve(start("b")) is not None
        await its.ledger.release("a")
        assert await its.ledger.reserve(start("b")) is None
        assert await its.store.calls(["a"]) == {}


async def test_a_run_with_a_limit_is_known_as_one(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=100))
        await its.add_run("free")
        assert [await its.ledger.has_budget(start("a", run)) for run in ("r", "free")] == [True, False]


@pytest.mark.parametrize(
    ("ended", "tokens", "estimated"),
    [
        (end("a", "ok", used=None, output_chars=10), 10 + 3, True),
        (end("a", "cut", used=None, output_chars=4, code="connection_error"), 10 + 1, True),
        (end("a", "cut", used=(7, 5)), 12, False),
        (end("a", "failed", used=None, code="rate_limit_error"), 0, False),
        (end("a", "failed", used=None, code="timeout_error"), 10, True),
        (end("a", "failed", used=(9, 0), code="content_filter"), 9, False),
        (end("a", "not_sent", used=(9, 9)), 0, False),
        (end("a", "ok", used=(10**30, 5), output_chars=4), 10 + 1, True),
        (end("a", "ok", used=(-1, 5), output_chars=4), 10 + 1, True),
        (end("a", "ok", used=(True, "5"), output_chars=4), 10 + 1, True),
        (
            CallEnd("a", "ok", usage={"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": [1]}),
            7,
            False,
        ),
    ],
)
async def test_what_an_attempt_took(tmp_path: Path, ended: CallEnd, tokens: int, estimated: bool) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r")
        await its.ledger.reserve(start("a"))
        await its.ledger.settle(ended)
        row = await its.row("a")
    assert (row.tokens, row.estimated) == (tokens, estimated)


async def test_an_unknown_price_is_unknown_and_never_nothing(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(nanos=NANOS))
        await its.ledger.reserve(start("a", model="nobody-knows"))
        await its.ledger.settle(end("a"))
        assert ((row := await its.row("a")).cost, row.currency) == (None, None)
        assert (await its.store.spent(Whose("r"), "USD")).unpriced == 1
        # Nothing was sent: that costs nothing, whatever it would have cost.
        await its.ledger.reserve(start("b", model="nobody-knows"))
        await its.ledger.settle(end("b", "not_sent"))
        assert (await its.row("b")).cost == 0


async def test_a_lost_request_counts_with_what_it_might_take_until_its_end_comes_late(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r")
        await its.ledger.reserve(start("a"))
        await its.ledger.lost(["a", "never-known"])
        row = await its.row("a")
        assert (row.outcome, row.tokens, row.estimated, row.cost) == ("lost", 100, True, 10 * 1000 + 90 * 2000)
        its.clock.now += 5 * HOUR_S
        await its.ledger.settle(end("a", whole_ms=2_000))
        late = await its.row("a")
        assert (late.outcome, late.tokens, await its.spent("r")) == ("ok", 50, 50)
        assert late.ended_at == late.started_at + 2_000  # when it ended, not when we heard of it


async def test_an_end_without_a_start_is_not_lost(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.ledger.settle(end("a", model="m"))
        await its.ledger.settle(end("a", model="m"))
        row = await its.row("a")
    assert (row.run, row.tokens, row.model) == ("", 50, "m")


async def test_a_request_that_was_made_while_the_gateway_was_away_counts_for_its_run(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=40), workflow_id="w")
        await its.ledger.settle(end("a"), start("a"))
        await its.ledger.settle(end("a"), start("a"))
        row = await its.row("a")
        assert (row.run, row.workflow, row.tokens, row.cost) == ("r", "w", 50, 20 * 1000 + 30 * 2000)
        assert await its.ledger.reserve(start("b")) is not None  # it was past the limit, and that counts


async def test_an_estimate_beyond_all_bounds_reserves_no_less(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=10**6))
        assert await its.ledger.reserve(start("a", tokens=(1, 10**30))) is not None


async def test_an_id_that_begins_anew_is_another_request(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=260))
        for _ in range(3):
            assert await its.ledger.reserve(start("a")) is None
            await its.ledger.settle(end("a"))
        assert await its.spent("r") == 150


async def test_after_a_crash_nothing_is_counted_twice_and_nothing_lost(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=350))
        await asyncio.gather(*(its.ledger.reserve(start(id)) for id in ("a", "b", "c")))
        await its.ledger.settle(end("a"))
    async with books(tmp_path) as its:  # nobody said goodbye to the first one
        assert await its.ledger.reserve(start("b")) is None  # the answer was lost, it asks again
        assert await its.ledger.reserve(start("d")) is None  # 50 + 3 * 100
        assert await its.ledger.reserve(start("e")) is not None
        await its.ledger.settle(end("a"))
        await its.ledger.settle(end("b"))
        assert await its.spent("r") == 50 + 50 + 100 + 100


async def test_fifty_at_once_never_reserve_more_than_the_budget(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=1_234))
        answers = await asyncio.gather(*(its.ledger.reserve(start(f"c{number}")) for number in range(50)))
        assert sum(answer is None for answer in answers) == 12
        refusal = next(answer for answer in answers if answer is not None)
        assert (refusal.scope, refusal.limit, refusal.used) == ("run", {"tokens": 1_234}, {"tokens": 1_200})
        # They took twice what was thought: the limit is passed by those that were under way, and no further one goes.
        await asyncio.gather(*(its.ledger.settle(end(f"c{number}", used=(20, 180))) for number in range(12)))
        assert await its.spent("r") == 2_400
        assert await its.ledger.reserve(start("late", tokens=(1, 0))) is not None


async def test_what_requests_under_way_hold_may_come_back_and_what_was_spent_does_not(tmp_path: Path) -> None:
    async with books(tmp_path, day=Budget(tokens=190)) as its:
        await its.add_run("r", Budget(tokens=150))
        await its.ledger.reserve(start("a"))
        refusal = await its.ledger.reserve(start("b"))
        assert refusal is not None
        assert (refusal.scope, refusal.is_reserved) == ("run", True)
        await its.ledger.settle(end("a"))
        assert await its.ledger.reserve(start("b")) is None
        await its.ledger.lost(["b"])  # nobody gives it back
        refusal = await its.ledger.reserve(start("c"))
        assert refusal is not None
        assert (refusal.scope, refusal.is_reserved) == ("run", False)
        # Of two limits the one that stays is told.
        await its.add_run("other", Budget(tokens=150))
        await its.ledger.reserve(start("d", "other", tokens=(10, 10)))
        refusal = await its.ledger.reserve(start("e", "other", tokens=(0, 140)))
        assert refusal is not None
        assert (refusal.scope, refusal.is_reserved) == ("day", False)


async def test_money_counts_by_the_price_of_the_estimate(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(nanos=500_000))  # one request may take 190,000
        answers = [await its.ledger.reserve(start(id)) for id in "abc"]
        assert [answer is None for answer in answers] == [True, True, False]
        assert answers[2] is not None
        assert answers[2].used == {"tokens": 200, "money": 0.00038}
        assert answers[2].needed == {"money": 0.00019}
        assert await its.ledger.reserve(start("free", model="nobody-knows")) is None


async def test_budgets_of_a_user_and_of_a_day_count_over_runs(tmp_path: Path) -> None:
    async with books(tmp_path, user=Budget(tokens=400), day=Budget(tokens=200)) as its:
        await its.add_run("one")
        await its.add_run("two")
        assert [await its.ledger.reserve(start(id, id)) for id in ("one", "two")] == [None, None]
        refusal = await its.ledger.reserve(start("three", "two"))
        assert refusal is not None
        assert refusal.scope == "day"
        its.clock.now += 24 * HOUR_S
        assert [await its.ledger.reserve(start(id, "one")) for id in ("four", "five")] == [None, None]
        its.clock.now += 24 * HOUR_S
        refusal = await its.ledger.reserve(start("six", "unheard-of"))  # of no known run: it counts for its user
        assert refusal is not None
        assert refusal.scope == "user"


async def test_a_raised_limit_counts_from_the_next_request_on_and_survives_a_crash(tmp_path: Path) -> None:
    async with books(tmp_path, day=Budget(tokens=250)) as its:
        await its.add_run("r", Budget(tokens=100))
        await its.ledger.reserve(start("a"))
        await its.budgets.raise_limit("r", "run", {"tokens": 1_000})
        assert await its.ledger.reserve(start("b")) is None
        refusal = await its.ledger.reserve(start("c"))
        assert refusal is not None
        await its.budgets.raise_limit("r", refusal.scope, {"tokens": 300})
    async with books(tmp_path, day=Budget(tokens=250)) as its:
        assert await its.ledger.reserve(start("c")) is None
        assert await its.ledger.reserve(start("d")) is not None


async def test_a_caller_that_is_cancelled_takes_nothing_back(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=150))
        asking = asyncio.create_task(its.ledger.reserve(start("a")))
        await asyncio.sleep(0)
        asking.cancel()
        assert await its.ledger.reserve(start("b")) is not None  # "a" is reserved: whoever asked knows its id
        await its.ledger.release("a")
        assert await its.ledger.reserve(start("b")) is None


async def test_a_database_that_is_away_fails_who_asks_and_spends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=100))
        with monkeypatch.context() as broken:
            broken.setattr(its.store, "write", _away)
            with pytest.raises(OperationalError):
                await its.ledger.reserve(start("a"))
        assert await its.ledger.reserve(start("b")) is None


async def test_what_was_committed_though_its_answer_was_lost_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=200))
        write = its.store.write

        async def lose_the_answer(changes: Changes) -> None:
            await write(changes)
            await _away(changes)

        with monkeypatch.context() as broken:
            broken.setattr(its.store, "write", lose_the_answer)
            with pytest.raises(OperationalError):
                await its.ledger.reserve(start("a"))
            assert await its.ledger.reserve(start("a")) is None  # there is nothing left to write
            with pytest.raises(OperationalError):
                await its.ledger.settle(end("a"))
        await its.ledger.settle(end("a"))
        assert await its.ledger.reserve(start("b")) is None
        assert await its.ledger.reserve(start("c")) is not None
        assert await its.spent("r") == 150


async def test_a_gateway_that_stops_in_the_middle_keeps_nobody_waiting_and_counts_what_it_wrote(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=10_000))
        asking = [asyncio.create_task(its.ledger.reserve(start(f"c{number}"))) for number in range(30)]
        await asyncio.sleep(0.002)
        assert its.ledger._task is not None
        its.ledger._task.cancel()
        async with asyncio.timeout(5):
            answers = await asyncio.gather(*asking, return_exceptions=True)
    async with books(tmp_path) as its:
        written = await its.store.calls([f"c{number}" for number in range(30)])
        assert sum(answer is None for answer in answers) <= len(written)  # who was answered is written down
        assert await its.spent("r") == 100 * len(written)
        assert [await its.ledger.reserve(start(f"c{number}")) for number in range(30)] == [None] * 30
        assert await its.spent("r") == 3_000


async def test_a_write_that_the_database_refuses_spoils_none_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=250))
        write = its.store.write

        async def refuse_one(changes: Changes) -> None:
            if any(call.id == "odd" for call in changes.added):
                raise ValueError("it cannot be written")
            await write(changes)

        monkeypatch.setattr(its.store, "write", refuse_one)
        asking = [its.ledger.reserve(start(id)) for id in ("a", "odd", "b")]
        first, odd, last = await asyncio.gather(*asking, return_exceptions=True)
        assert (first, last) == (None, None)
        assert isinstance(odd, ValueError)
        assert await its.spent("r") == 200


async def _away(changes: Changes) -> None:
    raise OperationalError("INSERT", {}, Exception("disk I/O error"))


async def test_requests_of_whose_end_nobody_tells_are_given_up_in_the_end(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r")
        await its.ledger.reserve(start("old"))
        its.clock.now += 25 * HOUR_S
        await its.ledger.reserve(start("young"))
        looking = asyncio.create_task(its.ledger.keep_tidy())
        async with asyncio.timeout(10):
            while (await its.row("old")).outcome == "open":
                await asyncio.sleep(0.01)
        looking.cancel()
        assert (await its.row("young")).outcome == "open"


async def test_sums_in_memory_are_those_of_the_rows(tmp_path: Path) -> None:
    """Whatever order things are told in, memory and database say the same."""
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=10**6, nanos=NANOS))
        await asyncio.gather(*(_live(its, number) for number in range(60)))
        kept = its.ledger._spent[Whose("r")]
        assert kept == await its.store.spent(Whose("r"), "USD")


async def _live(its: Books, number: int) -> None:
    id, model = f"c{number}", ("priced", "nobody-knows")[number % 2]
    await its.ledger.reserve(start(id, model=model, tokens=(number, 3 * number)))
    steps: list[Any] = [
        its.ledger.lost([id]),
        its.ledger.settle(end(id, used=(number, number))),
        its.ledger.release(id),
    ]
    for step in steps[number % 3 :] + steps[: number % 3]:
        await step


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("host.example:443", "host.example:443"),
        ("[::1]:8080", "[::1]:8080"),
        ("demo", "demo"),
        ("not an address?api_key=CANARY", ""),
        ("user:CANARY@host", ""),
    ],
)
async def test_of_an_address_nothing_is_kept_but_its_host(tmp_path: Path, told: str, kept: str) -> None:
    async with books(tmp_path) as its:
        await its.ledger.reserve(replace(start("a"), host=told))
        assert (await its.row("a")).host == kept


async def test_names_of_strangers_are_kept_in_bounds(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        await its.ledger.reserve(start("a", model="\ud83d" + "m" * 10_000))
        await its.ledger.settle(end("a", model="\udc00x" * 1_000, code="e" * 9_999))
        row = await its.row("a")
    assert len(row.model) == 500
    assert len(row.answered) == 500
    row.model.encode()
