from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import jmespath
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.triggers.headers import RawHeaders
from innkeeper.gateway.triggers.payload import Limits, Payload, PayloadError, RawRequest, ReceivedFile, read_payload
from innkeeper.gateway.triggers.scheme_config import load_scheme

FORM = "application/x-www-form-urlencoded"
MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="tags[]"\r\n\r\none\r\n'
    b'--x\r\nContent-Disposition: form-data; name="who"\r\n\r\nZo\xc3\xab\r\n'
    b'--x\r\nContent-Disposition: form-data; name="card"; filename="../a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n\x89PNG\r\n--y\x00\r\n--x--\r\n"
)


def read(body: bytes, content_type: str | None = None, **options: Any) -> Payload | PayloadError:
    headers = [] if content_type is None else [("Content-Type", content_type)]
    return read_payload(RawRequest(headers, body), **options)


def seen(body: bytes, content_type: str | None = None) -> tuple[str, Any]:
    found = read(body, content_type)
    assert isinstance(found, Payload)
    return found.kind, found.body


def error_of(found: Payload | PayloadError) -> tuple[str, str]:
    assert isinstance(found, PayloadError)
    return found.kind, found.message


READ = [
    (b'{"a": [1]}', "application/json", ("json", {"a": [1]})),
    (b'\xef\xbb\xbf{"a": 1}', "Application/JSON; charset=utf-8", ("json", {"a": 1})),
    (b"null", "application/cloudevents+json", ("json", None)),
    (b'{"a": 1}', None, ("json", {"a": 1})),
    (b"{{name}} hello", None, ("text", "{{name}} hello")),
    (b"plain", None, ("text", "plain")),
    (b'{"a": 1}', "text/plain", ("text", '{"a": 1}')),
    (b"<a/>", "application/xml", ("text", "<a/>")),
    (b"Zo\xeb", "text/plain; charset=iso-8859-1", ("text", "Zoë")),
    (b"Zo\xeb", "text/plain", ("text", "Zo�")),
    (b"Zo\xc3\xab", 'text/plain; charset="zip"', ("text", "Zoë")),
    (b"", "application/json", ("empty", None)),
    (b"", None, ("empty", None)),
    (b"a=1&b=2&b=3&c[]=4&d=", FORM, ("form", {"a": "1", "b": ["2", "3"], "c": ["4"], "d": ""})),
    (b"c%5B%5D=1&c%5B%5D=2&c=3", FORM, ("form", {"c": ["1", "2", "3"]})),
    (b"a[b]=1&[]=2", FORM, ("form", {"a[b]": "1", "[]": "2"})),
    (b"n=Zo%C3%AB+x&raw=\xc3\xab&bad=%FF%zz", FORM, ("form", {"n": "Zoë x", "raw": "ë", "bad": "\ufffd%zz"})),
    (b"payload=%7B%22user%22%3A%7B%22id%22%3A%22U1%22%7D%7D", FORM, ("form", {"payload": {"user": {"id": "U1"}}})),
    (b"payload=%7Bno+json&x=1", FORM, ("form", {"payload": "{no json", "x": "1"})),
    (b"payload=7", FORM, ("form", {"payload": "7"})),
    (b"&&", FORM, ("form", {})),
]


@pytest.mark.parametrize(("body", "content_type", "expected"), READ)
def test_a_body_is_read_by_its_type(body: bytes, content_type: str | None, expected: tuple[str, Any]) -> None:
    assert seen(body, content_type) == expected


@pytest.mark.parametrize("content_type", ["image/png", None])
def test_binary_bodies_are_left_to_be_stored(content_type: str | None) -> None:
    found = read(b"\x89PNG\xff", content_type)
    assert isinstance(found, Payload)
    mime = content_type or "application/octet-stream"
    assert found.files == (ReceivedFile("", None, mime, b"\x89PNG\xff"),)
    assert found.view([{"$resource": "x"}])["files"] == [{"$resource": "x"}]
    assert (found.kind, found.body) == ("binary", None)


def test_a_form_with_files_gives_fields_and_files() -> None:
    found = read(MULTIPART, "multipart/form-data; boundary=x")
    assert isinstance(found, Payload)
    assert found.body == {"tags": ["one"], "who": "Zoë"}
    assert found.files == (ReceivedFile("card", "../a.png", "image/png", b"\x89PNG\r\n--y\x00"),)


BROKEN = [
    (b'{"a": ', "application/json", "malformed", "the body is no valid JSON (line 1, column 7)"),
    (b'{"a": NaN}', "application/json", "malformed", "the body is no valid JSON"),
    (b'"\xff"', "application/json", "malformed", "the body is no valid JSON"),
    (b"[" * 101 + b"]" * 101, "application/json", "too_deep", "nested more than 100 levels"),
    (b"[" * 101 + b"]" * 101, None, "too_deep", "nested more than 100 levels"),
    (b"[" * 1_000_000, "application/json", "too_deep", "nested more than 100 levels"),
    (b"a&" * 1001, FORM, "too_large", "the request has more than 1000 fields"),
    (b"x" * 5_000_001, "text/plain", "too_large", "5000001 bytes of body; at most 5000000 are allowed"),
    (MULTIPART, "multipart/form-data", "malformed", "boundary"),
    (MULTIPART[:-8], "multipart/form-data; boundary=x", "malformed", "breaks off"),
    (b"nothing", "multipart/form-data; boundary=x", "malformed", "broken"),
    (
        MULTIPART[: MULTIPART.index(b"--x", 1)] * 1001,
        "multipart/form-data; boundary=x",
        "too_large",
        "more than 1000 fields",
    ),
]


