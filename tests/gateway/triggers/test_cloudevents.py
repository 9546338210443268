"""CloudEvents 1.0 in all modes, and what only looks like one."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.errors import TooLarge, UnsupportedMediaType, status_of
from innkeeper.gateway.triggers.cloudevents import (
    CloudEvent,
    InvalidCloudEvent,
    event_of,
    header_value,
    mode_of,
    read_batch,
    read_binary,
    read_structured,
)
from innkeeper.gateway.triggers.headers import Headers
from innkeeper.nodes.errors import InnkeeperError
from tests.effort import examples
from tests.odd_json import ANY, BYTES

Json = dict[str, Any]
LIMIT = 256_000
EVENT = {"specversion": "1.0", "type": "com.example.some", "source": "/my/context", "id": "A234-1234"}
HEADERS = {f"ce-{name}": value for name, value in EVENT.items()}


def structured(**more: Any) -> CloudEvent:
    return read_structured(json.dumps({**EVENT, **more}).encode(), LIMIT)


def binary(body: bytes = b"", **headers: str) -> CloudEvent:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_binary(Headers([*HEADERS.items(), *named.items()]), body, LIMIT)


@pytest.mark.parametrize(
    ("headers", "mode"),
    [
        ([("Content-Type", "application/cloudevents+json; charset=utf-8")], "structured"),
        ([("Content-Type", "Application/CloudEvents-Batch+JSON")], "batch"),
        # The body counts, though the same attributes may stand in headers as well.
        ([("Content-Type", "application/cloudevents+json"), ("ce-id", "1")], "structured"),
        ([("Content-Type", "application/json"), ("CE-Type", "a")], "binary"),
        ([("ce-specversion", "1.0")], "binary"),
        ([("Content-Type", "application/json"), ("ce-subject", "x")], None),
        ([("Content-Type", "application/json")], None),
        ([], None),
    ],
)
def test_mode_is_told_by_the_headers(headers: list[tuple[str, str]], mode: str | None) -> None:
    assert mode_of(Headers(headers)) == mode


@pytest.mark.parametrize("kind", ["application/cloudevents+avro", "application/cloudevents-batch+xml"])
def test_other_formats_of_cloudevents_are_unsupported(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        mode_of(Headers([("content-type", kind)]))


# --- structured -----------------------------------------------------------------------------------------------------


def test_structured_event_keeps_its_attributes_and_leaves_out_unset_ones() -> None:
    more = {"time": "2018-04-05T17:31:00Z", "subject": None, "traceparent": "00-ab", "priority": 5, "urgent": True}
    event = structured(**more, data={"n": 1})
    assert (event.id, event.source, event.type) == ("A234-1234", "/my/context", "com.example.some")
    assert event.attributes == {"time": "2018-04-05T17:31:00Z", "traceparent": "00-ab", "priority": 5, "urgent": True}
    assert event.data == {"n": 1}


@pytest.mark.parametrize(
    ("more", "data"),
    [
        ({}, None),
        ({"data": None}, None),
        ({"data": "I'm just a string"}, "I'm just a string"),
        # A text of JSON stays a text, whatever type the data has.
        ({"data": "[1]", "datacontenttype": "application/json"}, "[1]"),
        ({"data": "<a/>", "datacontenttype": "application/xml"}, "<a/>"),
        ({"data_base64": base64.b64encode(b'{"n": 1}').decode(), "datacontenttype": "application/json"}, {"n": 1}),
        ({"data_base64": base64.b64encode("é".encode()).decode(), "datacontenttype": "text/plain"}, "é"),
        ({"data_base64": base64.b64encode(b"a=1").decode(), "datacontenttype": "application/x-www-form-urlencoded"},
         {"a": "1"}),
    ],
)  # fmt: skip
def test_structured_data_is_read_by_its_content_type(more: Json, data: Any) -> None:
    event = structured(**more)
    assert (event.data, event.is_base64) == (data, False)


def test_data_that_is_neither_json_nor_text_stays_base64() -> None:
    given = base64.b64encode(b"\x00\xff").decode()
    event = structured(data_base64=given, datacontenttype="application/vnd.apache.thrift.binary")
    assert (event.data, event.is_base64) == (given, True)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"id": None}, "'id'"),
        ({"id": ""}, "'id'"),
        ({"id": 7}, "'id'"),
        ({"id": "a\x07b"}, "'id'"),
        ({"source": "has spaces"}, "'source'"),
        ({"type": "x" * 3_000}, "'type'"),
        ({"specversion": "0.3"}, "'1.0'"),
        ({"specversion": 1.0}, "'1.0'"),
        ({"time": "yesterday"}, "'time'"),
        ({"time": "2018-04-05T17:31:00"}, "'time'"),
        ({"time": "2018-13-05T17:31:00Z"}, "'time'"),
        ({"datacontenttype": "json"}, "'datacontenttype'"),
        ({"subject": ""}, "'subject'"),
        ({"my_ext": "x"}, "'my_ext'"),
        ({"MyExt": "x"}, "'MyExt'"),
        ({"ext": {"deep": 1}}, "'ext'"),
        ({"ext": 1.5}, "'ext'"),
        ({"ext": 2**31}, "'ext'"),
        ({"data": 1, "data_base64": "AA=="}, "not both"),
        ({"data_base64": "no base64!"}, "base64"),
        ({"data_base64": "é"}, "base64"),
        ({"data_base64": 3}, "base64"),
        ({"data_base64": base64.b64encode(b"{").decode(), "datacontenttype": "application/json"}, "JSON"),
        ({f"e{number}": 1 for number in range(60)}, "50 attributes"),
    ],
)
def test_what_is_no_cloudevent_is_refused_with_the_place(change: Json, word: str) -> None:
    with pytest.raises(InvalidCloudEvent) as refused:
        structured(**change)
    assert word in refused.value.message


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b"{", b"\xff", b"[" * 300, b'"x"'])
def test_structured_body_must_be_a_json_object(body: bytes) -> None:
    with pytest.raises(InvalidCloudEvent):
        read_structured(body, LIMIT)


# --- binary ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),  # the example of the binding
        (b"%e2%82%ac", "€"),
        (b"%41%42", "AB"),
        (b"100%25", "100%"),
        (b"%2541", "%41"),  # once, not twice
        (b'"with \\"quotes\\" and space"', 'with "quotes" and space'),
        (b'"%41"', "A"),
        (b"50%", "50%"),
        ("é".encode(), "é"),
    ],
)
def test_header_value_is_unquoted_then_percent_decoded_once(raw: bytes, value: str) -> None:
    assert header_value(raw) == value


@pytest.mark.parametrize("raw", [b"%C0%A0", b"%FF", b"\xe9"])
def test_header_value_that_is_no_utf8_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidCloudEvent):
        header_value(raw)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=50))
@examples(100)
def test_what_is_encoded_as_the_binding_says_comes_back(text: str) -> None:
    encoded = "".join(
        char if "!" <= char <= "~" and char not in '"%' else "".join(f"%{byte:02X}" for byte in char.encode())
        for char in text
    )
    assert header_value(encoded.encode()) == text


@pytest.mark.parametrize(
    ("body", "content_type", "data", "is_base64"),
    [
        (b'{"n": 1}', "application/json; charset=utf-8", {"n": 1}, False),
        (b'{"n": 1}', "application/vnd.x+json", {"n": 1}, False),
        (b"<a/>", "text/xml", "<a/>", False),
        (b"Zo\xeb", "text/plain; charset=iso-8859-1", "Zoë", False),
        (b"\x00\xff", "image/png", "AP8=", True),
        (b"", "application/json", None, False),
    ],
)
def test_binary_event_has_its_data_in_the_body(body: bytes, content_type: str, data: Any, is_base64: bool) -> None:
    event = binary(body, content_type=content_type, ce_subject="a%20b")
    assert (event.data, event.is_base64) == (data, is_base64)
    assert event.attributes == {"datacontenttype": content_type, "subject": "a b"}


def test_binary_event_without_a_content_type_is_read_by_what_it_is() -> None:
    assert (binary(b'{"n": 1}').data, binary(b"hello").data, binary(b"\xff").data) == ({"n": 1}, "hello", "/w==")


@pytest.mark.parametrize(
    "headers",
    [
        [("ce-id", "2")],  # doubled
        [("ce-datacontenttype", "text/plain")],
        [("ce-data", "x")],
        [("ce-my_ext", "x")],
        [("content-type", "application/json"), ("content-type", "text/plain")],
    ],
)
def test_binary_event_with_headers_that_contradict_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidCloudEvent):
        read_binary(Headers([*HEADERS.items(), *headers]), b"{}", LIMIT)


def test_binary_event_that_is_too_large_or_compressed_is_refused() -> None:
    with pytest.raises(TooLarge):
        binary(b"x" * (LIMIT + 1), content_type="text/plain")
    with pytest.raises(UnsupportedMediaType):
        binary(b"x", content_type="application/json", content_encoding="gzip")


# --- batch, and anything --------------------------------------------------------------------------------------------


def test_batch_is_a_bounded_list() -> None:
    assert read_batch(b"[]") == []
    assert len(read_batch(json.dumps([EVENT] * 100).encode())) == 100
    with pytest.raises(TooLarge):
        read_batch(json.dumps([EVENT] * 101).encode())
    with pytest.raises(InvalidCloudEvent):
        read_batch(json.dumps(EVENT).encode())


NAMES = st.sampled_from([*EVENT, "time", "subject", "datacontenttype", "data", "data_base64", "ext"])


def refusal_or_event(read: Any, *arguments: Any) -> None:
    status = 200
    try:
        read(*arguments)
    except InnkeeperError as error:
        status = status_of(error)
    assert status < 500


@given(st.dictionaries(NAMES | st.text(max_size=8), ANY, max_size=5))
@examples(300)
def test_any_json_is_an_event_or_refused(change: Json) -> None:
    refusal_or_event(event_of, {**EVENT, **change}, LIMIT)


HEADER = st.tuples(st.sampled_from([*HEADERS, "content-type", "ce-time", "ce-x"]), st.binary(max_size=20))


@given(st.lists(HEADER), BYTES)
@examples(300)
def test_any_headers_and_body_are_an_event_or_refused(headers: list[tuple[str, bytes]], body: bytes) -> None:
    refusal_or_event(mode_of, Headers(headers))
    refusal_or_event(read_binary, Headers([*HEADERS.items(), *headers]), body, LIMIT)
    refusal_or_event(read_structured, body, LIMIT)
