"""Events from bytes that are cut anywhere."""

from __future__ import annotations

import time

import pytest

from innkeeper.nodes.services.llm.sse import (
    Event,
    EventReader,
    EventTooLarge,
    JsonLines,
    ServerSentEvents,
    begins_events,
)

CASES = {
    "plain": (b"data: a\n\ndata: b\n\n", ["a", "b"]),
    "no_space": (b"data:a\n\n", ["a"]),
    "one_space_only": (b"data:  a \n\n", [" a "]),
    "cr": (b"data: a\rdata: b\r\rdata: c\r\r", ["a\nb", "c"]),
    "crlf": (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
    "mixed": (b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", ["a", "b", "c"]),
    "mark": (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
    "mark_inside_stays": (b"data: \xef\xbb\xbfa\n\n", ["\ufeffa"]),
    "comments": (b": x\n\n:\n\ndata: a\n: y\ndata: b\n\n", ["a\nb"]),
    "retry_and_id": (b"retry: 3000\n\nid: 1\nretry\ndata: a\n\nid\n\n", ["a"]),
    "unknown_fields": (b"cost: 1\ndata: a\nDATA: b\ndatax: c\n\n", ["a"]),
    "several_lines": (b"data: {\ndata:  1\ndata: }\n\n", ["{\n 1\n}"]),
    "empty_data": (b"data\n\ndata:\ndata\n\ndata: a\n\n", ["", "\n", "a"]),
    "blank_lines": (b"\n\n\ndata: a\n\n\n\n", ["a"]),
    "utf8": ("data: Hé你好😀\n\n".encode(), ["Hé你好😀"]),
    "separators": ("data: a\u2028b\u0085c\x0b\x0c\n\n".encode(), ["a\u2028b\u0085c\x0b\x0c"]),
    "not_utf8": (b"data: a\xff\n\n", ["a\ufffd"]),
    "no_blank_line_at_the_end": (b"data: a\n\ndata: b\n", ["a", "b"]),
    "no_line_end_at_the_end": (b"data: a\n\ndata: [DONE]", ["a", "[DONE]"]),
    "nothing": (b"", []),
    "half_a_mark": (b"\xef\xbb", []),
}


def read(reader: EventReader, pieces: list[bytes]) -> list[Event]:
    return [event for piece in pieces for event in reader.feed(piece)] + reader.end()


@pytest.mark.parametrize("name", CASES)
def test_events_are_the_same_wherever_the_body_is_cut(name: str) -> None:
    body, expected = CASES[name]
    cuts = [[body], [bytes([byte]) for byte in body], *([body[:at], body[at:]] for at in range(len(body)))]
    for pieces in cuts:
        assert [event.data for event in read(ServerSentEvents(), pieces)] == expected, pieces


def test_an_event_has_the_name_of_its_own_block_only() -> None:
    body = b"event: error\ndata: a\n\ndata: b\n\nevent: lost\n\ndata: c\n\nevent:x\nevent\ndata: d\n\n"
    assert read(ServerSentEvents(), [body]) == [("error", "a"), ("message", "b"), ("message", "c"), ("message", "d")]


@pytest.mark.parametrize("line", [b"data: " + b"x" * 101, b"y" * 101, b"data: " + b"x" * 60 + b"\ndata: " + b"x" * 60])
@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_an_event_over_the_limit_ends_the_reading(line: bytes, size: int) -> None:
    reader = ServerSentEvents(100)
    pieces = [line[at : at + size] for at in range(0, len(line), size)]
    with pytest.raises(EventTooLarge, match="100 bytes"):
        read(reader, [*pieces, b"\n\n"])


def test_events_below_the_limit_may_be_many() -> None:
    assert len(read(ServerSentEvents(100), [b"data: " + b"x" * 90 + b"\n\n"] * 1_000)) == 1_000


def test_a_line_of_megabytes_in_small_pieces_is_read_in_time_in_proportion() -> None:
    piece = b"x" * 1_000
    reader = ServerSentEvents()
    began = time.process_time()
    events = read(reader, [b"data: ", *[piece] * 10_000, b"\n\n"])
    assert len(events[0].data) == 10_000_000
    assert time.process_time() - began < 2  # joined once: 10,000 times would take minutes


def test_json_lines_are_lines_that_are_not_blank() -> None:
    body = '\ufeff{"a": 1}\r\n\n  \n{"b": "\u2028"}\n{"c"'.encode()
    expected = ['{"a": 1}', '{"b": "\u2028"}', '{"c"']
    assert [event.data for event in read(JsonLines(), [body])] == expected
    assert [event.data for event in read(JsonLines(), [bytes([byte]) for byte in body])] == expected
    with pytest.raises(EventTooLarge):
        JsonLines(10).feed(b"x" * 11)


@pytest.mark.parametrize("start", [b"data: {", b":", b": hello", b"event: x\n", b"id:1", b"retry: 3"])
def test_a_body_of_events_is_known_by_its_beginning(start: bytes) -> None:
    assert begins_events(start)


@pytest.mark.parametrize("start", [b"", b"{", b"<html>", b"data", b'"data": 1', b"Error: no"])
def test_other_bodies_are_not_taken_for_events(start: bytes) -> None:
    assert not begins_events(start)
