from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.library.utilities.text import is_truthy, parse_escapes, to_text


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (r"\n", "\n"),
        (r"\t|\r", "\t|\r"),
        (r"\"\'", "\"'"),
        (r"\\n", r"\n"),
        (r"\\\n", "\\\n"),
        (r"\q\x41", r"\q\x41"),
        ("\\", "\\"),
        ("", ""),
        ("\n", "\n"),
    ],
)
def test_escapes_become_what_they_mean(typed: str, meant: str) -> None:
    assert parse_escapes(typed) == meant


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("x", "x"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (-1.5, "-1.5"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.25e-9, "1.25e-9"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        ({"a": "ü"}, '{"a":"ü"}'),
        ([1, None], "[1,null]"),
    ],
)
def test_values_become_the_text_a_browser_would_show(value: Any, text: str) -> None:
    assert to_text(value) == text


@pytest.mark.parametrize(
    ("value", "truth"),
    [("false", True), ("0", True), ([], True), ({}, True), (1, True), (True, True)]
    + [(value, False) for value in (0, 0.0, "", None, False, float("nan"))],
)
def test_truth_is_that_of_the_browser(value: Any, truth: bool) -> None:
    assert is_truthy(value) is truth
