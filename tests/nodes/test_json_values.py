from __future__ import annotations

import datetime
import enum
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from innkeeper.nodes.json_values import (
    INTEGER_CHANGED,
    KEY_CHANGED,
    NUMBER_CHANGED,
    TEXT_CHANGED,
    InvalidJson,
    NotJsonData,
    TextJoiner,
    TooDeep,
    dump_json,
    encode_json,
    is_number,
    json_depth,
    mended,
    read_json,
    text_or_empty,
    texts_of,
)


@pytest.mark.parametrize("value", [0, -1.5, 2**53, 10**400])
def test_numbers_are_numbers(value: Any) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("-inf")])
def test_what_only_looks_like_a_number_is_none(value: Any) -> None:
    assert not is_number(value)


def test_only_texts_are_taken() -> None:
    assert [text_or_empty(value) for value in ("a", 1, None)] == ["a", "", ""]
    assert texts_of(["a", 1, None, "b"]) == ("a", "b")
    assert texts_of("ab") == ()


def test_json_is_compact_and_keeps_other_scripts() -> None:
    assert dump_json({"é": [1, float("nan")]}) == '{"é":[1,NaN]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_json(float("nan"), allow_nan=False)


# --- JSON from outside --------------------------------------------------------------------------------------------

HALF, OTHER_HALF = "\ud83d", "\ude00"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'{"a \ud83d": ["x\ude00"]}', {"a \ufffd": ["x\ufffd"]}),
        (r'"\ud83d\ude00"', "😀"),
        (f'"{HALF}{OTHER_HALF}{HALF}"', "😀\ufffd"),
        ("123456789012345678901234567890", 123456789012345678901234567890.0),
        ("[18446744073709551615, -9223372036854775808]", [2**64 - 1, -(2**63)]),
        # Both at once: then the standard library reads it.
        (r'["\ud83d", 18446744073709551616]', ["\ufffd", 2.0**64]),
        (b"[1]", [1]),
    ],
)
def test_json_from_outside_becomes_what_every_reader_takes(text: str | bytes, expected: Any) -> None:
    found = read_json(text)
    assert found == expected
    assert str(found) == str(expected)  # 2.0 is no 2
    assert orjson.loads(orjson.dumps(found)) == found


@pytest.mark.parametrize(
    ("text", "reason", "position"),
    [
        ("[1,\n 2,]", "Expecting value", (2, 4, 7)),
        ("", "Expecting value", (1, 1, 0)),
        ("NaN", "it holds NaN", None),
        ("[-Infinity]", "it holds -Infinity", None),
        ("1e999", "out of range", None),
        ("9" * 5_000, "out of range", None),
        (b'["\xff"]', "not UTF-8", (1, 3, 2)),
        ("[" * 101 + "]" * 101, "more than 100 levels", None),
        ("[" * 100_000, "", None),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text: str | bytes, reason: str, position: Any) -> None:
    with pytest.raises(InvalidJson) as caught:
        read_json(text)
    assert reason in caught.value.reason
    assert position in (None, caught.value.position)


def test_depth_has_a_bound_that_callers_may_raise() -> None:
    assert json_depth(read_json("[" * 100 + "]" * 100)) == 100
    assert json_depth(read_json("[" * 200 + "]" * 200, max_depth=200)) == 200
    with pytest.raises(TooDeep):
        read_json(r'["\ud83d",' + "[" * 100 + "]" * 100 + "]")


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["a" + HALF, OTHER_HALF + "b"], ["a", "😀b", ""]),
        ([HALF, OTHER_HALF], ["", "😀", ""]),
        ([HALF, "x"], ["", "\ufffdx", ""]),
        ([HALF, HALF, OTHER_HALF], ["", "\ufffd", "😀", ""]),
        ([OTHER_HALF, "a" + HALF], ["\ufffd", "a", "\ufffd"]),
    ],
)
def test_halves_of_a_character_meet_across_pieces(pieces: list[str], expected: list[str]) -> None:
    joiner = TextJoiner()
    assert [*map(joiner.feed, pieces), joiner.end()] == expected
    assert joiner.end() == ""


# --- values of nodes ----------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "written", "changes"),
    [
        ({"a": [1, None, "é"]}, {"a": [1, None, "é"]}, ()),
        (("a", 1), ["a", 1], ()),
        (datetime.datetime(2030, 1, 31, tzinfo=datetime.UTC), "2030-01-31T00:00:00+00:00", ()),
        (MappingProxyType({"a": Colour.RED}), {"a": "red"}, ()),
        (HALF, "\ufffd", (TEXT_CHANGED,)),
        ([2**64, -(2**70)], [2.0**64, -(2.0**70)], (INTEGER_CHANGED,)),
        ({"a": float("nan"), "b": float("-inf")}, {"a": None, "b": None}, (NUMBER_CHANGED,)),
        ([datetime.date(2030, 1, 31), float("nan")], ["2030-01-31", None], (NUMBER_CHANGED,)),
        ([datetime.date(2030, 1, 31), None], ["2030-01-31", None], ()),
        (10**400, None, (NUMBER_CHANGED,)),
        ({1: "a", None: "b", 1.5: "c"}, {"1": "a", "null": "b", "1.5": "c"}, (KEY_CHANGED,)),
        ([HALF, 2**64, float("nan")], ["\ufffd", 2.0**64, None], (TEXT_CHANGED, INTEGER_CHANGED, NUMBER_CHANGED)),
    ],
    ids=ascii,
)
def test_values_become_json_and_it_is_said_what_changed(value: Any, written: Any, changes: tuple[str, ...]) -> None:
    encoded = encode_json(value)
    assert orjson.loads(encoded.data) == written
    assert encoded.changes == changes
    assert mended(value) == written


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def endless() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [b"x"]}, "type bytes; bytes travel as a whole output"),
        ([{1, 2}], "type set; give a list"),
        ({(1, 2): 3}, "a key of type tuple"),
        ({1: "a", "1": "b"}, "two keys that are the same text"),
        (object(), "type object"),
        (nested(201), "more than 200 levels"),
        (nested(300), "more than 200 levels"),
        (endless(), "or holds itself"),
    ],
    ids=range(8),
)
def test_what_has_no_form_in_json_is_refused(value: Any, message: str) -> None:
    with pytest.raises(NotJsonData, match=message):
        encode_json(value)


def test_values_may_be_nested_as_deep_as_the_bound_whoever_writes_them() -> None:
    assert encode_json(nested(200)).changes == ()
    assert encode_json([HALF, *nested(200)]).changes == (TEXT_CHANGED,)
