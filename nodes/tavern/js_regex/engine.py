"""Compiled patterns with time limits: `JsRegexes` by the `regex` package."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import regex

from innkeeper.nodes.tavern.environment import BadPattern, JsMatch, JsPattern, JsRegexes, PatternTimeout
from innkeeper.nodes.tavern.js_regex.translate import Translated, translate
from innkeeper.nodes.tavern.js_regex.units import is_wide, narrow, pair_ends, widen

MAX_CACHED = 20_000
_MAX_COMPILED = 4_000
_MAX_TEXTS = 16


def engine(limit_s: float = 1.0, total_s: float = 8.0) -> JsRegexes:
    """Patterns that may take `limit_s` per text and `total_s` together, over the life of the engine.

    Limits are looked at now and then while matching: expect them to be passed by some tenths of a second. Make one
    engine per call of a node, so that the total belongs to it.
    """
    return _Engine(limit_s, total_s)


class _Engine:
    def __init__(self, limit_s: float, total_s: float) -> None:
        self._limit_s = limit_s
        self._left_s = total_s
        self._known: OrderedDict[tuple[str, str], _Pattern | BadPattern] = OrderedDict()
        self._compiled: OrderedDict[str, Any] = OrderedDict()
        self._texts: OrderedDict[str, str] = OrderedDict()

    def compile(self, source: str, flags: str = "") -> JsPattern:
        key = (source, flags)
        if key not in self._known:
            _make_room(self._known, MAX_CACHED)
            self._known[key] = self._translated(source, flags)
        found = self._known[key]
        if isinstance(found, BadPattern):
            raise BadPattern(found.message, details=found.details)
        return found

    def _translated(self, source: str, flags: str) -> _Pattern | BadPattern:
        try:
            return _Pattern(translate(source, flags), self)
        except BadPattern as error:
            return error

    def compiled(self, text: str) -> Any:
        """Compiled when it is first used: that costs more than translating, and most patterns of a book rest."""
        if text not in self._compiled:
            _make_room(self._compiled, _MAX_COMPILED)
            try:
                self._compiled[text] = regex.compile(text, regex.V0, cache_pattern=False)
            except (regex.error, RecursionError, OverflowError):
                raise BadPattern("the pattern is too large or too deep to be compiled") from None
        return self._compiled[text]

    def subject(self, text: str, *, wide: bool) -> str:
        """The text as a pattern counts it; asked for thousands of patterns, so the last texts are kept."""
        if not wide or text.isascii():
            return text
        if text not in self._texts:
            _make_room(self._texts, _MAX_TEXTS)
            self._texts[text] = widen(text) if is_wide(text) else text
        return self._texts[text]

    def clock(self) -> _Clock:
        return _Clock(self._limit_s, self._left_s, self._spend)

    def _spend(self, seconds: float) -> None:
        self._left_s -= seconds


class _Clock:
    """The time of one pattern on one text. It stands still between `pause` and `go`."""

    def __init__(self, limit_s: float, left_s: float, spend: Callable[[float], None]) -> None:
        self._budget_s = min(limit_s, left_s)
        self._is_total = left_s < limit_s
        self._spend = spend
        self._used_s = 0.0
        self._since = time.monotonic()

    def go(self) -> None:
        self._since = time.monotonic()

    def pause(self) -> None:
        seconds = time.monotonic() - self._since
        self._used_s += seconds
        self._spend(seconds)

    def left_s(self) -> float:
        """Raises PatternTimeout when there is none."""
        left = self._budget_s - self._used_s - (time.monotonic() - self._since)
        if left <= 0:
            raise self.timeout()
        return left

    def timeout(self) -> PatternTimeout:
        seconds = round(self._used_s + time.monotonic() - self._since, 3)
        which = "what was left for all patterns together" if self._is_total else "its limit"
        return PatternTimeout(
            f"a regular expression ran for {seconds:g} s, longer than {which}", details={"seconds": seconds}
        )


class _Pattern:
    def __init__(self, translated: Translated, engine: _Engine) -> None:
        self._translated = translated
        self._engine = engine

    def test(self, text: str) -> bool:
        clock = self._engine.clock()
        try:
            subject = self._engine.subject(text, wide=self._translated.is_wide)
            return self._find(clock, subject, 0) is not None
        finally:
            clock.pause()

    def replace(self, text: str, replacement: Callable[[JsMatch], str]) -> str:
        clock = self._engine.clock()
        try:
            return self._replaced(text, replacement, clock)
        finally:
            clock.pause()

    def _replaced(self, text: str, replacement: Callable[[JsMatch], str], clock: _Clock) -> str:
        subject = self._engine.subject(text, wide=self._translated.is_wide)
        wide = len(subject) != len(text)
        parts: list[str] = []
        end = 0
        # A pair counts once for who reads the index.
        second_units = pair_ends(subject) if wide else []
        for found in self._matches(clock, subject):
            match = self._match(found, second_units)
            clock.pause()
            new = replacement(match)
            clock.go()
            parts += (subject[end : found.start()], widen(new) if wide else new)
            end = found.end()
        if not parts:
            return text
        parts.append(subject[end:])
        whole = "".join(parts)
        # Half a character that stays alone could not be stored: it becomes U+FFFD, as when JavaScript writes UTF-8.
        return whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") if wide else whole

    def _matches(self, clock: _Clock, subject: str) -> Iterator[Any]:
        position: int | None = 0
        while position is not None and position <= len(subject):
            position = yield from self._matches_from(clock, subject, position)

    def _matches_from(self, clock: _Clock, subject: str, position: int) -> Generator[Any, None, int | None]:
        """Matches up to the first empty one; gives where to go on, None for nowhere."""
        for found in self._matches_of(clock, subject, position):
            yield found
            if not self._translated.is_global:
                return None
            # JavaScript steps on behind an empty match; an iterator of `regex` would try the same place again.
            if found.start() == found.end():
                return int(found.end()) + 1
        return None

    def _matches_of(self, clock: _Clock, subject: str, position: int) -> Iterator[Any]:
        """Matches one after the other; with flag y without gaps."""
        if not self._translated.is_global:
            found = self._find(clock, subject, position)
            yield from () if found is None else (found,)
        elif self._translated.is_sticky:
            while (found := self._find(clock, subject, position)) is not None:
                yield found
                position = found.end()
        else:
            pattern = self._engine.compiled(self._translated.text)
            with _limited(clock):
                # The time limit of `regex` is for each step; the clock is for all of them.
                for found in pattern.finditer(subject, position, timeout=clock.left_s(), concurrent=True):
                    yield found
                    clock.left_s()

    def _find(self, clock: _Clock, subject: str, position: int) -> Any:
        pattern = self._engine.compiled(self._translated.text)
        find = pattern.match if self._translated.is_sticky else pattern.search
        with _limited(clock):
            return find(subject, position, timeout=clock.left_s(), concurrent=True)

    def _match(self, found: Any, second_units: Sequence[int]) -> JsMatch:
        groups = (found.group(), *found.groups())
        if second_units:
            groups = tuple(None if group is None else narrow(group) for group in groups)
        names = {name: groups[number] for name, number in self._translated.names.items()}
        return JsMatch(groups, found.start() - bisect_left(second_units, found.start()), names)


@contextmanager
def _limited(clock: _Clock) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise clock.timeout() from None
    except MemoryError:
        raise PatternTimeout("a regular expression needed more memory than there is") from None


def _make_room(cache: OrderedDict[Any, Any], size: int) -> None:
    if len(cache) >= size:
        cache.popitem(last=False)
