"""What is told of an attempt that another one follows."""

from __future__ import annotations

from innkeeper.activities.link.retry_notice import RetryNotice

WHEN = "2026-01-01T00:00:00.200Z"


def test_what_there_is_to_tell_travels_and_nothing_else() -> None:
    plain = {"code": "overloaded", "message": "busy", "retryAt": WHEN, "kind": "retry"}
    assert RetryNotice("overloaded", "busy", WHEN, "retry").to_wire() == plain
    told = RetryNotice("overloaded", "busy", WHEN, "retry", "failure 1 of 4", {"status": 503})
    assert told.to_wire() == {**plain, "reason": "failure 1 of 4", "details": {"status": 503}}
    assert RetryNotice("overloaded", "", WHEN, "retry").to_wire()["message"] == ""
