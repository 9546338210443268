"""Which keys occur in which of the scanned texts.

Looking for every key of a large book in every text is slow. Each text is cut up once instead, and what it is cut into
is looked up among the keys; so the work grows with the text, not with the number of entries. A recursion pass has to
look only at the text that it adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from innkeeper.nodes.tavern.world_info.keys import Probe, words_of

MAX_SCAN_DEPTH = 1000
MARK = "\x01"
JOINER = "\n" + MARK
_GRAM = 8
_FEW = 24


class KeyIndex:
    """Plain keys, arranged for finding those that occur in a text."""

    def __init__(self, probes: Iterable[Probe]) -> None:
        """Each key may be given once only."""
        cased: list[Probe] = []
        lowered: list[Probe] = []
        for probe in probes:
            (cased if probe.case_sensitive else lowered).append(probe)
        self._cased, self._lowered = _Probes(cased), _Probes(lowered)

    def occurring(self, text: str) -> set[Probe]:
        return self._cased.occurring(text) | self._lowered.occurring(text.lower())


class _Probes:
    """Keys of one kind of case: words of their own are looked up by word, others by their first characters."""

    def __init__(self, probes: Iterable[Probe]) -> None:
        self._by_word: dict[str, Probe] = {}
        self._by_start: dict[int, dict[str, list[Probe]]] = {}
        for probe in probes:
            if probe.is_word:
                self._by_word[probe.text] = probe
            else:
                size = min(len(probe.text), _GRAM)
                self._by_start.setdefault(size, {}).setdefault(probe.text[:size], []).append(probe)

    def occurring(self, text: str) -> set[Probe]:
        found: set[Probe] = set()
        if self._by_word:
            found.update(self._by_word[word] for word in self._by_word.keys() & words_of(text))
        for size, by_start in self._by_start.items():
            for start in _starts_in(text, size, by_start):
                found.update(probe for probe in by_start[start] if probe.is_in(text))
        return found


def _starts_in(text: str, size: int, starts: dict[str, list[Probe]]) -> Iterable[str]:
    if len(starts) <= _FEW:
        return [start for start in starts if start in text]
    return starts.keys() & {text[index : index + size] for index in range(len(text) - size + 1)}


class TextPool:
    """The scanned texts of one activation: messages, texts that entries ask for, injected ones, recursion.

    Args:
        messages: Lines of the chat, newest first.
        texts: Texts by name, for the entries that ask for them.
    """

    def __init__(
        self, index: KeyIndex, messages: Sequence[str], texts: dict[str, str], injected: Sequence[str]
    ) -> None:
        self._index = index
        self._messages = messages
        self._texts = texts
        self._injected = [text for text in injected if text]
        self._recursion: list[str] = []
        self._nearest: dict[Probe, int] = {}
        self._by_place: list[set[Probe]] = []
        self._in_recursion: set[Probe] = set()
        self._whole: dict[tuple[int, tuple[str, ...], bool], str] = {}

    @property
    def has_recursion(self) -> bool:
        return bool(self._recursion)

    def scan(self, depth: int) -> None:
        """Look at the messages up to `depth`, which must be done before `has` is asked about them."""
        for place in range(len(self._by_place), min(depth, len(self._messages), MAX_SCAN_DEPTH)):
            found = self._index.occurring(self._messages[place])
            self._by_place.append(found)
            for probe in found:
                self._nearest.setdefault(probe, place)

    def occurring_at(self, place: int) -> set[Probe]:
        """The keys that occur in one message; 0 is the newest."""
        return self._by_place[place] if place < len(self._by_place) else set()

    def add_recursion(self, text: str) -> set[Probe]:
        """Add what the last pass woke; gives the keys that occur in it. An empty text is none."""
        if not text:
            return set()
        self._recursion.append(text)
        self._whole.clear()
        news = self._index.occurring(text)
        self._in_recursion |= news
        return news

    def has(self, probe: Probe, depth: int, texts: tuple[str, ...], recursion: bool) -> bool:
        """Does the key occur in the last `depth` messages, these texts, or (if asked for) in the recursion texts?"""
        if depth <= 0:
            return False
        if self._nearest.get(probe, MAX_SCAN_DEPTH) < depth or probe in self._in_injected:
            return True
        if recursion and probe in self._in_recursion:
            return True
        return any(probe in self._in_texts.get(name, ()) for name in texts)

    def whole(self, depth: int, texts: tuple[str, ...], recursion: bool) -> str:
        """The text that `has` speaks of as one text, for keys that cannot be looked up in parts."""
        key = (min(depth, MAX_SCAN_DEPTH), texts, recursion)
        if key not in self._whole:
            self._whole[key] = self._join_scanned(*key)
        return self._whole[key]

    def _join_scanned(self, depth: int, texts: tuple[str, ...], recursion: bool) -> str:
        if depth <= 0:
            return ""
        extra = [self._texts[name] for name in texts if self._texts.get(name)]
        parts = [JOINER.join(self._messages[:depth]), *extra, *self._injected, *(self._recursion if recursion else ())]
        return MARK + JOINER.join(parts)

    @cached_property
    def _in_injected(self) -> set[Probe]:
        return self._union(self._injected)

    @cached_property
    def _in_texts(self) -> dict[str, set[Probe]]:
        return {name: self._index.occurring(text) for name, text in self._texts.items()}

    def _union(self, texts: Iterable[str]) -> set[Probe]:
        return set().union(*(self._index.occurring(text) for text in texts))
