"""Patterns of paths inside a watched folder. Pure.

| in a pattern | stands for |
|---|---|
| `*` | any characters of one name, also none |
| `?` | one character of a name |
| `[abc]`, `[a-z]`, `[!a]` | one character of a set, or one outside it |
| `**` as a whole name | any number of folders, also none; at the end: everything below |

Upper and lower case differ. There is no `{a,b}`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

_Name = re.Pattern[str] | None
"""The pattern of one name; None stands for any number of names."""
_NO_NAME = re.compile("(?!)")


class Glob:
    """A compiled pattern.

    Example:
        >>> Glob("**/*.png").fits("2030/may/a.png"), Glob("*.png").fits("2030/a.png")
        (True, False)
    """

    def __init__(self, pattern: str) -> None:
        names = pattern.split("/")
        # What ends in `**` means files below, never the folder's own name.
        self._names = [_compiled(name) for name in (*names, *(["*"] if names[-1] == "**" else []))]

    def fits(self, path: str) -> bool:
        """Is this path, relative to the folder and with `/`, one of them?"""
        return _fits(self._names, path.split("/"))

    def leads_into(self, folder: str) -> bool:
        """Can a file somewhere below this inner folder fit? Whole trees need not be looked at otherwise."""
        names = folder.split("/")
        if None in self._names:
            return _all_fit(self._names[: self._names.index(None)], names)
        return len(names) < len(self._names) and _all_fit(self._names[:-1], names)


def _compiled(name: str) -> _Name:
    return None if name == "**" else re.compile(fnmatch.translate(name))


def _all_fit(patterns: Sequence[_Name], names: Sequence[str]) -> bool:
    """As far as both reach."""
    return all(pattern is None or pattern.match(name) for pattern, name in zip(patterns, names, strict=False))


def _fits(patterns: Sequence[_Name], names: Sequence[str]) -> bool:
    """One pass with a step back to the last `**`: a regular expression over the whole path could try for ever."""
    at = place = 0
    last: tuple[int, int] | None = None
    while place < len(names):
        pattern = patterns[at] if at < len(patterns) else _NO_NAME
        if pattern is None:
            at += 1
            last = (at, place)
        elif pattern.match(names[place]):
            at, place = at + 1, place + 1
        elif last is not None:  # `**` takes one more name
            last = (last[0], last[1] + 1)
            at, place = last
        else:
            return False
    return all(pattern is None for pattern in patterns[at:])
