"""Sets of characters as JavaScript understands them, written for the `regex` package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

Ranges = tuple[tuple[int, int], ...]

LAST = 0x10FFFF
LINE_ENDS: Ranges = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
DIGITS: Ranges = ((0x30, 0x39),)
WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
# Two more letters fold to ASCII ones under flags i and u together.
WORD_FOLDED: Ranges = (*WORD, (0x17F, 0x17F), (0x212A, 0x212A))
SPACE: Ranges = (
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
)
# No letter with a case lies beyond; the search for them need not either.
_LAST_CASED = 0x1E943


@dataclass(frozen=True)
class CharSet:
    """Characters as ranges of code points, plus properties in the notation of `regex` (`\\p{L}`)."""

    ranges: Ranges = ()
    properties: tuple[str, ...] = ()

    def __or__(self, other: CharSet) -> CharSet:
        return CharSet(self.ranges + other.ranges, self.properties + other.properties)

    def text(self, *, negated: bool = False) -> str:
        """The set as a pattern. An empty one never matches, negated it matches everything."""
        if not self.ranges and not self.properties:
            return "(?s:.)" if negated else "(?!)"
        inner = "".join(_range_text(first, last) for first, last in _merged(self.ranges)) + "".join(self.properties)
        return f"[^{inner}]" if negated else f"[{inner}]"


def complement(ranges: Ranges) -> Ranges:
    gaps = []
    start = 0
    for first, last in _merged(ranges):
        if first > start:
            gaps.append((start, first - 1))
        start = last + 1
    if start <= LAST:
        gaps.append((start, LAST))
    return tuple(gaps)


def char_text(code: int) -> str:
    """One character, escaped where a pattern or a set could take it for something else."""
    char = chr(code)
    if code < 0x80 and not char.isalnum():
        return f"\\x{code:02x}"
    return char


def with_other_cases(ranges: Ranges, *, unicode: bool) -> Ranges:
    """The ranges and all characters that are the same to JavaScript under flag i (and u, if `unicode`)."""
    if all(last < 0x80 for _, last in ranges) and not unicode:
        return ranges + _other_ascii(ranges)
    same = _same(unicode)
    found = {other for code in _cased_in(ranges, same) for other in same[code]}
    return ranges + tuple((code, code) for code in sorted(found))


def _other_ascii(ranges: Ranges) -> Ranges:
    codes = {code for first, last in ranges for code in range(first, last + 1) if chr(code).isalpha()}
    return tuple((code ^ 0x20, code ^ 0x20) for code in sorted(codes))


def _cased_in(ranges: Ranges, same: Mapping[int, tuple[int, ...]]) -> Iterable[int]:
    for first, last in _merged(ranges):
        if last - first < len(same):
            yield from (code for code in range(first, last + 1) if code in same)
        else:
            yield from (code for code in same if first <= code <= last)


@cache
def _same(unicode: bool) -> Mapping[int, tuple[int, ...]]:
    """Code point to all that are the same under flag i, itself included; only where there are several."""
    canonical = _simple_fold if unicode else _upper
    groups: dict[str, list[int]] = {}
    for code in range(_LAST_CASED + 1 if unicode else 0x10000):
        groups.setdefault(canonical(chr(code)), []).append(code)
    return {code: tuple(codes) for codes in groups.values() if len(codes) > 1 for code in codes}


def _upper(char: str) -> str:
    upper = char.upper()
    # Neither expansions (ß) nor ways from other letters into ASCII (ſ) count.
    return char if len(upper) != 1 or (upper.isascii() and not char.isascii()) else upper


def _simple_fold(char: str) -> str:
    for folded in (char.casefold(), char.lower()):
        if len(folded) == 1:
            return folded
    return char


def _merged(ranges: Ranges) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _range_text(first: int, last: int) -> str:
    if first == last:
        return char_text(first)
    return f"{char_text(first)}-{char_text(last)}" if last > first + 1 else char_text(first) + char_text(last)
