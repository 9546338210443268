"""How long a node waits before it is tried again."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from temporalio.common import RetryPolicy

from innkeeper.activities.execution.retry_rules import LEAST_DELAY_S, MAX_DELAY_S, retry_delay_s, spread_s
from innkeeper.nodes.errors import NodeError, ProviderError

POLICY = RetryPolicy(
    initial_interval=timedelta(seconds=0.2), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=10)
)


@pytest.mark.parametrize(
    ("failures", "policy", "bound"),
    [
        (0, POLICY, 0.2),
        (2, POLICY, 0.8),
        (50, POLICY, 10.0),
        (5_000, POLICY, 10.0),
        (8, RetryPolicy(initial_interval=timedelta(seconds=1)), 100.0),
        (0, None, 1.0),
    ],
)
def test_a_failed_node_waits_anything_up_to_a_bound_that_grows(
    failures: int, policy: RetryPolicy | None, bound: float
) -> None:
    error = NodeError("x")
    assert retry_delay_s(error, policy, failures, 0.0) == LEAST_DELAY_S
    assert retry_delay_s(error, policy, failures, 0.5) == pytest.approx(bound / 2)
    assert retry_delay_s(error, policy, failures, 1.0) == pytest.approx(bound)


def test_a_provider_is_left_alone_for_what_it_asks_and_a_little_more() -> None:
    error = ProviderError("busy", retryable=True, retry_after=8.0)
    assert [retry_delay_s(error, POLICY, 3, draw) for draw in (0.0, 0.5, 1.0)] == [8.0, 9.0, 10.0]


@pytest.mark.parametrize("asked", [math.nan, math.inf, -1, "7", None])
def test_what_is_no_time_span_is_no_wish_of_the_provider(asked: Any) -> None:
    error = ProviderError("busy", retryable=True, retry_after=asked)
    assert retry_delay_s(error, POLICY, 0, 1.0) == pytest.approx(0.2)


@pytest.mark.parametrize(("asked", "most"), [(0.0, 0.0), (1.0, 1.25), (3_600.0, 3_610.0), (1e300, MAX_DELAY_S)])
def test_the_spread_is_a_share_of_what_was_asked_and_bounded(asked: float, most: float) -> None:
    assert spread_s(asked, 1.0) == pytest.approx(most)
    assert spread_s(asked, 0.0) == min(asked, MAX_DELAY_S)
