"""core:HttpRequest: what is sent, what comes out, what is tried again, and where the secret goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import pytest

from innkeeper.nodes.errors import NodeError, NodeInputError, ProviderError, ResourceError
from innkeeper.nodes.library.utilities.http_body import read_body
from innkeeper.nodes.library.utilities.http_request import definition, http_request
from innkeeper.nodes.node import HttpRequest, HttpResponse, NodeContext
from innkeeper.nodes.testing import MemorySecrets, ToyHttp, memory_services, run_node

URL = "https://web.example/path"


def answering(status: int = 200, body: bytes = b"", **headers: str) -> Callable[[HttpRequest], HttpResponse]:
    return lambda request: HttpResponse(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


def ask(
    answer: Any = None, config: Mapping[str, Any] | None = None, **inputs: Any
) -> tuple[HttpRequest, dict[str, Any]]:
    web = ToyHttp(answer or answering())
    outputs = run_node(definition, {"url": URL, **inputs}, config=config, services=memory_services(http=web))
    return web.requests[0], outputs


def test_plain_request_has_no_body_and_waits_thirty_seconds() -> None:
    request, outputs = ask(answering(204, x_a="1"))
    assert request == HttpRequest("GET", URL, {}, b"", 30.0)
    assert outputs == {"status": 204, "headers": {"x-a": "1"}, "body": "", "json": None}


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        ({"a": [1, "酒"]}, '{"a":[1,"酒"]}', "application/json"),
        ([1], "[1]", "application/json"),
        (7, "7", "application/json"),
        (False, "false", "application/json"),
        ('{"a": 1}', '{"a": 1}', "application/json"),
        (" [1]", " [1]", "application/json"),
        ("[not json", "[not json", "text/plain; charset=utf-8"),
        ("words", "words", "text/plain; charset=utf-8"),
        (b"\x00", "\x00", "application/octet-stream"),
        ("", "", None),
        (None, "", None),
    ],
)
def test_body_is_sent_with_its_type(body: Any, sent: str, content_type: str | None) -> None:
    request, _ = ask(method="post", body=body)
    assert (request.method, request.body.decode()) == ("POST", sent)
    assert request.headers.get("Content-Type") == content_type


def test_given_headers_win() -> None:
    request, _ = ask(method="POST", body={"a": 1}, headers={"content-type": "application/ld+json", "X-N": 1.0})
    assert request.headers == {"content-type": "application/ld+json", "X-N": "1"}
    request, _ = ask(headers='{"X-A": "b"}')
    assert request.headers == {"X-A": "b"}


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels > 1 else []


@pytest.mark.parametrize(
    ("body", "content_type", "text", "value"),
    [
        (b'{"a": "\xc3\xbc"}', "application/json", '{"a": "ü"}', {"a": "ü"}),
        (b'{"a": 1}', "", '{"a": 1}', {"a": 1}),
        (b"7", "application/problem+json", "7", 7),
        (b"7", "text/plain", "7", None),
        (b'{"a": NaN}', "application/json", '{"a": NaN}', None),
        (b'{"a": 1e999}', "application/json", '{"a": 1e999}', None),
        (b"9" * 5_000, "application/json", "9" * 5_000, None),
        (b"{broken", "application/json", "{broken", None),
        (rb'{"a": "x\ud83d"}', "application/json", r'{"a": "x\ud83d"}', {"a": "x\ufffd"}),
        (
            b'{"id": 123456789012345678901234567890}',
            "",
            '{"id": 123456789012345678901234567890}',
            {"id": 1.2345678901234568e29},
        ),
        (b"[" * 200 + b"]" * 200, "", "[" * 200 + "]" * 200, nested(200)),
        (b"[" * 201 + b"]" * 201, "", "[" * 201 + "]" * 201, None),
        (b"[" * 100_000, "application/json", "[" * 100_000, None),
        (b"\xfc", "text/plain; charset=latin-1", "ü", None),
        (b"\xfc", "text/plain", "�", None),
        (b"\xfc", "text/plain; charset=nothing", "�", None),
        (b"PK", "text/plain; charset=zip", "PK", None),
        (b"\xef\xbb\xbf[1]", "application/json; charset=utf-8", "[1]", [1]),
        (b"\xef\xbb\xbf[1]", "application/json", "[1]", [1]),
    ],
)
def test_answer_is_read(body: bytes, content_type: str, text: str, value: Any) -> None:
    _, outputs = ask(answering(200, body, content_type=content_type))
    assert (outputs["body"], outputs["json"]) == (text, value)
    assert read_body(content_type, body) == {"body": text, "json": value}


def test_secret_goes_to_the_host_of_the_url_and_not_into_the_outputs() -> None:
    secrets = MemorySecrets()
    body = b'{"got":"tok-123456"}'
    echo = ToyHttp(lambda asked: HttpResponse(200, {"x-echo": asked.headers["Authorization"]}, body))
    services = memory_services(http=echo, secrets=secrets)
    inputs = {
        "url": "https://web.example:8443/a",
        "authorization": "Bearer tok-123456",
        "headers": {"authorization": "mine"},
    }
    outputs = run_node(definition, inputs, services=services)
    assert echo.requests[0].headers == {"Authorization": "Bearer tok-123456"}
    assert secrets.revealed == [("secret-1", "web.example:8443")]
    assert "tok-123456" not in json.dumps(outputs)
    assert outputs["json"] == {"got": "***"}


@pytest.mark.parametrize("form", ['{"got":"%s"}', "%s"])
def test_secret_is_taken_out_however_the_answer_writes_it(form: str) -> None:
    secret = 'Digest name="a+b/c=dd"'
    written = {'{"got":"%s"}': json.dumps(secret)[1:-1], "%s": quote(secret, safe="")}[form]
    echo = ToyHttp(lambda asked: HttpResponse(200, {}, (form % written).encode()))
    outputs = run_node(definition, {"url": URL, "authorization": secret}, services=memory_services(http=echo))
    assert "a+b/c" not in str(outputs)
    assert "b%2Fc" not in str(outputs)


def test_secret_is_not_touched_when_the_request_cannot_be_sent() -> None:
    secrets = MemorySecrets()
    services = memory_services(secrets=secrets)
    for wrong in ({"url": "nowhere"}, {"headers": {"a": {}}}, {"timeout": -1}, {"body": "\ud800"}):
        with pytest.raises(NodeInputError):
            run_node(definition, {"url": URL, "authorization": "key", **wrong}, services=services)
    assert secrets.revealed == []


@pytest.mark.parametrize(
    ("inputs", "word"),
    [
        ({"method": "CONNECT"}, "GET, HEAD, POST"),
        ({"url": ""}, "'url'"),
        ({"url": "https://user:pw@web.example/"}, "'url'"),
        ({"headers": [1]}, "'headers'"),
        ({"headers": "words"}, "'headers'"),
        ({"headers": {"X": None}}, "'X'"),
        ({"timeout": 0}, "'timeout'"),
        ({"timeout": float("nan")}, "'timeout'"),
        ({"timeout": "5"}, "'timeout'"),
        ({"authorization": 7}, "'authorization'"),
    ],
)
def test_unusable_input_is_refused(inputs: dict[str, Any], word: str) -> None:
    with pytest.raises(NodeInputError, match=word) as caught:
        ask(**inputs)
    assert "pw" not in caught.value.message


def test_time_limit_is_capped() -> None:
    assert ask(timeout=99_999)[0].timeout_s == 300
    assert ask(timeout=2)[0].timeout_s == 2


def failed(answer: Any, config: Mapping[str, Any] | None = None, **inputs: Any) -> NodeError:
    with pytest.raises(NodeError) as caught:
        ask(answer, config, **inputs)
    return caught.value


@pytest.mark.parametrize(
    ("method", "status", "retryable"),
    [("GET", 503, True), ("GET", 429, True), ("GET", 404, False), ("PUT", 500, True), ("POST", 503, False)],
)
def test_bad_status_fails_only_when_asked_to(method: str, status: int, retryable: bool) -> None:
    answer = answering(status, b"secret words", retry_after="7")
    assert ask(answer, method=method)[1]["status"] == status
    error = failed(answer, {"failOnError": True}, method=method)
    assert isinstance(error, ProviderError)
    assert (error.code, error.retryable, error.retry_after) == ("http_error", retryable, 7)
    assert error.details == {"host": "web.example:443", "status": status}
    assert "secret" not in error.message
    assert ask(answering(302), {"failOnError": True})[1]["status"] == 302


def broken(request: HttpRequest) -> HttpResponse:
    raise ProviderError("broken off", code="connection_error", retryable=request.method == "GET")


def test_post_is_repeated_only_when_its_author_says_so() -> None:
    assert failed(broken, method="GET").retryable is True
    assert failed(broken, method="POST").retryable is False
    assert failed(broken, {"repeatUnsafe": True}, method="POST").retryable is True
    assert failed(answering(503), {"repeatUnsafe": True, "failOnError": True}, method="POST").retryable is True


async def test_post_whose_worker_died_is_not_sent_again() -> None:
    for method, config, sent in (("POST", {}, 0), ("POST", {"repeatUnsafe": True}, 1), ("GET", {}, 1)):
        web = ToyHttp()
        context = NodeContext("run", "node", memory_services(http=web), attempt=2, config_values=config)
        if sent:
            await http_request({"method": method, "url": URL}, context)
        else:
            with pytest.raises(NodeError, match="may have reached the server") as caught:
                await http_request({"method": method, "url": URL}, context)
            assert (caught.value.code, caught.value.retryable) == ("not_repeated", False)
        assert len(web.requests) == sent


def test_other_errors_of_the_web_go_on() -> None:
    def large(request: HttpRequest) -> HttpResponse:
        raise ResourceError("the response is larger", code="response_too_large")

    with pytest.raises(ResourceError):
        ask(large)
