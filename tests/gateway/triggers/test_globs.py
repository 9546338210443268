"""Patterns of paths in a watched folder."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.triggers.globs import Glob

FITS = [
    ("*", "a.png", "a", "wa y.tar.gz"),
    ("*.png", "a.png", ".png"),
    ("a?c", "abc"),
    ("[ab]*", "a", "bob"),
    ("[!ab]*", "c", "1a"),
    ("[0-9].txt", "7.txt"),
    ("in/*", "in/a"),
    ("*/a", "x/a", "y/a"),
    ("**", "a", "a/b", "a/b/c"),
    ("**/*", "a", "a/b/c"),
    ("**/*.png", "a.png", "x/a.png", "x/y/a.png"),
    ("in/**", "in/a", "in/a/b"),
    ("in/**/*.png", "in/a.png", "in/x/y/a.png"),
    ("**/in/*.png", "in/a.png", "x/in/y/in/a.png"),
    ("**/**/a", "a", "x/a"),
    ("a**b", "ab", "axxb"),
    ("[", "["),
    ("a\nb", "a\nb"),
    ("名*", "名字.txt"),
]
FITS_NOT = [
    ("*", "a/b"),
    ("*.png", "a.PNG", "a.png.txt", "x/a.png", "a.png\n"),
    ("a?c", "ac", "a/c"),
    ("[ab]*", "c", "Ab"),
    ("in/*", "in", "in/a/b", "out/a"),
    ("in/**", "in", "inn/a", "x/in/a"),
    ("in/**/*.png", "a.png", "in/x.txt"),
    ("**/in/*.png", "in/x/a.png"),
    ("a**b", "a/b"),
    ("{a,b}", "a"),
]


@pytest.mark.parametrize(("pattern", "path"), [(pattern, path) for pattern, *paths in FITS for path in paths])
def test_path_fits(pattern: str, path: str) -> None:
    assert Glob(pattern).fits(path)


@pytest.mark.parametrize(("pattern", "path"), [(pattern, path) for pattern, *paths in FITS_NOT for path in paths])
def test_path_does_not_fit(pattern: str, path: str) -> None:
    assert not Glob(pattern).fits(path)


@pytest.mark.parametrize(
    ("pattern", "folder", "leads"),
    [
        ("*.png", "x", False),
        ("*/*.png", "x", True),
        ("*/*.png", "x/y", False),
        ("in/*/a", "in/x", True),
        ("in/*/a", "out", False),
        ("in/**/a", "in/x/y/z", True),
        ("in/**/a", "out", False),
        ("**", "x/y", True),
    ],
)
def test_only_folders_that_can_hold_a_file_are_entered(pattern: str, folder: str, leads: bool) -> None:
    assert Glob(pattern).leads_into(folder) is leads


NAMES = st.sampled_from(["a", "b", "ab"])
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "a*", "?", "**"]), min_size=1, max_size=5).map("/".join)


@given(PATTERNS, st.lists(NAMES, min_size=1, max_size=5))
def test_whatever_fits_lies_in_folders_that_are_entered(pattern: str, names: list[str]) -> None:
    glob = Glob(pattern)
    if glob.fits("/".join(names)):
        assert all(glob.leads_into("/".join(names[:depth])) for depth in range(1, len(names)))


@given(PATTERNS, st.lists(NAMES, min_size=1, max_size=5))
def test_one_pass_finds_what_trying_everything_finds(pattern: str, names: list[str]) -> None:
    assert Glob(pattern).fits("/".join(names)) is tried(pattern.split("/"), names)


def tried(pattern: list[str], names: list[str]) -> bool:
    """Every way to share the names among the parts of the pattern."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        least = 1 if len(pattern) == 1 else 0
        return any(tried(pattern[1:], names[count:]) for count in range(least, len(names) + 1))
    return bool(names) and Glob(pattern[0]).fits(names[0]) and tried(pattern[1:], names[1:])


@given(st.text(), st.text())
def test_any_text_is_a_pattern(pattern: str, path: str) -> None:
    assert Glob(pattern).fits(path) in (True, False)
    assert Glob(pattern).leads_into(path) in (True, False)


def test_pattern_made_to_be_slow_is_not() -> None:
    started = time.perf_counter()
    assert not Glob("/".join(["**", "a*a*a*"] * 20 + ["x"])).fits("/".join(["a" * 100] * 200))
    assert time.perf_counter() - started < 2
