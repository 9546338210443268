"""Calls on the wire between workers and gateway: what is told is read again, and nothing that is told breaks either."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart
from innkeeper.nodes.services.llm.call_messages import (
    MAX_HEADERS,
    MAX_TEXT_CHARS,
    end_from_json,
    end_to_json,
    ids_from_json,
    start_from_json,
    start_to_json,
)
from innkeeper.nodes.services.llm.token_usage import MAX_COUNT
from tests.effort import examples

START = CallStart("id", CallOrigin("run", "outer/n", 3, "me"), "ch", "h:443", "openai", "m", "key", 10, 20, 1)
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
END = CallEnd(
    "id",
    "cut",
    "timeout_error",
    "m-1",
    USAGE,
    40,
    2.5,
    {"x-ratelimit-limit-requests": "60"},
    5,
    70,
    CallOrigin("run", "n", 2),
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def test_what_is_told_is_read_again() -> None:
    assert start_from_json(orjson.loads(orjson.dumps(start_to_json(START)))) == START
    assert end_from_json(orjson.loads(orjson.dumps(end_to_json(END)))) == END


@given(st.dictionaries(st.sampled_from([*start_to_json(START), *end_to_json(END)]), ANYTHING))
@examples(200)
def test_whatever_is_told_is_read_within_bounds_or_refused(told: dict[str, Any]) -> None:
    for read, write in ((start_from_json, start_to_json), (end_from_json, end_to_json)):
        for body in (told, {**told, "id": "x", "outcome": "ok"}):
            try:
                found = read(body)
            except ValueError:
                assert body is told
                continue
            assert len(orjson.dumps(write(found))) < 100_000  # type: ignore[operator]


def test_half_characters_huge_numbers_and_long_texts_are_no_obstacle() -> None:
    hostile = {"prompt_tokens": 10**400, "completion_tokens": -3, "total_tokens": True, "more": "x" * 10**6}
    end = CallEnd("id", "ok", model="\ud83d" * 10_000, usage=hostile, retry_after_s=float("nan"))
    told = json.loads(orjson.dumps(end_to_json(end)))
    assert len(told["model"]) == MAX_TEXT_CHARS
    assert (told["usage"]["prompt_tokens"], told["usage"]["completion_tokens"]) == (MAX_COUNT, 0)
    assert told["retryAfterS"] is None
    assert "more" not in told["usage"]
    start = CallStart("id", CallOrigin("r", "n"), "", "h", "openai", "m", output_tokens=10**30)
    assert start_to_json(start)["outputTokens"] == MAX_COUNT


def test_only_headers_of_limits_are_told_and_few_of_them() -> None:
    headers = {"Set-Cookie": "secret", "Retry-After": "3", **{f"x-ratelimit-{number}": "1" for number in range(99)}}
    told = end_to_json(CallEnd("id", "failed", headers=headers))["headers"]
    assert "set-cookie" not in told
    assert told["retry-after"] == "3"
    assert len(told) == MAX_HEADERS


@pytest.mark.parametrize("told", [None, "a", {"a": 1}, ["a", 1]])
def test_ids_are_texts(told: object) -> None:
    with pytest.raises(ValueError, match="must be a list of texts"):
        ids_from_json(told)
