"""What of a node's error reaches Temporal: code, whether to try again, when, and never a secret."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from temporalio.exceptions import ApplicationErrorCategory

from innkeeper.activities.execution.errors import MAX_REDACTED_CHARS, clean_warnings, failure, redact
from innkeeper.activities.execution.retry_rules import MAX_DELAY_S
from innkeeper.activities.sanitize import MAX_DETAILS_BYTES, MAX_MESSAGE_CHARS
from innkeeper.nodes.errors import InvalidNode, NodeError, NodeInputError, NodeTimeout, ProviderError, ResourceError
from innkeeper.nodes.node import MAX_WARNING_CHARS, NodeContext
from innkeeper.nodes.testing import memory_services


def reported(error: Exception, **options: Any) -> Any:
    return failure(error, **{"attempt": 1, "last": False, **options})


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (NodeError("again"), "node_failed", True),
        (NodeError("never", retryable=False), "node_failed", False),
        (NodeError("own code", code="my_code"), "my_code", True),
        (NodeInputError("bad"), "invalid_input", False),
        (InvalidNode("bad"), "invalid_output", False),
        (NodeTimeout("slow"), "timeout", True),
        (ProviderError("down", code="overloaded", retryable=True), "overloaded", True),
        (ProviderError("no"), "server_error", False),
        (ResourceError("gone"), "resource_error", False),
        (ValueError("an answer that is no JSON"), "node_failed", True),
        (KeyError("bug"), "node_failed", True),
        (OSError("network"), "node_failed", True),
        (RuntimeError("any other"), "node_failed", True),
    ],
    ids=lambda item: repr(item) if isinstance(item, Exception) else None,
)
def test_code_and_whether_trying_again_helps(error: Exception, code: str, retryable: bool) -> None:
    found = reported(error, attempt=3)
    assert found.type == code
    assert found.non_retryable is not retryable
    assert found.details[0] == {"attempt": 3, "retryable": retryable}


def test_the_last_allowed_failure_is_final_but_says_that_trying_again_may_help() -> None:
    found = reported(NodeError("again"), last=True)
    assert found.non_retryable
    assert found.details[0]["retryable"] is True


@pytest.mark.parametrize("named", ["my_code", "NodeTimeout", "NodeError", "Exception"])
def test_codes_and_classes_with_those_derived_from_them_can_be_declared_final(named: str) -> None:
    assert reported(NodeTimeout("x", code="my_code"), non_retryable=[named]).non_retryable
    assert not reported(NodeTimeout("x", code="my_code"), non_retryable=["ProviderError"]).non_retryable


def test_the_delay_goes_to_the_server_with_a_failure_that_is_tried_again() -> None:
    assert reported(NodeError("busy"), delay_s=7.5).next_retry_delay == timedelta(seconds=7.5)
    assert reported(NodeError("busy"), delay_s=7.5, last=True).next_retry_delay is None


def test_foreign_errors_are_named_by_their_class() -> None:
    assert reported(OSError("no route")).message == "OSError: no route"


def test_expected_ends_are_not_logged_by_the_sdk() -> None:
    assert reported(NodeError("x")).category is ApplicationErrorCategory.BENIGN


def test_messages_are_bounded() -> None:
    assert len(reported(NodeError("x" * 100_000)).message) == MAX_MESSAGE_CHARS


def test_a_secret_at_the_cut_is_not_half_told() -> None:
    secret = "canary-" + "s" * 60
    text = reported(NodeError("x" * (MAX_MESSAGE_CHARS - 20) + secret), secrets={secret}).message
    assert "canary" not in text


def test_a_secret_at_the_end_of_what_is_looked_through_is_not_half_told() -> None:
    """The text before the cut shrinks as its secrets go, so that the cut itself comes within what is told."""
    secret = "canary-" + "s" * 60
    text = reported(NodeError(secret * (MAX_REDACTED_CHARS // len(secret) + 2)), secrets={secret}).message
    assert set(text) == {"*"}


class Odd:
    """A value that cannot even be written out."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class OddError(Exception):
    __str__ = Odd.__str__


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE


