"""Which errors send a call to the next channel, and what is told when none answers."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import (
    BudgetReached,
    InnkeeperError,
    NodeInputError,
    NodeMustWait,
    ProviderError,
    RequestRefused,
    ResourceError,
)
from innkeeper.nodes.node import Route
from innkeeper.nodes.services.llm.breaker import Refusal
from innkeeper.nodes.services.llm.failover import (
    AGAIN_S,
    MAX_ASKED,
    MAX_MESSAGE_CHARS,
    MAX_TOLD,
    Tries,
    another_may_answer,
    may_have_been_paid,
    verdicts_on,
)


def provider(code: str, retryable: bool = False, **details: Any) -> ProviderError:
    return ProviderError("it failed", code=code, retryable=retryable, details=details)


def waiting(delay_s: float) -> NodeMustWait:
    return NodeMustWait(f"wait {delay_s}", delay_s=delay_s, details={"host": "h"})


def at(name: str) -> Route:
    return Route(name, "m", f"https://{name}/v1")


def concluded(*events: InnkeeperError | Refusal) -> InnkeeperError:
    tries = Tries()
    for index, event in enumerate(events):
        if isinstance(event, Refusal):
            tries.skip(at(str(index)), event)
        else:
            tries.note(at(str(index)), event)
    return tries.conclusion()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (waiting(1), True),
        (provider("server_error", True), True),
        (provider("overloaded_error", True), True),
        (provider("rate_limit_error", True), True),
        (provider("timeout_error", True), True),
        (provider("connection_error", True), True),
        (provider("authentication_error"), True),
        (provider("billing_error"), True),
        (provider("permission_error"), True),
        (provider("not_found_error"), True),
        (provider("bad_answer"), True),
        (RequestRefused("private"), True),
        (ResourceError("not set", code="secret_not_found"), True),
        (ResourceError("a picture is missing", code="resource_not_found"), False),
        (provider("invalid_request_error"), False),
        (provider("context_length_error"), False),
        (provider("content_filter"), False),
        (NodeInputError("no messages"), False),
        (BudgetReached("enough"), False),
    ],
    ids=lambda value: getattr(value, "code", str(value)),
)
def test_what_is_wrong_with_one_channel_sends_the_call_to_the_next(error: InnkeeperError, expected: bool) -> None:
    assert another_may_answer(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (provider("timeout_error", True), True),
        (provider("timeout_error", True, limit="connect"), False),
        (provider("bad_answer"), True),
        (provider("connection_error", True, kind="reset"), True),
        (provider("connection_error", True), True),
        (provider("connection_error", True, kind="refused"), False),
        (provider("connection_error", True, kind="dns"), False),
        (provider("server_error", True), False),
        (provider("authentication_error"), False),
        (waiting(1), False),
    ],
)
def test_only_what_reached_a_model_can_have_been_paid(error: InnkeeperError, expected: bool) -> None:
    assert may_have_been_paid(error) is expected


def test_after_one_request_that_may_be_paid_for_nothing_one_more_is_asked() -> None:
    tries = Tries()
    tries.note(at("a"), provider("timeout_error", True))
    assert tries.may_go_on
    tries.note(at("b"), provider("server_error", True))
    assert tries.may_go_on
    tries.note(at("c"), provider("timeout_error", True))
    assert not tries.may_go_on


def test_no_call_asks_more_than_a_few_routes() -> None:
    tries = Tries()
    for index in range(MAX_ASKED):
        assert tries.may_go_on
        tries.note(at(str(index)), provider("server_error", True))
    assert not tries.may_go_on


@pytest.mark.parametrize(
    ("error", "channel", "model"),
    [
        (waiting(1), "answered", "answered"),
        (provider("rate_limit_error", True), "answered", "answered"),
        (provider("invalid_request_error"), "answered", "answered"),
        (provider("connection_error", True), "failed", "none"),
        (provider("server_error", True), "answered", "failed"),
        (provider("overloaded_error", True), "answered", "failed"),
        (provider("timeout_error", True), "none", "failed"),
        (provider("timeout_error", True, limit="connect"), "failed", "none"),
        (RequestRefused("private"), "none", "none"),
        (KeyboardInterrupt(), "none", "none"),
    ],
)
def test_only_outages_count_against_an_endpoint(error: BaseException, channel: str, model: str) -> None:
    assert verdicts_on(error) == (channel, model)


def test_the_shortest_wait_is_told_with_all_that_was_tried() -> None:
    found = concluded(waiting(90), waiting(7), provider("authentication_error"))
    assert isinstance(found, NodeMustWait)
    assert (found.delay_s, found.message, found.details["host"]) == (7, "wait 7", "h")
    assert found.details["tried"] == [
        {"channel": "0", "model": "m", "code": "waiting", "message": "wait 90"},
        {"channel": "1", "model": "m", "code": "waiting", "message": "wait 7"},
        {"channel": "2", "model": "m", "code": "authentication_error", "message": "it failed"},
    ]


def test_a_day_of_waiting_gives_way_to_a_channel_that_merely_failed() -> None:
    found = concluded(waiting(86_400), provider("connection_error", True))
    assert isinstance(found, NodeMustWait)
    assert found.delay_s == AGAIN_S
    alone = concluded(waiting(86_400), provider("authentication_error"))
    assert isinstance(alone, NodeMustWait)
    assert alone.delay_s == 86_400


def test_without_a_wait_the_last_that_may_pass_is_told_else_the_last() -> None:
    first, second = provider("server_error", True), provider("connection_error", True)
    assert concluded(first, second, provider("authentication_error")) is second
    last = provider("not_found_error")
    assert concluded(provider("authentication_error"), last) is last


def test_a_short_outage_is_waited_out_and_a_long_one_is_told_as_a_failure() -> None:
    found = concluded(Refusal(12.0, 1, "connection_error"))
    assert isinstance(found, NodeMustWait)
    assert found.delay_s == 12
    assert found.details["reason"] == "circuit_open"
    assert found.message == "the channel '0' keeps failing with 'm' (last: connection_error); it is asked again in 12 s"
    long = concluded(Refusal(60.0, 9, "connection_error"))
    assert isinstance(long, ProviderError)
    assert (long.code, long.retryable, long.retry_after) == ("connection_error", True, 60)


def test_what_is_told_is_bounded() -> None:
    tries = Tries()
    for index in range(100):
        tries.skip(at(str(index)), Refusal(1, 1, "x"))
    tries.note(at("long"), provider("server_error"))
    assert len(tries.told) == MAX_TOLD
    tries = Tries()
    tries.note(at("long"), ProviderError("x" * 10_000))
    assert len(tries.told[0]["message"]) == MAX_MESSAGE_CHARS
