"""Testing the keys of an entry on what it may see."""

from __future__ import annotations

from innkeeper.nodes.tavern.environment import JsPattern, PatternTimeout
from innkeeper.nodes.tavern.world_info.candidates import Candidate, Key, SlowKey, matching_of, ready_key
from innkeeper.nodes.tavern.world_info.entry import Entry, Logic
from innkeeper.nodes.tavern.world_info.keys import Probe, parse_key
from innkeeper.nodes.tavern.world_info.matching import TextPool
from innkeeper.nodes.tavern.world_info.scan import Scan

MAX_TIMEOUTS = 3


class KeyTest:
    """Decides whether keys match.

    A regular expression that outruns its time limit matches nothing for the rest of the activation; the third one
    ends the activation.

    Attributes:
        depth: Messages that an entry without a depth of its own sees.
        recursion: Whether texts of other entries are seen.
    """

    def __init__(self, scan: Scan, pool: TextPool) -> None:
        self._scan = scan
        self._pool = pool
        self._dead: set[str] = set()
        self.depth = scan.settings.depth
        self.recursion = True

    def first_primary(self, candidate: Candidate) -> str | None:
        """The first primary key that matches."""
        for place, key in enumerate(candidate.primary):
            if self.matches(key, candidate):
                return candidate.entry.keys[place]
        return None

    def has_plain_match(self, candidate: Candidate) -> bool:
        """Would a key match that can be looked up at no cost?"""
        return any(isinstance(key, Probe) and self.matches(key, candidate) for key in candidate.primary)

    def secondary_holds(self, candidate: Candidate) -> bool:
        """Do the secondary keys allow it? Stops at the first key that decides."""
        logic = candidate.logic
        found = (self.matches(key, candidate) for key in candidate.secondary)
        if logic == Logic.AND_ANY:
            return any(found)
        if logic == Logic.NOT_ALL:
            return not all(found)
        if logic == Logic.NOT_ANY:
            return not any(list(found))
        return logic == Logic.AND_ALL and all(list(found))

    def orders_hold(self, candidate: Candidate) -> bool:
        """Do the further keys of its V3 decorators allow it?"""
        if any(self.matches(key, candidate) for key in candidate.excluded):
            return False
        return all(any(self.matches(key, candidate) for key in keys) for keys in candidate.additional)

    def score(self, candidate: Candidate) -> int:
        """How well the keys match, for the contest inside a group."""
        entry = candidate.entry
        primary = self._count_matches(candidate, candidate.primary, entry.keys)
        if not candidate.primary or not candidate.secondary:
            return primary
        secondary = self._count_matches(candidate, candidate.secondary, entry.secondary_keys)
        if candidate.logic == Logic.AND_ANY:
            return primary + secondary
        if candidate.logic == Logic.AND_ALL and secondary == len(candidate.secondary):
            return primary + secondary
        return primary

    def _count_matches(self, candidate: Candidate, keys: tuple[Key, ...], texts: tuple[str, ...]) -> int:
        if self._scan.as_sillytavern:
            return sum([self._matches_as_written(text, candidate.entry) for text in texts])
        return sum([self.matches(key, candidate) for key in keys])

    def _matches_as_written(self, key: str, entry: Entry) -> bool:
        if not self._scanned_text(entry):
            return False
        return not key or self._matches_whole(SlowKey(key, is_regex=True), entry)

    def matches(self, key: Key, candidate: Candidate) -> bool:
        entry = candidate.entry
        if isinstance(key, Probe):
            depth = self.depth if entry.scan_depth is None else entry.scan_depth
            return self._pool.has(key, depth, entry.scan_texts, self.recursion)
        if key.dynamic:
            expanded = self._scan.expand(key.text)
            return self._matches_whole(
                ready_key(expanded, *matching_of(entry, self._scan.settings), expanded=True), entry
            )
        return self._matches_whole(key, entry)

    def _matches_whole(self, key: Key, entry: Entry) -> bool:
        """Test a key on the whole text at once."""
        if not key.text or key.text in self._dead:
            return False
        text = self._scanned_text(entry)
        if isinstance(key, SlowKey) and key.is_regex:
            key.pattern = key.pattern or parse_key(key.text, self._scan.regexes)
            if key.pattern is not None:
                return self._test(key.pattern, key.text, text)
            key.is_regex = False
        probe = key if isinstance(key, Probe) else Probe.of(key.text, *matching_of(entry, self._scan.settings))
        return probe.is_in(text if probe.case_sensitive else text.lower())

    def _scanned_text(self, entry: Entry) -> str:
        depth = self.depth if entry.scan_depth is None else entry.scan_depth
        return self._pool.whole(depth, entry.scan_texts, self.recursion)

    def _test(self, pattern: JsPattern, key: str, text: str) -> bool:
        try:
            return pattern.test(text)
        except PatternTimeout:
            self._dead.add(key)
            if len(self._dead) >= MAX_TIMEOUTS:
                raise
            return False
