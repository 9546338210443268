"""Limits that nobody wrote down, learned from providers of several kinds: few requests are refused, none starves."""

from __future__ import annotations

import pytest

from innkeeper.gateway.usage.learned import FORGET_S, MAX_ENDPOINTS, Learner, told_limit
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart
from tests.gateway.usage.simulation import BucketServer, FixedServer, Server, SlidingServer, World

MINUTE = {"x-ratelimit-limit-requests": "60"}


@pytest.mark.parametrize("answers_s", [(0.1, 0.5), (2.0, 10.0)], ids=["fast", "slow"])
@pytest.mark.parametrize("headers", [{}, MINUTE], ids=["nothing", "limit"])
@pytest.mark.parametrize("tells_wait", [True, False], ids=["retry-after", "no-retry-after"])
@pytest.mark.parametrize(
    ("server", "ideal_s"),
    [
        (BucketServer(60, 60), 40),
        (BucketServer(60, 6), 94),
        (SlidingServer(60), 60),
    ],
    ids=["bucket", "small-bucket", "sliding"],
)
def test_a_hundred_nodes_against_sixty_a_minute(
    server: Server, ideal_s: float, tells_wait: bool, headers: dict[str, str], answers_s: tuple[float, float]
) -> None:
    server = type(server)(
        **{name: getattr(server, name) for name in ("per_minute", "capacity") if hasattr(server, name)}
    )
    world = World(server=server, tells_wait=tells_wait, headers=headers, answers_s=answers_s)
    world.add("run", 100)
    world.play()
    assert len(world.went) == 100
    assert len(world.sent) <= 120
    assert max(world.starts()) - 1_000 <= 1.3 * ideal_s


@pytest.mark.parametrize("tells_wait", [True, False])
def test_a_window_that_opens_at_full_minutes(tells_wait: bool) -> None:
    world = World(server=FixedServer(60), tells_wait=tells_wait)
    world.add("run", 100)
    world.play()
    assert len(world.sent) <= 120
    assert max(world.starts()) - 1_000 <= (22 if tells_wait else 37)  # the minute is full at 1,020


def test_a_provider_that_enforces_by_the_second() -> None:
    world = World(server=BucketServer(60, 1))
    world.add("run", 100)
    world.play()
    assert len(world.sent) <= 130
    assert max(world.starts()) - 1_000 <= 1.35 * 99


def test_a_provider_that_tells_more_than_it_takes_is_not_believed_for_long() -> None:
    world = World(server=BucketServer(20, 20), headers=MINUTE)
    world.add("run", 60)
    world.play()
    assert len(world.went) == 60
    assert len(world.sent) <= 100
    assert max(world.starts()) - 1_000 <= 1.3 * 120


def test_two_runs_share_what_was_learned() -> None:
    world = World(server=BucketServer(60, 60))
    world.add("big", 200)
    world.add("small", 5, at=20)
    world.play(60)
    small = [at - 1_020 for place, at in world.went.items() if place[0] == "small"]
    assert len(small) == 5
    assert max(small) < 15


@pytest.mark.parametrize("answers_s", [(0.02, 0.05), (5.0, 20.0)], ids=["fast", "slow"])
def test_a_provider_without_a_limit_is_held_back_for_seconds_at_most(answers_s: tuple[float, float]) -> None:
    world = World(answers_s=answers_s)
    world.add("run", 300, per_s=10_000)
    world.play()
    assert max(world.starts()) - 1_000 <= (8 if answers_s[1] < 1 else 20)
    again = World(answers_s=answers_s)
    again.limiter = world.limiter
    again.now = world.now + 60
    world.limiter._clock = lambda: again.now
    again.add("next", 300, per_s=10_000)
    again.play()
    assert max(again.starts()) - world.now <= 61


def test_all_at_once_before_the_first_answer_is_not_all_refused() -> None:
    """A hundred nodes ask at once, and even a refusal takes a second: without care 140 requests would be made."""
    world = World(server=BucketServer(60, 60), answers_s=(1.0, 2.0), refused_s=1.0)
    world.add("run", 100, per_s=10_000)
    world.play()
    assert len(world.sent) <= 130


def start(id: str, model: str = "m") -> CallStart:
    return CallStart(id, CallOrigin("run", id), "", "host:443", "openai", model, "key")


def test_only_the_endpoint_that_refused_is_held_back() -> None:
    learner = Learner()
    for model in ("m", "other"):
        learner.begin(start("c", model), 0)
    learner.end(start("c"), 0, CallEnd("c", "failed", "rate_limit_error", retry_after_s=30), 1)
    assert {model for _, _, model in learner.limits} == {"m"}
    (limit,) = learner.limits.values()
    assert limit.not_before(1) == 31


@pytest.mark.parametrize("code", ["overloaded_error", "waiting", "server_error", "connection_error", "cancelled"])
def test_other_failures_teach_nothing(code: str) -> None:
    learner = Learner()
    learner.begin(start("c"), 0)
    learner.end(start("c"), 0, CallEnd("c", "failed", code, retry_after_s=30), 1)
    assert learner.limits == {}


def test_what_was_not_needed_for_long_is_forgotten() -> None:
    learner = Learner()
    learner.begin(start("c"), 0)
    learner.end(start("c"), 0, CallEnd("c", "failed", "rate_limit_error"), 1)
    assert learner.forget_old(FORGET_S) == []
    assert len(learner.forget_old(FORGET_S + 2)) == 1


def test_a_graph_that_makes_up_models_fills_no_memory() -> None:
    learner = Learner()
    for number in range(MAX_ENDPOINTS + 50):
        begun = start("c", f"m{number}")
        learner.begin(begun, number)
        learner.end(begun, number, CallEnd("c", "failed", "rate_limit_error"), number + 0.1)
    assert len(learner.limits) == MAX_ENDPOINTS
    assert len(learner._ramps) == MAX_ENDPOINTS


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("60", 60),
        (" 500, 500;w=60", 500),
        ("0", None),
        ("-3", None),
        ("1e9", None),
        ("\u0663", None),
        ("9" * 400, None),
        ("", None),
    ],
)
def test_limits_that_providers_tell(text: str, limit: float | None) -> None:
    assert told_limit({"x-ratelimit-limit-requests": text}) == limit


@pytest.mark.parametrize("after", [0.0, 1e12, -5.0])
def test_a_hostile_retry_after_holds_back_for_an_hour_at_most(after: float) -> None:
    learner = Learner()
    learner.begin(start("c"), 0)
    learner.end(start("c"), 0, CallEnd("c", "failed", "rate_limit_error", retry_after_s=after), 1)
    (limit,) = learner.limits.values()
    assert 1 <= limit.not_before(1) <= 3_601
