from __future__ import annotations

from datetime import UTC, datetime

import pytest

from innkeeper.nodes.errors import NodeMustWait, ProviderError
from innkeeper.nodes.services.llm.errors import status_error, stream_error

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def wait_s(**headers: str) -> float | None:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    error = status_error("host", 429, named, None, now=NOON)
    return error.delay_s if isinstance(error, NodeMustWait) else None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry_after": "12"}, 12.0),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after_ms": "2500", "retry_after": "9"}, 2.5),
        ({"retry_after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30.0),
        ({"retry_after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 1.0),
        ({"retry_after": "Fri, 02 Jan 2026 12:00:00 GMT"}, 300.0),
        # The server's clock is a year ahead of ours, or behind it: it says so.
        ({"retry_after": "Fri, 01 Jan 2027 12:00:30 GMT", "date": "Fri, 01 Jan 2027 12:00:00 GMT"}, 30.0),
        ({"retry_after": "Wed, 01 Jan 2025 12:00:30 GMT", "date": "Wed, 01 Jan 2025 12:00:00 GMT"}, 30.0),
        ({"retry_after": "Thu, 01 Jan 2026 12:00:30 GMT", "date": "today"}, 30.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_a_date_or_nothing(headers: dict[str, str], expected: float | None) -> None:
    assert wait_s(**headers) == expected


@pytest.mark.parametrize("code", ["sk-abc", "Bearer x", "a b", "A", "x" * 65, 7, None, ["a"]])
def test_only_plain_words_of_a_provider_are_repeated(code: object) -> None:
    error = status_error("host", 400, {}, {"error": {"code": code, "type": code}})
    assert error.details["provider_code"] is None
    assert error.message.startswith("the provider at host answered 400;")


@pytest.mark.parametrize("body", [None, "text", [], {"error": "text"}, {"code": "rate_limit_exceeded"}])
def test_any_body_of_a_stream_error_is_understood(body: object) -> None:
    error = stream_error("host", body)
    assert isinstance(error, ProviderError)
    assert error.retryable


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [(429, "rate_limit_error", True), (401, "authentication_error", False), (503, "server_error", True)],
)
def test_a_status_inside_a_streams_error_counts_as_one(status: int, code: str, retryable: bool) -> None:
    error = stream_error("host", {"error": {"code": status, "message": "secret words"}})
    assert (error.code, error.retryable, error.details["status"]) == (code, retryable, status)
    assert "secret" not in error.message


def test_a_word_of_the_provider_says_more_than_the_status_beside_it() -> None:
    error = stream_error("host", {"error": {"code": 400, "type": "content_filter"}})
    assert (error.code, error.retryable) == ("content_filter", False)
