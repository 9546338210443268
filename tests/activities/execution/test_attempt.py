"""A node's own time: what it waits for others is not held against it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.activity import info as activity_info
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from innkeeper.activities.execution import attempt as attempts
from innkeeper.activities.execution.attempt import Attempt
from innkeeper.activities.execution.heartbeat import EarlierAttempts, Heartbeat
from innkeeper.nodes.call import BUDGET_REACHED, NODE_PARKED, NodeCall
from innkeeper.nodes.errors import BudgetReached, NodeError, NodeMustWait, NodeTimeout, ProviderError
from innkeeper.nodes.node import ChatRequest, ChatTimes, Chunk
from innkeeper.nodes.testing import memory_services


class NoSecrets:
    def __init__(self) -> None:
        self.revealed: set[str] = set()


async def attempt_with(limit_s: float, work: Any) -> Any:
    """Run `work(attempt)` under a limit of its own time."""

    async def activity() -> Any:
        call = NodeCall(run="r", path="n", type="toy:x", inputs={}, active_timeout_s=limit_s)
        attempt = Attempt(call, Heartbeat(), None, NoSecrets())  # type: ignore[arg-type]
        attempt.time.watch()
        try:
            return await work(attempt)
        except asyncio.CancelledError:
            raise attempt.cancelled() from None
        finally:
            attempt.time.stop()

    return await ActivityEnvironment().run(activity)


async def test_waiting_longer_than_the_limit_is_no_timeout() -> None:
    async def waits(attempt: Attempt) -> str:
        with attempt.time.waiting():
            await asyncio.sleep(1.2)
        return "done"

    assert await attempt_with(0.6, waits) == "done"


async def test_waits_inside_one_another_count_once() -> None:
    async def waits(attempt: Attempt) -> float:
        with attempt.time.waiting(), attempt.time.waiting():
            await asyncio.sleep(1.0)
        await asyncio.sleep(0.05)
        return attempt.time.active_s

    assert 0.04 < await attempt_with(5, waits) < 0.9


async def test_working_longer_than_the_limit_is_a_timeout() -> None:
    async def works(attempt: Attempt) -> None:
        with attempt.time.waiting():
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)

    with pytest.raises(ApplicationError, match=r"worked for more than 0\.2 s") as failed:
        await attempt_with(0.2, works)
    assert failed.value.type == "timeout"


async def end_of(error: Exception, earlier: EarlierAttempts | None = None, **call: Any) -> ApplicationError:
    """How an attempt that raised an error is reported."""

    async def activity() -> ApplicationError:
        made = NodeCall(run="r", path="n", type="toy:x", inputs={}, **call)
        attempt = Attempt(made, Heartbeat(earlier), None, NoSecrets())  # type: ignore[arg-type]
        attempt.is_open = True
        found = attempt.must_wait(error) if isinstance(error, NodeMustWait) else attempt.failed(error)
        found.notice = attempt.notice(found)  # type: ignore[attr-defined]
        return found

    return await ActivityEnvironment().run(activity)  # type: ignore[no-any-return]


def loading(delay_s: float = 20.0) -> NodeMustWait:
    return NodeMustWait("the model is loading", delay_s=delay_s, details={"kind": "loading", "status": 503})


async def test_a_time_out_is_repeated_once_and_other_failures_as_often_as_allowed() -> None:
    for error in (NodeTimeout("late"), ProviderError("late", code="timeout_error", retryable=True)):
        assert not (await end_of(error, EarlierAttempts(failures=2))).non_retryable
        assert (await end_of(error, EarlierAttempts(failures=1, timeouts=1))).non_retryable
        assert not (await end_of(error, EarlierAttempts(failures=1, timeouts=1), max_timeouts=3)).non_retryable
        assert (await end_of(error, max_failures=1, max_timeouts=1)).non_retryable
    assert not (await end_of(NodeError("again"), EarlierAttempts(failures=1, timeouts=1))).non_retryable


async def test_a_server_that_loads_its_model_is_waited_for_ten_minutes_in_all() -> None:
    first = await end_of(loading(), EarlierAttempts(waits=1, waited={"loading": 100.0}))
    assert (first.non_retryable, first.next_retry_delay) == (False, timedelta(seconds=20))
    last = await end_of(loading(), EarlierAttempts(waits=9, waited={"loading": 595.0}))
    assert (last.non_retryable, last.next_retry_delay) == (False, timedelta(seconds=5))
    found = await end_of(loading(), EarlierAttempts(waits=9, waited={"loading": 600.0}))
    assert (found.type, found.non_retryable) == ("overloaded_error", True)
    assert found.message == "the model is loading; that was waited for 10 minutes"
    assert found.details[0]["details"] == {"kind": "loading", "status": 503}


async def test_waits_before_the_node_was_parked_count() -> None:
    assert (await end_of(loading(), counted={"waited": {"loading": 600.0}})).non_retryable


async def test_a_long_wait_ends_the_activity_and_a_short_one_does_not() -> None:
    long = NodeMustWait("full", delay_s=301, details={"limit": "requests of channel x", "reason": "60 a minute"})
    found = await end_of(long, EarlierAttempts(failures=1, deaths=1), may_park=True, base_attempt=4)
    assert (found.type, found.non_retryable, found.message) == (NODE_PARKED, True, "full")
    told = found.details[0]
    assert (told["attempt"], told["details"]["limit"]) == (5, "requests of channel x")
    parked = told["parked"]
    assert parked["counted"] == {"failures": 1, "deaths": 1, "timeouts": 0}
    assert (parked["delayS"], parked["code"], parked["kind"], parked["reason"]) == (
        301,
        "waiting",
        "wait",
        "60 a minute",
    )
    assert found.notice.retryAt == parked["retryAt"]  # type: ignore[attr-defined]
    short = NodeMustWait("full", delay_s=300, details={"limit": "x"})
    assert (await end_of(short, may_park=True)).next_retry_delay == timedelta(seconds=300)
    # Whoever does not know of parking waits in the old way.
    assert (await end_of(long)).next_retry_delay == timedelta(seconds=301)


async def test_a_failure_with_a_long_pause_is_counted_and_parked() -> None:
    error = ProviderError("come tomorrow", code="rate_limit_error", retryable=True, retry_after=86_400)
    found = await end_of(error, EarlierAttempts(failures=1), may_park=True)
    parked = found.details[0]["parked"]
    assert (found.type, parked["counted"]["failures"], parked["kind"]) == (NODE_PARKED, 2, "retry")
    assert 86_400 <= parked["delayS"] <= 86_410
    last = await end_of(error, EarlierAttempts(failures=3), may_park=True)
    assert (last.type, last.non_retryable) == ("rate_limit_error", True)


async def test_a_node_out_of_budget_is_no_failure_where_the_run_can_wait() -> None:
    about = {"scope": "run", "limit": {"tokens": 10}, "used": {"tokens": 9}}
    found = await end_of(BudgetReached("over", details=about), EarlierAttempts(failures=1), may_park=True)
    told = found.details[0]
    assert (found.type, found.non_retryable, told["details"]) == (BUDGET_REACHED, True, about)
    assert told["parked"]["counted"]["failures"] == 1
    elsewhere = await end_of(BudgetReached("over", details=about))
    assert (elsewhere.type, "parked" in elsewhere.details[0]) == (BUDGET_REACHED, False)


async def test_the_notice_says_why_and_what_the_error_said() -> None:
    error = ProviderError("busy", code="overloaded_error", retryable=True, details={"status": 529})
    notice = (await end_of(error, EarlierAttempts(failures=1))).notice  # type: ignore[attr-defined]
    assert (notice.kind, notice.reason) == ("retry", "failure 2 of 4 (overloaded_error)")
    assert notice.details == {"status": 529}
    wait = NodeMustWait("no room", delay_s=2, details={"reason": "60 requests a minute of channel x", "limit": "r"})
    notice = (await end_of(wait)).notice  # type: ignore[attr-defined]
    assert (notice.kind, notice.reason) == ("wait", "60 requests a minute of channel x")
    assert (await end_of(NodeError("no", retryable=False))).notice is None  # type: ignore[attr-defined]


async def test_a_node_that_waits_for_a_stream_begins_anew_before_its_day_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What gives the stream may be parked until somebody answers."""

    async def activity(passed_s: float, *, may_park: bool, waits: bool) -> str:
        began = datetime.now(UTC) - activity_info().scheduled_time
        monkeypatch.setattr(attempts, "RENEW_AFTER_S", began.total_seconds() + passed_s)
        call = NodeCall(run="r", path="n", type="toy:x", inputs={}, stream_inputs={"in": ["p"]}, may_park=may_park)
        attempt = Attempt(call, Heartbeat(), None, NoSecrets())  # type: ignore[arg-type]
        attempt.start()
        try:
            with attempt.time.waiting() if waits else contextlib.nullcontext():
                await asyncio.sleep(0.3)
            return "done"
        except asyncio.CancelledError:
            raise attempt.cancelled() from None
        finally:
            attempt.stop()

    async def run(**options: Any) -> str:
        return str(await ActivityEnvironment().run(functools.partial(activity, 0.1, **options)))

    with pytest.raises(ApplicationError) as renewed:
        await run(may_park=True, waits=True)
    assert (renewed.value.type, renewed.value.non_retryable) == (NODE_PARKED, True)
    assert renewed.value.details[0]["parked"]["delayS"] == 1
    assert await run(may_park=False, waits=True) == "done"
    assert await run(may_park=True, waits=False) == "done"  # it works on what has come


async def test_silence_is_counted_anew_with_each_sign_of_life_of_a_model() -> None:
    class SlowLlm:
        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            await asyncio.sleep(1.3)  # longer than it may be silent later
            for word in "abcd":
                yield Chunk("text_chunk", word)
                await asyncio.sleep(0.3)

    async def activity(pause_s: float) -> list[str]:
        call = NodeCall(run="r", path="n", type="toy:x", inputs={}, active_timeout_s=1.0, counts_silence=True)
        services = memory_services(llm=SlowLlm())  # type: ignore[arg-type]
        attempt = Attempt(call, Heartbeat(), services, NoSecrets())
        attempt.time.watch()
        try:
            request = ChatRequest(times=ChatTimes(first=9.0))
            found = [chunk.content async for chunk in attempt.services.llm.stream(request)]
            await asyncio.sleep(pause_s)
            return found
        except asyncio.CancelledError:
            raise attempt.cancelled() from None
        finally:
            attempt.time.stop()

    assert await ActivityEnvironment().run(activity, 0.0) == list("abcd")
    with pytest.raises(ApplicationError, match=r"gave no sign of life for more than 1 s") as failed:
        await ActivityEnvironment().run(activity, 5.0)
    assert failed.value.type == "timeout"
