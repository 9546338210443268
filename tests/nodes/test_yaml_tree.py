"""YAML of users: JSON values, the line of each part, and nothing that a few lines could blow up."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.json_values import MAX_INTEGER
from innkeeper.nodes.yaml_tree import MAX_BYTES, InvalidFile, read_yaml


def value(text: str) -> Any:
    return read_yaml("f.yaml", text.encode()).value


def problems(data: str | bytes) -> list[str]:
    with pytest.raises(InvalidFile) as refused:
        read_yaml("f.yaml", data if isinstance(data, bytes) else data.encode())
    return [str(problem) for problem in refused.value.problems]


def test_words_that_mean_something_else_in_yaml_1_1_are_texts() -> None:
    text = "on: [yes, no, off, y]\ntime: 12:30\nday: 2030-01-31\nmode: 0o17\nhex: 0x1f\nnumber: 010\nbig: 1_000"
    assert value(text) == {
        "on": ["yes", "no", "off", "y"],
        "time": "12:30",
        "day": "2030-01-31",
        "mode": "0o17",
        "hex": "0x1f",
        "number": 10,
        "big": "1_000",
    }


def test_scalars_of_json_are_what_they_are_in_json() -> None:
    text = f"[true, False, null, ~, , -3, 1.5, 1e3, .5, '5', \"true\", !!str 5, {MAX_INTEGER}]".replace(", ,", ",")
    assert value(text) == [True, False, None, None, -3, 1.5, 1000.0, 0.5, "5", "true", "5", MAX_INTEGER]
    assert value("a:\nb: ''") == {"a": None, "b": ""}
    assert value("") is None


def test_every_part_has_its_line() -> None:
    tree = read_yaml("f.yaml", b"a: 1\n\nb:\n  c:\n    - 1\n    - d: 2\n  e.f: {g: 3}\n")
    paths = ("a", "b", "b.c", "b.c[1]", "b.c[1].d", "b.e.f.g")
    assert [tree.line(path) for path in paths] == [1, 3, 4, 6, 6, 7]
    # What is missing is in what it is missing from; a name is no beginning of another one.
    assert [tree.line(path) for path in ("b.c[9].x", "b.missing", "bc", "")] == [4, 3, 1, 1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &x [1]\nb: *x", "line 2: aliases ('*name') are not allowed: write it out"),
        ("a: 1\nb: 2\na: 3", "line 3: 'a' stands twice"),
        ("a:\n  b: 1\n  b: 2", "line 3: 'a.b' stands twice"),
        ("a: 1\nb: [", "line 2: "),
        ("a: 1\n---\nb: 2", "line 2: "),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", "line 2: the tag"),
        ("a: !!binary aGk=", "line 1: the tag"),
        ("a: !!set {x}", "line 1: the tag"),
        ("a: 1\nb: !!int x", "line 2: the tag"),
        ("a: 1\n? [x]\n: 1", "line 2: a key must be a text"),
        ("a: 1\nb: 18446744073709551616", "line 2: a number is out of range"),
        (f"a: {'9' * 100_000}", "line 1: a number is out of range"),
        ("a: 1e999", "line 1: a number is out of range"),
        ("a: 1\nb: '\x01'", "line 2: it holds a character that YAML does not allow"),
        ('a: 1\nb: "\\ud800"', "line 2: "),
        ("\n" + "[" * 100, "line 2: it is nested more than 60 deep"),
        ("\n" * 3 + "a: {b: [" * 70, "line 4: "),
    ],
)
def test_what_is_refused_has_its_line(text: str, told: str) -> None:
    (found,) = problems(text)
    assert found.startswith(told)


def test_bytes_that_are_no_text_and_files_without_end_are_refused() -> None:
    assert problems(b"a: 1\nb: \xff") == ["line 2: it is not UTF-8"]
    assert problems(b"a" * (MAX_BYTES + 1))[0].endswith(f"at most {MAX_BYTES} are allowed")
    assert read_yaml("f.yaml", b"\xef\xbb\xbfa: 1").value == {"a": 1}


def test_merge_key_is_a_key_like_others() -> None:
    assert value("a:\n  <<: {b: 1}") == {"a": {"<<": {"b": 1}}}


TEXTS = st.text(st.characters(exclude_characters="\x7f", exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXTS | st.floats(-1e9, 1e9)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


@given(TREES)
def test_json_means_what_it_means_as_json(tree: Any) -> None:
    assert value(json.dumps(tree)) == tree


@given(st.text() | st.text("[]{}:-&*!|>'\"\n #?,abc1"))
def test_whatever_is_in_a_file_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidFile):
        value(text.encode("utf-8", "replace").decode())