@pytest.mark.parametrize(
    "error",
    [
        NodeError("half \ud83d", details={"x\ud83d": ["\ud83d"]}),
        NodeError("large", details={"y": "z" * 1_800_000}),
        NodeError("many", details={"y": list(range(100_000))}),
        NodeError("deep", details={"y": nested(100_000)}),
        NodeError("cycle", details=CYCLE),
        NodeError("numbers", details={"nan": float("nan"), "inf": float("inf"), "big": 10**30, "huge": 10**5000}),
        NodeError("odd details", details={"at": Odd(), Odd(): 1}),  # type: ignore[dict-item]
        NodeError(Odd(), code=5),  # type: ignore[arg-type]
        NodeError(None, code="c" * 1_000_000),  # type: ignore[arg-type]
        NodeError("flag", retryable=Odd()),  # type: ignore[arg-type]
        OddError(),
        OSError("\udcff in a path"),
        *(ProviderError("x", retryable=True, retry_after=after) for after in (float("nan"), -1, 1e300, "7")),  # type: ignore[arg-type]
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_any_kind_and_size_is_reported_as_clean_bounded_data(error: Exception) -> None:
    found = reported(error)
    written = orjson.dumps([found.message, found.details, found.type])
    assert len(found.message) <= MAX_MESSAGE_CHARS
    assert len(written) <= MAX_DETAILS_BYTES + 4 * MAX_MESSAGE_CHARS
    delay = found.next_retry_delay
    assert delay is None or 0 <= delay.total_seconds() <= MAX_DELAY_S


def test_halves_of_surrogate_pairs_become_replacement_characters() -> None:
    found = reported(NodeError("bad \ud83d", details={"x": "\ud83d"}))
    assert found.message == "bad \ufffd"
    assert found.details[0]["details"] == {"x": "\ufffd"}


def test_details_that_are_too_large_leave_a_note() -> None:
    found = reported(NodeError("bad", details={"y": "z" * 1_800_000}))
    assert f"more than {MAX_DETAILS_BYTES} bytes" in found.details[0]["details"]["note"]


def test_details_travel_cleaned() -> None:
    error = ProviderError("no", details={"status": 401, "body": "bad key canary-1234", "list": ["canary-1234"]})
    details = reported(error, secrets={"canary-1234"}).details[0]["details"]
    assert details == {"status": 401, "body": "bad key ***", "list": ["***"]}


def test_details_that_are_not_data_are_written_out() -> None:
    details = reported(NodeError("x", details={"at": object}))
    assert isinstance(details.details[0]["details"]["at"], str)


@pytest.mark.parametrize("secret", ['quo"ted-secret', "back\\slash-secret", "new\nline-secret", "tab\tsecret-1"])
def test_secrets_with_characters_that_json_escapes_are_taken_out_of_details(secret: str) -> None:
    found = reported(NodeError("x", details={"body": f"key {secret}!"}), secrets={secret})
    assert found.details[0]["details"] == {"body": "key ***!"}


@pytest.mark.parametrize("secret", ["12345678", "true", "status"])
def test_a_secret_that_looks_like_json_does_not_break_the_report(secret: str) -> None:
    found = reported(NodeError("no luck", details={"status": 12345678, "ok": True}), secrets={secret})
    assert found.message == "no luck"
    assert found.type == "node_failed"


def test_a_failure_has_no_history_of_its_own() -> None:
    """A cause or traceback could hold the content that the message leaves out."""
    try:
        raise ValueError("canary-1234")
    except ValueError as cause:
        error = NodeError("failed")
        error.__cause__ = cause
    assert reported(error).__cause__ is None


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcdefgh12345678.",
        "key sk_live_1234567890abcdef is wrong",
        "Authorization: Bearer abcdefgh.ijkl-mnop",
        "authorization: bearer ABCDEFGHIJKL",
        "token ghp_abcdefghijklmnop0123 refused",
        "slack xoxb-123456789012-abcdef",
    ],
)
def test_what_looks_like_a_key_is_taken_out(text: str) -> None:
    cleaned = redact(text)
    assert "***" in cleaned
    for part in ("abcdefgh", "1234567890", "ABCDEFGH"):
        assert part not in cleaned


@pytest.mark.parametrize(
    "text", ["a plain sentence", "edge 'e7': node 'join' has no input 'part'", "risk-free and desk-top", ""]
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


def test_the_longer_of_two_overlapping_secrets_goes_whole() -> None:
    secrets = ["canary", "canary-and-more"]
    for order in (secrets, secrets[::-1]):
        assert "more" not in redact("it is canary-and-more", order)


def test_empty_secrets_change_nothing() -> None:
    assert redact("text", [""]) == "text"


def test_short_secret_goes_where_it_stands_by_itself_and_words_stay() -> None:
    assert redact("the key 'e' is refused; see e=e.", ["e"]) == "the key '***' is refused; see ***=***."
    assert redact("the server refused ab1x and Xab1", ["ab1"]) == "the server refused ab1x and Xab1"
    assert redact("prefixcanary", ["canary"]) == "prefix***"


@pytest.mark.parametrize("secret", ['canary "quoted" key/1', "canary-plain-1"])
def test_a_secret_in_json_or_in_a_url_is_taken_out_of_errors(secret: str) -> None:
    texts = [secret, json.dumps([json.dumps({"key": secret})]), f"GET /?key={quote(secret, safe='')}"]
    assert "canary" not in json.dumps(redact(texts, [secret]))


@pytest.mark.parametrize("shown", range(1, 14))
def test_a_warning_that_is_cut_in_the_middle_of_a_secret_does_not_end_with_a_part_of_it(shown: int) -> None:
    secret, context = "canary-plain-1", NodeContext("r", "n", memory_services())
    context.warn("odd", "x" * (MAX_WARNING_CHARS - 1 - shown) + secret)
    (warning,) = clean_warnings(context.warnings, [secret])
    assert warning["message"].rstrip("\u2026").count("canary"[:3]) == 0
    (other,) = clean_warnings(context.warnings, ["another-secret"])
    assert len(other["message"]) == MAX_WARNING_CHARS