@pytest.mark.parametrize(("body", "content_type", "kind", "said"), BROKEN)
def test_what_cannot_be_read_is_an_error_as_a_value(
    body: bytes, content_type: str | None, kind: str, said: str
) -> None:
    found_kind, message = error_of(read(body, content_type))
    assert found_kind == kind
    assert said in message


def test_a_broken_form_writes_no_line_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Anybody can send many of them."""
    assert error_of(read(b"nothing", "multipart/form-data; boundary=x"))[0] == "malformed"
    assert caplog.records == []


def test_compressed_bodies_are_refused() -> None:
    headers = [("Content-Encoding", "gzip"), ("Content-Type", "application/json")]
    assert error_of(read_payload(RawRequest(headers, b"\x1f\x8b")))[0] == "unsupported"


def test_two_types_of_one_body_are_refused() -> None:
    headers = [("Content-Type", "application/json"), ("content-type", FORM)]
    assert error_of(read_payload(RawRequest(headers, b"{}")))[0] == "malformed"


def test_headers_and_query_keep_their_lists_and_lose_the_secrets() -> None:
    headers: RawHeaders = [
        ("X-GitHub-Event", "issues"),
        ("X-Hub-Signature-256", "sha256=00"),
        ("Authorization", "Bearer secret"),
        ("COOKIE", "secret"),
        (b"Accept", b"a"),
        (b"accept", b"b"),
    ]
    request = RawRequest(headers, b"{}", b"tag=1&tag=2&one=&list[]=x")
    found = read_payload(request, hidden_headers=load_scheme("github", {}).secret_headers)
    assert isinstance(found, Payload)
    assert found.headers == {"x-github-event": "issues", "accept": ["a", "b"]}
    assert found.query == {"tag": ["1", "2"], "one": "", "list": ["x"]}
    assert jmespath.search("headers.\"x-github-event\" == 'issues'", found.view())


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (RawRequest([], b"", b"x" * 101), "101 bytes of query; at most 100"),
        (RawRequest([("a", "x" * 100)], b""), "101 bytes of headers"),
        (RawRequest([], b"x" * 101), "101 bytes of body"),
        (RawRequest([], b"", b"a&b&c&d"), "more than 3 fields"),
        (RawRequest([("a", "x")] * 4, b""), "more than 3 headers"),
    ],
)
def test_each_part_of_a_request_is_bounded(request_: RawRequest, said: str) -> None:
    kind, message = error_of(read_payload(request_, limits=Limits(100, 100, 100, 3, 3)))
    assert kind == "too_large"
    assert said in message


def test_as_many_fields_as_allowed_are_read() -> None:
    found = read_payload(RawRequest([], b"", b"a&b&c"), limits=Limits(max_fields=3))
    assert isinstance(found, Payload)
    assert found.query == {"a": "", "b": "", "c": ""}


def test_text_that_utf8_cannot_hold_becomes_a_mark() -> None:
    found = read_payload(RawRequest([("x-\ud800", "\ud800")], b""))
    assert isinstance(found, Payload)
    assert orjson.loads(orjson.dumps(found.headers)) == {"x-?": "\ufffd" * 3}


def test_depth_is_bounded_by_the_given_limit() -> None:
    limits = Limits(max_depth=3)
    assert isinstance(read(b"[[[1]]]", "application/json", limits=limits), Payload)
    assert error_of(read(b"[[[[1]]]]", "application/json", limits=limits))[0] == "too_deep"


TYPES = st.sampled_from(
    [
        *("application/json", "application/vnd.x+json", FORM, "text/plain", "image/png", "", "multipart/form-data"),
        *("multipart/form-data; boundary=x", "text/plain; charset=utf-16", "text/x; charset=idna"),
        "multipart/form-data; boundary*0*=utf-8''x; boundary*1=y",
    ]
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [
                b"--x",
                b"--x--",
                b"\r\n",
                b": ",
                b"\r\n\r\n",
                b"Content-Disposition: form-data; name=",
                b'"a"',
                b"filename=",
            ]
        )
        | st.binary(max_size=4),
        max_size=25,
    ).map(b"".join),
    st.lists(st.sampled_from([b"{", b"[", b"]", b"}", b'"a"', b":", b",", b"1", b"\\ud800"]), max_size=25).map(
        b"".join
    ),
    st.lists(st.sampled_from([b"a", b"[]", b"=", b"&", b"%", b"%ff", b"payload", b"+", b"{}"]), max_size=25).map(
        b"".join
    ),
)


@given(
    TYPES | st.text(max_size=20) | st.binary(max_size=20), BODIES, BODIES, st.lists(st.tuples(st.binary(), st.text()))
)
def test_any_request_becomes_json_data_or_an_error(
    content_type: str | bytes, body: bytes, query: bytes, more: list[tuple[bytes, str]]
) -> None:
    headers: RawHeaders = [("content-type", content_type), *more]
    found = read_payload(RawRequest(headers, body, query))
    if isinstance(found, PayloadError):
        assert found.message
    else:
        assert orjson.loads(orjson.dumps(found.view())) == found.view()


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8")))))
def test_no_value_of_a_form_is_lost(pairs: list[tuple[str, str]]) -> None:
    kind, body = seen(urlencode(pairs).encode(), FORM) if pairs else ("form", {})
    assert kind == "form"
    found = {name: value if isinstance(value, list) else [value] for name, value in body.items()}
    expected: dict[str, list[str]] = {}
    for name, value in pairs:
        expected.setdefault(name.removesuffix("[]") or name, []).append(value)
    assert {name: values for name, values in found.items() if name != "payload"} == {
        name: values for name, values in expected.items() if name != "payload"
    }
