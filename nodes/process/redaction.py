"""Masks keys, tokens and passwords in text that leaves a process: log lines, and values shown in error messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

MASK = "***"
MIN_ENVIRONMENT_SECRET_CHARS = 8
"""A shorter value of another program's variable is more likely a word than a key; masking it would spoil many lines."""

MAX_LEARNED = 300
"""Each costs a search in every line of the log."""
_SHORT_CHARS = 64

# What keys and tokens follow in URLs, headers and JSON.
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+"), r"\1 " + MASK),
    (re.compile(r"\b(sk|pk|rk)-[A-Za-z0-9_-]{6,}"), MASK),
    (re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"), MASK),
    (
        re.compile(
            r"""(?i)(["']?(?:api[_-]?key|access[_-]?token|token|secret|password|authorization)["']?\s*[=:]\s*)"""
            r"""(["']?)[^\s"'&,}]+"""
        ),
        r"\1\2" + MASK,
    ),
)
# Every match of the patterns holds one of these: most texts hold none, and asking that is much cheaper.
_SIGNS = ("bearer", "basic", "sk-", "pk-", "rk-", "key", "token", "secret", "password", "authorization", "://")
_SECRET_KEY = re.compile(r"(?i)(^|[_-])(api[_-]?key|token|secret|passw(or)?d|authorization|cookie|secret[_-]?key)$")
_SECRET_VARIABLE = re.compile(r"(?i)(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD)$")


class Redactor:
    """Masks what looks like a secret, and every `known` secret wherever it stands, also escaped (`repr`, JSON).

    Attributes:
        longest: Number of characters of the longest known secret; who cuts a text must not cut a secret in two.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._first = frozenset(form for value in known if value for form in _escaped(value))
        # Used as an ordered set: the last learned is at the end.
        self._learned: dict[str, None] = {}
        self._set_known()

    def learn(self, values: Iterable[str]) -> None:
        """Mask further values from here on: of all that were learned so, the last MAX_LEARNED. Safe in any thread."""
        learned = dict(self._learned)
        for form in (form for value in values if value for form in _escaped(value)):
            learned.pop(form, None)
            learned[form] = None
        is_known = learned.keys() <= self._learned.keys()
        self._learned = dict(list(learned.items())[-MAX_LEARNED:])
        if not is_known:
            self._set_known()

    def _set_known(self) -> None:
        # The longest first: one secret may be the beginning of another one.
        self._known = tuple(sorted({*self._first, *self._learned}, key=len, reverse=True))
        self.longest = len(self._known[0]) if self._known else 0
        # Names of loggers, fields and nodes come again and again.
        self._remembered = lru_cache(maxsize=2_000)(self._redacted)

    def __call__(self, text: str) -> str:
        return self._remembered(text) if len(text) <= _SHORT_CHARS else self._redacted(text)

    def _redacted(self, text: str) -> str:
        for value in self._known:
            if value in text:
                text = text.replace(value, MASK)
        folded = text.casefold()
        for sign in _SIGNS:  # a plain loop: half the time of any()
            if sign in folded:
                return _masked(text)
        return text


def _escaped(value: str) -> set[str]:
    return {value, repr(value)[1:-1], json.dumps(value)[1:-1]}


def _masked(text: str) -> str:
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=1_000)
def names_a_secret(key: str) -> bool:
    """Whether a value under this key is a secret whatever it looks like: `api_key`, `X-Token`, `password`."""
    return _SECRET_KEY.search(key) is not None


def secrets_of(environ: Mapping[str, str]) -> frozenset[str]:
    """Values of an environment that must not be logged: ours, and whatever others call a key, token or password."""
    return frozenset(
        value
        for name, value in environ.items()
        if _SECRET_VARIABLE.search(name)
        and value
        and (name.startswith("INNKEEPER_") or len(value) >= MIN_ENVIRONMENT_SECRET_CHARS)
    )
