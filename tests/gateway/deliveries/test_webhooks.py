"""The pure parts of receiving a webhook: what nobody's token costs, what becomes of files."""

from __future__ import annotations

import time

import pytest

from innkeeper.gateway.deliveries.received_files import MAX_DATA_URI_BYTES, describe, mime_of
from innkeeper.gateway.deliveries.webhooks import challenge_of, verify_for_nobody
from innkeeper.gateway.triggers.payload import Payload, RawRequest, ReceivedFile
from innkeeper.gateway.triggers.scheme_config import load_scheme
from innkeeper.gateway.triggers.verification import Refused, verify
from tests.gateway.triggers.senders import NOW, Headers, secrets_of, send

LARGE = b"x" * 4_000_000


def cost_s(work: object) -> float:
    """Least processor time of this thread."""
    taken = []
    for _ in range(5):
        began = time.thread_time()
        assert callable(work)
        work()
        taken.append(time.thread_time() - began)
    return min(taken)


@pytest.mark.parametrize("name", ["standard", "svix", "github", "stripe", "slack", "shopify"])
def test_an_unknown_token_costs_what_a_wrong_signature_costs(name: str) -> None:
    secret, _ = secrets_of(name)
    headers: Headers = send(name, secret, b"another body")
    raw, scheme = RawRequest(headers, LARGE), load_scheme(name, {})
    assert isinstance(verify(scheme, [secret], headers, LARGE, now=NOW), Refused)
    known = cost_s(lambda: verify(scheme, [secret], headers, LARGE, now=NOW))
    unknown = cost_s(lambda: verify_for_nobody(raw, NOW))
    assert 0.5 < unknown / known < 2, (unknown, known)


def test_an_unknown_token_costs_a_signature_even_without_one() -> None:
    scheme, headers = load_scheme("github", {}), send("github", "s", b"another body")
    known = cost_s(lambda: verify(scheme, ["s"], headers, LARGE, now=NOW))
    assert 0.5 < cost_s(lambda: verify_for_nobody(RawRequest([], LARGE), NOW)) / known < 2


def file(data: bytes = b"data", mime: str = "image/png", filename: str | None = None) -> ReceivedFile:
    return ReceivedFile("", filename, mime, data)


def path_of(trigger: str, sent: ReceivedFile) -> str:
    return str(describe(trigger, sent)["path"])


def test_a_files_path_is_made_of_its_content_alone() -> None:
    evil = file(filename="../../../etc/passwd")
    assert path_of("t1", evil) == path_of("t1", file(filename=None))
    assert path_of("t1", evil) != path_of("t1", file(b"other"))
    assert path_of("t1", evil) != path_of("t2", evil)
    assert path_of("t1", evil).startswith("user://webhooks/t1/")
    assert path_of("t1", evil).endswith(".png")


@pytest.mark.parametrize(
    ("mime", "expected"),
    [
        ("image/PNG; q=1", "image/png"),
        ("", "application/octet-stream"),
        ("text/html,<script>", "application/octet-stream"),
        ("a/b/c", "application/octet-stream"),
        ("image/png\r\nx", "application/octet-stream"),
    ],
)
def test_a_media_type_that_is_none_is_not_handed_on(mime: str, expected: str) -> None:
    """It becomes a part of a data URI."""
    assert mime_of(file(mime=mime)) == expected
    assert describe("t", file(mime=mime))["dataUri"].startswith(f"data:{expected};base64,")


def test_only_small_files_come_as_data_uri_too() -> None:
    assert "dataUri" in describe("t", file(b"x" * MAX_DATA_URI_BYTES))
    large = describe("t", file(b"x" * (MAX_DATA_URI_BYTES + 1)))
    assert "dataUri" not in large
    assert large["size"] == MAX_DATA_URI_BYTES + 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "url_verification", "challenge": "c"}, "c"),
        ({"type": "url_verification", "challenge": 1}, None),
        ({"type": "url_verification", "challenge": "c" * 1_001}, None),
        ({"type": "event_callback", "challenge": "c"}, None),
        ([], None),
        (None, None),
    ],
)
def test_only_a_challenge_is_one(body: object, expected: str | None) -> None:
    assert challenge_of(Payload("json", "application/json", body, {}, {})) == expected
