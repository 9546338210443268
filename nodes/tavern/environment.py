"""What the functions of this package are given instead of reaching for it: randomness, tokens, regexes, macros."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from innkeeper.nodes.errors import NodeError, NodeInputError

Draw = Callable[[], float]
"""A random number, 0 <= number < 1."""

CountTokens = Callable[[str], int]


class Expand(Protocol):
    """Replaces the macros of a text. `original` is the text that an override replaces (`{{original}}`)."""

    def __call__(self, text: str, *, original: str | None = None) -> str: ...


@dataclass(frozen=True)
class JsMatch:
    """One match. `groups[0]` is the whole match; a group that took no part is None. `index` counts characters."""

    groups: tuple[str | None, ...]
    index: int = 0
    named: Mapping[str, str | None] = field(default_factory=dict)


class JsPattern(Protocol):
    """A compiled JavaScript regular expression.

    Both methods raise PatternTimeout when the pattern outruns its limit.
    """

    def test(self, text: str) -> bool:
        """Does it match anywhere?"""

    def replace(self, text: str, replacement: Callable[[JsMatch], str]) -> str:
        """Replace the first match, every match with flag `g`."""


class JsRegexes(Protocol):
    def compile(self, source: str, flags: str = "") -> JsPattern:
        """A pattern with flags of `dgimsuvy`, cached. Raises BadPattern when JavaScript would refuse it."""


class FormatError(NodeInputError):
    """A file or value is not what it should be. The message says what was found and where; no content of it."""

    code = "invalid_format"


class BadPattern(NodeInputError):
    """A regular expression that JavaScript would refuse."""

    code = "bad_pattern"


class PatternTimeout(NodeError):
    """A regular expression that outran its time limit; it would again."""

    code = "pattern_timeout"
    retryable = False
