from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import NodeError, NodeMustWait, ProviderError
from innkeeper.nodes.services.llm.errors import Refusal, is_loading, refused
from innkeeper.nodes.services.masking import forms_of_all

KEY = "sk-canary-1234567890abcdef"


def inside(body: object, **fields: Any) -> Any:
    """The error for what stands in an answer of 200."""
    return refused("host", Refusal(None, {}, body, in_answer=True, **fields))


def status_error(host: str, status: int, headers: dict[str, str], body: object) -> NodeError:
    return refused(host, Refusal(status, headers, body))


def error(message: str = "", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, error(), "invalid_request_error"),
        (401, error(), "authentication_error"),
        (402, error("Insufficient Balance", code="invalid_request_error"), "billing_error"),
        (403, error(), "permission_error"),
        (403, error("Your credit balance is too low"), "billing_error"),
        (404, error(), "not_found_error"),
        (405, {"detail": "Method Not Allowed"}, "not_found_error"),
        (408, None, "timeout_error"),
        (409, None, "server_error"),
        (413, "", "invalid_request_error"),
        (422, {"detail": [{"loc": ["body", "top_k"], "msg": "not allowed"}]}, "invalid_request_error"),
        (429, error(), "rate_limit_error"),
        (429, error("You exceeded your current quota", code="insufficient_quota"), "billing_error"),
        (429, [{"error": {"code": 429, "message": "check quota", "status": "RESOURCE_EXHAUSTED"}}], "rate_limit_error"),
        (500, error(), "server_error"),
        (500, error("the request exceeds the available context size"), "context_length_error"),
        (502, "<title>Bad Gateway</title>", "server_error"),
        (503, error("no capacity"), "overloaded_error"),
        (504, None, "timeout_error"),
        (524, "<title>A timeout occurred</title>", "timeout_error"),
        (529, error("Overloaded", type="overloaded_error"), "overloaded_error"),
        (
            400,
            error("API key not valid. Please pass a valid API key.", status="INVALID_ARGUMENT"),
            "authentication_error",
        ),
        (400, error("x", code="CONTEXT_LENGTH_EXCEEDED"), "context_length_error"),
        (400, error("x", type="invalid_request_error", code="context_length_exceeded"), "context_length_error"),
        (400, {"object": "error", "message": "maximum context length is 4096", "code": 400}, "context_length_error"),
        (400, error("prompt is too long: 210000 tokens > 200000 maximum"), "context_length_error"),
        (400, error("x", code="content_filter"), "content_filter"),
        (400, error("x", innererror={"code": "ResponsibleAIPolicyViolation"}), "content_filter"),
        (400, error("the model `x` does not exist", type="BadRequestError"), "not_found_error"),
    ],
)
def test_a_refusal_has_the_code_of_its_kind(status: int, body: object, code: str) -> None:
    found = status_error("host", status, {}, body)
    helps_later = {"rate_limit_error", "overloaded_error", "timeout_error", "server_error"}
    assert (found.code, found.retryable) == (code, code in helps_later)


@pytest.mark.parametrize(
    ("body", "code", "retryable"),
    [
        (error("Provider returned error", code=429), "rate_limit_error", True),
        (error("Provider returned error", code="429"), "rate_limit_error", True),
        (error(code=401), "authentication_error", False),
        (error(code="401"), "authentication_error", False),
        (error(code=503), "overloaded_error", True),
        (error("Context length exceeded", code="CONTEXT_LENGTH_EXCEEDED"), "context_length_error", False),
        (error("quota exceeded"), "billing_error", False),
        (error(code=400, type="content_filter"), "content_filter", False),
        ({"detail": "something"}, "server_error", True),
        ({"error": "STREAM_EXPLODED"}, "server_error", True),
        ({"code": "rate_limit_exceeded"}, "rate_limit_error", True),
        (None, "server_error", True),
        ("text", "server_error", True),
        ([], "server_error", True),
        ([[]], "server_error", True),
        ({"error": 7}, "server_error", True),
        ({"error": {"message": {"a": 1}, "code": [], "details": {"a": 1}, "metadata": 3}}, "server_error", True),
    ],
)
def test_an_error_inside_an_answer_counts_as_if_it_had_its_status(body: object, code: str, retryable: bool) -> None:
    found = inside(body)
    assert (found.code, found.retryable) == (code, retryable)
    assert "within its answer" in found.message


