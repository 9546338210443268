"""What the webhook rows count: a wrong count would hide what was lost."""

from __future__ import annotations

from innkeeper.gateway.triggers.scheme_config import load_scheme
from innkeeper.gateway.triggers.verification import Verified, verify
from tests.benchmarks.webhooks import SECRET, Load, _count, request


def test_requests_of_the_load_are_signed_and_each_has_its_id() -> None:
    for delivery in ("a", "b"):
        head, _, body = request("/hooks/x", delivery).partition(b"\r\n\r\n")
        headers = [(name.lower(), value) for name, value in (line.split(b": ") for line in head.split(b"\r\n")[1:])]
        found = verify(load_scheme("github", {}), [SECRET], headers, body, now=0)
        assert isinstance(found, Verified)
        assert found.delivery_id == delivery


def test_answers_are_counted_by_status_and_promised_runs_kept() -> None:
    load = Load()
    _count(load, 202, {}, b'{"runId": "r1"}')
    _count(load, 429, {"retry-after": "1"}, b"{}")
    _count(load, 429, {}, b"{}")
    _count(load, 500, {}, b"")
    assert (dict(load.statuses), load.runs, load.without_retry_after) == ({202: 1, 429: 2, 500: 1}, ["r1"], 1)
