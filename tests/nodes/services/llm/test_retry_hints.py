from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from innkeeper.nodes.services.llm.retry_hints import duration_s, rate_limit_headers, retry_hint

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def hint(body: Any = None, **headers: str) -> float | None:
    return retry_hint({name.replace("_", "-"): value for name, value in headers.items()}, body, NOON)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry_after": "12"}, 12.0),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": "20s"}, 20.0),
        ({"retry_after_ms": "2500", "retry_after": "9"}, 2.5),
        ({"retry_after": "0"}, 1.0),
        ({"retry_after": "86400"}, 86_400.0),
        ({"retry_after": "999999"}, 86_400.0),
        ({"retry_after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30.0),
        ({"retry_after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 1.0),
        ({"retry_after": "Fri, 02 Jan 2026 12:00:00 GMT"}, 86_400.0),
        # The server's clock is a year ahead of ours, or behind it: it says so.
        ({"retry_after": "Fri, 01 Jan 2027 12:00:30 GMT", "date": "Fri, 01 Jan 2027 12:00:00 GMT"}, 30.0),
        ({"retry_after": "Wed, 01 Jan 2025 12:00:30 GMT", "date": "Wed, 01 Jan 2025 12:00:00 GMT"}, 30.0),
        ({"retry_after": "Thu, 01 Jan 2026 12:00:30 GMT", "date": "today"}, 30.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "9" * 400}, None),
        ({"retry_after": "soon", "x_ratelimit_reset_requests": "6m0s"}, 360.0),
        ({"x_ratelimit_reset_requests": "250ms"}, 1.0),
        ({"x_ratelimit_reset_requests": "1m30s", "x_ratelimit_reset_tokens": "20s"}, 20.0),
        (
            {
                "x_ratelimit_reset_requests": "1m30s",
                "x_ratelimit_remaining_requests": "0",
                "x_ratelimit_reset_tokens": "20s",
                "x_ratelimit_remaining_tokens": "12000",
            },
            90.0,
        ),
        ({"x_ratelimit_reset": str(int(NOON.timestamp() * 1000) + 45_000)}, 45.0),
        ({"x_ratelimit_reset": str(int(NOON.timestamp()) + 45)}, 45.0),
        ({"anthropic_ratelimit_requests_reset": "2026-01-01T12:01:00Z"}, 60.0),
        ({"x_ratelimit_limit_requests": "60", "x_ratelimit_remaining_requests": "0"}, None),
        ({}, None),
    ],
)
def test_headers_tell_how_long(headers: dict[str, str], expected: float | None) -> None:
    found = hint(**headers)
    assert found == (None if expected is None else pytest.approx(expected, abs=0.01))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([{"error": {"details": [{"reason": "x"}, {"@type": "RetryInfo", "retryDelay": "37s"}]}}], 37.0),
        ({"error": {"details": [{"retryDelay": "1.5s"}]}}, 1.5),
        ({"error": {"message": "Rate limit reached. Please try again in 20s. Visit us."}}, 20.0),
        ({"error": {"message": "Please try again in 350ms."}}, 1.0),
        ({"error": {"message": "Please retry in 44.2 seconds"}}, 44.2),
        ({"error": {"message": "wait 2 minutes before the next request"}}, 120.0),
        ({"message": "try again in 3s"}, 3.0),
        ({"error": "Model x is currently loading", "estimated_time": 20.5}, 20.5),
        ({"error": {"message": "retry. 5 tokens were used"}}, None),
        ({"error": {"message": "at most 20 s of audio"}}, None),
        ({"error": {"details": {"a": 1}, "retry_after": True}}, None),
        ("try again later", None),
        ([], None),
        (None, None),
    ],
)
def test_bodies_tell_how_long(body: Any, expected: float | None) -> None:
    assert hint(body) == expected


@pytest.mark.parametrize("text", ["", "s", "1", "-1s", "1x", "m", "1s1m", "inf", None, 7, "9" * 400 + "s"])
def test_what_is_no_duration_is_none(text: Any) -> None:
    assert duration_s(text) is None


def test_an_hour_and_a_half_is_5400_seconds() -> None:
    assert (duration_s("1h30m"), duration_s("1d"), duration_s("2m")) == (5400, 86_400, 120)


def test_headers_about_limits_are_kept_and_no_others() -> None:
    headers = {"x-ratelimit-limit-tokens": "5", "retry-after": "3", "set-cookie": "a=b", "ratelimit-policy": "x" * 999}
    kept = rate_limit_headers(headers)
    assert kept.keys() == {"x-ratelimit-limit-tokens", "retry-after", "ratelimit-policy"}
    assert len(kept["ratelimit-policy"]) == 200
