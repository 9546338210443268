"""Hypothesis strategies for JSON that nobody means: values of wrong types, also in the place of good ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.5, 2**53, 2**63, 2**64 - 1, 10**20, 1e308, "", "x", "\x00", "💥" * 50, "9" * 400, [], [1],
     [1, 0], [[1], 0], [1, 0, 0], [None, None], ["1", "0"], [True, False], {}, {"a": 1}, {"$blob": 1}, [[[]]]]
)  # fmt: skip
"""What parsers of JSON take, and code behind them may not."""
ANY = st.recursive(
    ODD | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NO_JSON = st.sampled_from([float("nan"), float("inf"), "\ud800", 10**400, {"\udfff": 1}])
"""What JSON text can say all the same, in some dialects: numbers that are none, half characters."""
BYTES = st.binary(max_size=60) | st.sampled_from(
    [b"[" * 3000, b'{"a":' * 2000, b"\xff\xfe{\x00", b'"\\ud800"', b"NaN", b"1e999", b"\xef\xbb\xbf{}",
     b'{"a":1,"a":2}', b""]
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a value, its own first."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of a value with something else in one place."""
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = with_value(copied[path[0]], path[1:], new)
    return copied


@st.composite
def frames(draw: st.DrawFn, normal: Sequence[Any]) -> bytes:
    """The bytes of a frame: a normal one with odd values in it, or no JSON at all."""
    if draw(st.integers(0, 3)) == 0:
        return draw(BYTES)
    value = draw(st.sampled_from(normal))
    for _ in range(draw(st.integers(0, 2))):
        value = with_value(value, draw(st.sampled_from(places(value))), draw(ANY | NO_JSON))
    return json.dumps(value).encode()
