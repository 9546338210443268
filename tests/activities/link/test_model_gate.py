"""The gate of a worker: what it makes of answers, and of a gateway that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from innkeeper.activities.link import model_gate
from innkeeper.activities.link.model_gate import MAX_ENDS, MAX_KEPT, SHORT_WAIT_S, SLOW_S, ModelGate, OwnShare
from innkeeper.nodes.errors import BudgetReached, NodeError, NodeInputError, NodeMustWait
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart

GO: dict[str, Any] = {"go": True, "leaseS": 15, "share": {"perMinute": None, "concurrent": None}, "hasBudget": False}
AWAY = NodeMustWait("the gateway does not answer", delay_s=2)
Answer = dict[str, Any] | BaseException


@dataclass
class ToyDoor:
    """Gives the answers of a script, the last of each path again and again."""

    begin: list[Answer] = field(default_factory=lambda: [GO])
    end: list[Answer] = field(default_factory=lambda: [{}])
    renew: list[Answer] = field(default_factory=lambda: [{"lost": []}])
    hold: Callable[[], Any] | None = None
    told: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        name = path.rpartition("/")[2]
        self.told.append((name, body))
        if self.hold is not None:
            await self.hold()
        answers: list[Answer] = getattr(self, name)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def ends(self) -> list[Mapping[str, Any]]:
        return [end for name, body in self.told if name == "end" for end in body["ends"]]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def gate_at(door: ToyDoor, clock: Clock | None = None, *, patience_s: float = 30) -> AsyncIterator[ModelGate]:
    gate = ModelGate(door, patience_s=patience_s, clock=clock or Clock())
    yield gate
    await gate.aclose()


def start(id: str = "c", *, run: str = "run", model: str = "m") -> CallStart:
    return CallStart(id, CallOrigin(run, "n"), "ch", "host:443", "openai", model, "key", 10, 20)


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


async def test_a_request_is_told_from_its_beginning_to_its_end() -> None:
    door = ToyDoor()
    async with gate_at(door) as gate:
        await gate.begin(start())
        gate.end(CallEnd("c", "ok", usage={"total_tokens": 7}))
        await until(door.ends)
    (begun,) = [body for name, body in door.told if name == "begin"]
    assert (begun["id"], begun["run"], begun["inputTokens"]) == ("c", "run", 10)
    (end,) = door.ends()
    assert (end["id"], end["outcome"], end["usage"], "start" in end) == ("c", "ok", {"total_tokens": 7}, False)


async def test_a_wait_says_which_limit_and_when() -> None:
    door = ToyDoor(
        [{"waitS": 12.5, "reason": "60 requests a minute of channel 'x', place 12 in the line", "limit": "L"}]
    )
    async with gate_at(door) as gate:
        with pytest.raises(NodeMustWait, match="waits for 60 requests a minute of channel 'x', place 12") as caught:
            await gate.begin(start())
    assert (caught.value.delay_s, caught.value.code, caught.value.details["limit"]) == (12.5, "waiting", "L")
    assert door.ends() == []


async def test_a_short_wait_is_waited_for_here() -> None:
    door = ToyDoor([{"waitS": 0.01, "reason": "r", "limit": "L"}, {"waitS": 0.01, "reason": "r", "limit": "L"}, GO])
    async with gate_at(door) as gate:
        await gate.begin(start())
    assert [name for name, _ in door.told] == ["begin"] * 3


async def test_short_waits_without_end_are_not_waited_for_here() -> None:
    clock = Clock()
    door = ToyDoor([{"waitS": 0.001, "reason": "r", "limit": "L"}])

    async def time_passes() -> None:
        clock.now += SHORT_WAIT_S

    door.hold = time_passes
    async with gate_at(door, clock) as gate:
        with pytest.raises(NodeMustWait):
            await gate.begin(start())
    assert len(door.told) <= 6


async def test_a_budget_that_is_reached_is_told_with_its_numbers() -> None:
    budget = {"scope": "run", "limit": {"tokens": 100}, "used": {"tokens": 90}, "needed": {"tokens": 25}}
    async with gate_at(ToyDoor([{"budget": budget}])) as gate:
        with pytest.raises(
            BudgetReached, match=r"run is reached: 90 tokens of 100 tokens used, and the request may take 25 tokens;"
        ) as caught:
            await gate.begin(start())
    assert caught.value.details == budget


async def test_a_call_that_is_cancelled_while_it_asks_is_given_back() -> None:
    door, never = ToyDoor(), asyncio.Event()
    door.hold = never.wait
    async with gate_at(door) as gate:
        asking = asyncio.create_task(gate.begin(start()))
        await until(lambda: door.told)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        door.hold = None
        await until(door.ends)
    assert {(end["id"], end["outcome"]) for end in door.ends()} == {("c", "not_sent")}


async def test_a_call_that_waits_for_a_gateway_which_may_have_let_it_go_is_given_back() -> None:
    door = ToyDoor(begin=[AWAY, GO])
    async with gate_at(door) as gate:
        with pytest.raises(NodeMustWait):
            await gate.begin(start("heard"))
        await gate.begin(start("again"))
        await until(door.ends)
    assert [(end["id"], end["outcome"]) for end in door.ends()] == [("heard", "not_sent")]


async def test_what_is_given_back_pushes_out_no_ends_of_requests_that_were_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_gate, "MAX_KEPT", 20)
    door = ToyDoor(begin=[AWAY], end=[AWAY])
    async with gate_at(door) as gate:
        gate.end(CallEnd("made", "ok"))
        for number in range(21):
            with pytest.raises(NodeMustWait):
                await gate.begin(start(str(number)))
        door.end = [{}]
    assert door.ends()[-1]["id"] != "made"
    assert "made" in {end["id"] for end in door.ends()}


async def test_what_the_gateway_cannot_read_is_an_error_of_the_node() -> None:
    async with gate_at(ToyDoor([NodeInputError("'id' must be a text")])) as gate:
        with pytest.raises(NodeInputError):
            await gate.begin(start())


async def test_while_the_gateway_is_away_a_run_goes_on_at_the_workers_share_and_all_is_told_later() -> None:
    clock = Clock()
    share = {"perMinute": 30, "concurrent": 2}
    door = ToyDoor([{**GO, "share": share}, AWAY], end=[AWAY])
    async with gate_at(door, clock) as gate:
        await gate.begin(start("first"))
        gate.end(CallEnd("first", "ok"))
        with pytest.raises(NodeMustWait, match="limits and budgets"):  # it may be slow only
            await gate.begin(start("second"))
        clock.now += SLOW_S
        await gate.begin(start("second"))  # one in two seconds
        with pytest.raises(NodeMustWait, match="each worker makes its part") as caught:
            await gate.begin(start("third"))
        assert caught.value.delay_s == pytest.approx(2)
        clock.now += 2
        await gate.begin(start("third"))
        clock.now += 10
        with pytest.raises(NodeMustWait):  # two are under way
            await gate.begin(start("fourth"))
        gate.end(CallEnd("second", "failed"))
        gate.end(CallEnd("third", "ok"))
        door.end = [{}]
        door.told.clear()
        await until(lambda: len(door.ends()) >= 4)
    ends = {end["id"]: end for end in door.ends()}
    assert {id: end["outcome"] for id, end in ends.items()} == {
        **{"first": "ok", "second": "failed", "third": "ok", "fourth": "not_sent"},
    }
    assert "start" not in ends["first"]
    assert ends["third"]["start"]["model"] == "m"


async def test_a_gateway_that_answers_others_is_not_away() -> None:
    clock = Clock()
    door = ToyDoor([GO, AWAY, GO, AWAY, AWAY])
    async with gate_at(door, clock) as gate:
        await gate.begin(start("first"))
        for _ in range(2):
            with pytest.raises(NodeMustWait):
                await gate.begin(start("second"))
            clock.now += SLOW_S
            if len(door.begin) > 2:
                await gate.begin(start("third"))
        assert gate._unasked == {}


async def test_a_run_with_a_budget_waits_for_the_gateway_however_long_it_takes() -> None:
    clock = Clock()
    door = ToyDoor([{**GO, "hasBudget": True}, AWAY])
    async with gate_at(door, clock) as gate:
        await gate.begin(start("first"))
        gate.end(CallEnd("first", "ok"))
        for _ in range(3):
            clock.now += 1_000
            with pytest.raises(NodeMustWait, match="limits and budgets"):
                await gate.begin(start("second"))


async def test_a_run_that_is_not_known_waits_as_long_as_everybody_waits_for_a_gateway() -> None:
    clock = Clock()
    door = ToyDoor([AWAY])
    async with gate_at(door, clock) as gate:
        with pytest.raises(NodeMustWait, match="limits and budgets"):
            await gate.begin(start())
        clock.now += 31
        await gate.begin(start())


async def test_a_gateway_that_knows_nothing_of_calls_holds_nobody_up() -> None:
    refusal = NodeError("not found", code="not_found", retryable=False)
    door = ToyDoor([refusal], end=[refusal])
    async with gate_at(door) as gate:
        await gate.begin(start())
        gate.end(CallEnd("c", "ok"))
        await until(door.ends)


async def test_a_gateway_that_hangs_counts_as_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_gate, "REQUEST_S", 0.02)
    door, never = ToyDoor(), asyncio.Event()
    door.hold = never.wait
    async with gate_at(door, patience_s=0) as gate:
        await gate.begin(start())
        door.hold = None


async def test_ends_are_kept_in_bounds_and_what_is_dropped_is_told(caplog: pytest.LogCaptureFixture) -> None:
    door = ToyDoor(end=[AWAY])
    async with gate_at(door) as gate:
        for number in range(MAX_KEPT + 25):
            gate.end(CallEnd(f"c{number}", "ok"))
        door.end = [{}]
    assert [len(body["ends"]) for name, body in door.told if name == "end"] == [MAX_ENDS] * (MAX_KEPT // MAX_ENDS)
    assert door.ends()[0]["id"] == "c25"
    assert "ends of 25 requests to models were not told" in caplog.text


async def test_what_is_under_way_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_gate, "RENEW_S", 0.01)
    door = ToyDoor(renew=[AWAY, {"lost": ["a"]}])
    async with gate_at(door) as gate:
        await gate.begin(start("a"))
        await gate.begin(start("b"))
        gate.end(CallEnd("a", "ok"))
        await until(lambda: sum(name == "renew" for name, _ in door.told) > 2)
    assert {tuple(body["ids"]) for name, body in door.told if name == "renew"} == {("b",)}


async def test_the_end_of_a_stopped_worker_waits_for_no_gateway() -> None:
    door = ToyDoor(end=[AWAY])
    async with asyncio.timeout(2), gate_at(door) as gate:
        await gate.begin(start())
        gate.end(CallEnd("c", "ok"))


def test_what_nobody_has_told_goes_once_a_second() -> None:
    share = OwnShare()
    assert [share.wait_s(0, 10.0), share.wait_s(0, 10.0), share.wait_s(0, 11.0)] == [0, pytest.approx(1), 0]


def test_an_endpoint_without_limits_has_none_while_the_gateway_is_away() -> None:
    share = OwnShare(per_minute=None)
    assert [share.wait_s(number, 10.0) for number in range(5)] == [0] * 5