def test_the_message_says_what_to_do_and_then_what_the_provider_says() -> None:
    body = error("Unsupported parameter: 'max_tokens'", param="max_tokens", code="unsupported_parameter")
    found = status_error("host", 400, {}, body)
    assert found.message == (
        "the provider at host answered 400 (unsupported_parameter); check the model, its parameters and the messages "
        "(parameter max_tokens); the provider says: \"Unsupported parameter: 'max_tokens'\""
    )
    assert found.details == {
        "host": "host",
        "status": 400,
        "provider_code": "unsupported_parameter",
        "provider_message": "Unsupported parameter: 'max_tokens'",
        "param": "max_tokens",
    }


def test_nothing_that_was_sent_in_secret_is_shown() -> None:
    echo = f"bad key {KEY[:10]}... or {KEY}, Authorization: Bearer abc-def, x-api-key: 'zzz', cookie: a=b"
    body = error(echo, param=KEY, code=KEY, type=f"for {KEY}")
    found = refused("host", Refusal(401, {}, body), secrets=forms_of_all((KEY,)))
    shown = f"{found.message} {found.details}"
    assert not [secret for secret in (KEY, "abc-def", "zzz", "a=b") if secret in shown]
    assert "bad key" in shown
    assert found.details["provider_code"] is None


@pytest.mark.parametrize("retry_after", ["7", None])
def test_a_wait_is_asked_for_by_what_may_pass_only(retry_after: str | None) -> None:
    headers = {"retry-after": retry_after} if retry_after else {}
    kinds = {status: type(status_error("host", status, headers, None)).__name__ for status in (401, 429, 500, 503, 529)}
    wait = "NodeMustWait" if retry_after else "ProviderError"
    assert kinds == {401: "ProviderError", 429: wait, 500: "ProviderError", 503: wait, 529: wait}
    assert status_error("host", 429, headers, error(code="insufficient_quota")).code == "billing_error"


@pytest.mark.parametrize("status", [500, 503])
def test_when_limits_begin_anew_says_nothing_of_a_server_that_is_down(status: int) -> None:
    found = status_error("host", status, {"x-ratelimit-reset-requests": "6m0s"}, None)
    assert isinstance(found, ProviderError)
    assert found.retry_after is None


def test_a_wait_of_a_day_is_as_long_as_that() -> None:
    found = status_error("host", 429, {"retry-after": "86400"}, error("free-models-per-day"))
    assert isinstance(found, NodeMustWait)
    assert found.delay_s == 86_400
    assert found.details["code"] == "rate_limit_error"
    assert "free-models-per-day" in found.message


def test_a_limit_of_the_minute_that_calls_itself_a_quota_is_waited_for() -> None:
    body = [
        error(
            "You exceeded your current quota, please check your plan and billing details.",
            code=429,
            status="RESOURCE_EXHAUSTED",
            details=[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"}],
        )
    ]
    found = status_error("host", 429, {}, body)
    assert isinstance(found, NodeMustWait)
    assert found.delay_s == 37


def test_an_error_behind_text_is_no_wait_but_says_how_long() -> None:
    body = error("Rate limit. Please try again in 20s", code=429)
    assert isinstance(inside(body), NodeMustWait)
    found = inside(body, may_wait=False)
    assert isinstance(found, ProviderError)
    assert (found.retryable, found.retry_after) == (True, 20)


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (503, "Loading model", True),
        (503, "Model mistralai/x is currently loading", True),
        (503, "no capacity", False),
        (500, "Loading model", False),
    ],
)
def test_a_model_that_is_being_loaded_is_known(status: int, message: str, expected: bool) -> None:
    assert is_loading(status_error("host", status, {}, error(message))) is expected
