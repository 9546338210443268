"""YAML and JSON files become JSON values, or a clear error, at a bounded cost."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.yaml_text import MAX_BYTES, load_json_or_yaml, load_yaml
from tests.effort import examples


def bomb(levels: int) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)]
    return "\n".join(lines).encode()


def test_values_are_those_of_json() -> None:
    assert load_yaml("a: yes\n1: 2020-01-01\nb: [1, 2.5, true, null, 😀]\n".encode()) == {
        "a": "yes",
        "1": "2020-01-01",
        "b": [1, 2.5, True, None, "😀"],
    }


def test_alias_repeats_its_anchor() -> None:
    assert load_yaml(b"a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (bomb(9), "counting each use of an alias"),
        (b"a: &a [*a]", "line 1, column 8"),
        (b"[" * 1_000_000, "nested"),
        (b"- " * 100_000, "nested"),
        (b"a: !!python/object/apply:os.system [ls]", "not valid YAML at line 1"),
        (b"a: [1", "not valid YAML"),
        (b"a: \xff", "byte 3"),
        (b"? [1, 2]\n: 3", "YAML"),
        (b"x" * (MAX_BYTES + 1), "at most"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_nasty_yaml_is_refused_at_once(data: bytes, problem: str) -> None:
    start = time.process_time()
    with pytest.raises(FormatError, match=problem):
        load_yaml(data)
    assert time.process_time() - start < 10


def test_ending_of_the_name_decides() -> None:
    assert load_json_or_yaml(b"a: 1", "rules.YML") == {"a": 1}
    assert load_json_or_yaml(b'\xef\xbb\xbf{"a": 1}', "rules.json") == {"a": 1}
    with pytest.raises(FormatError, match="JSON"):
        load_json_or_yaml(b"a: 1", "rules.json")


@examples(150)
@given(st.binary(max_size=60) | st.text(alphabet="ab:-[]{}&*!?|> \n'\"#,1.~<", max_size=60).map(str.encode))
def test_any_bytes_are_refused_or_become_json(data: bytes) -> None:
    for name in ("x.yaml", "x.json"):
        try:
            value = load_json_or_yaml(data, name)
        except FormatError:
            continue
        json.dumps(value, allow_nan=False).encode()
