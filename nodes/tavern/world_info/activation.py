"""Deciding which entries are active: passes over the entries until nothing new wakes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum, auto
from functools import cached_property

from innkeeper.nodes.tavern.world_info.budget import Budget, budget_of
from innkeeper.nodes.tavern.world_info.candidates import Candidate, candidates_of
from innkeeper.nodes.tavern.world_info.filters import standing_reason
from innkeeper.nodes.tavern.world_info.groups import GroupContest
from innkeeper.nodes.tavern.world_info.insertion import insert
from innkeeper.nodes.tavern.world_info.key_test import KeyTest
from innkeeper.nodes.tavern.world_info.keys import JS_SPACE, Probe
from innkeeper.nodes.tavern.world_info.matching import KeyIndex, TextPool
from innkeeper.nodes.tavern.world_info.result import Activation, ActiveEntry, EntryReport, Reason
from innkeeper.nodes.tavern.world_info.scan import Scan, ScanTexts
from innkeeper.nodes.tavern.world_info.timed import TimedEffects


def activate(scan: Scan) -> Activation:
    """Which entries are active, where their texts go, and why the others are not.

    Raises:
        PatternTimeout: Three regular expressions among the keys outran their time limit.
    """
    run = _Run(scan)
    run.play()
    return run.result()


class _Pass(Enum):
    INITIAL = auto()
    RECURSION = auto()
    MIN_ACTIVATIONS = auto()


class _Run:
    """One activation under way."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._settings = scan.settings
        self._candidates = candidates_of(scan)
        entries = {candidate.key: candidate.entry for candidate in self._candidates}
        self._timed = TimedEffects(scan.timed, entries, len(scan.messages), dry_run=scan.dry_run)
        self._block()
        probes, self._changing = _keys_of(one for one in self._candidates if one.is_open)
        self._pool = _pool(scan, probes)
        self._tests = KeyTest(scan, self._pool)
        limit = budget_of(scan.settings, scan.max_context)
        self._budget = Budget(limit, scan.count_tokens, skip_refused=scan.settings.skip_on_overflow)
        self._active: list[Candidate] = []
        self._active_groups: set[str] = set()
        self._by_level = _by_level(self._candidates)
        self._levels = sorted(self._by_level)
        self._level = self._levels.pop(0) if self._levels else 0
        self._pending: list[Candidate] = []
        self._passes = 0

    def play(self) -> None:
        self._pool.scan(_widest(self._scan, self._candidates))
        kind: _Pass | None = _Pass.INITIAL if self._candidates else None
        considered = [one for one in self._candidates if one.is_open]
        while kind is not None and not 0 < self._settings.max_recursion_steps <= self._passes:
            self._passes += 1
            waking = self._play_pass(kind, considered)
            done, level, kind = kind, self._level, self._next_kind(kind, bool(waking))
            if kind is not None:
                news = self._come_into_view(kind, waking)
                is_same = done is kind or (done is _Pass.INITIAL and kind is _Pass.MIN_ACTIVATIONS)
                reached = self._by_level[self._level] if level != self._level else []
                considered = self._changed(news, reached) if is_same else self._candidates
                considered = [one for one in considered if one.is_open]

    def result(self) -> Activation:
        self._timed.start(one.key for one in self._active)
        insertion = insert(self._active, self._scan.prompt_scripts)
        return Activation(
            entries=tuple(ActiveEntry(one.book, one.entry, one.content) for one in self._active),
            report=tuple(map(_report, self._candidates)),
            timed=self._timed.to_json(),
            budget=self._budget.limit,
            budget_used=sum(one.tokens for one in self._active),
            overflowed=self._budget.overflowed,
            passes=self._passes,
            **insertion.to_fields(),
        )

    @cached_property
    def _owners(self) -> dict[Probe, list[int]]:
        owners: dict[Probe, list[int]] = {}
        for one in self._candidates:
            for key in one.all_keys:
                if isinstance(key, Probe):
                    owners.setdefault(key, []).append(one.index)
        return owners

    def _block(self) -> None:
        """Take out what cannot become active whatever its keys say."""
        resting: set[str] = set()
        if self._settings.shared_group_cooldown:
            resting.update(name for one in self._candidates if one.key in self._timed.cooldown for name in one.groups)
        for candidate in self._candidates:
            reason = standing_reason(candidate, self._scan, self._timed, frozenset(resting))
            if reason is not None:
                candidate.blocked = True
                candidate.set_reason(reason)

    # -- one pass --

    def _play_pass(self, kind: _Pass, considered: list[Candidate]) -> list[Candidate]:
        """Activate what is to be activated; gives the entries whose texts may wake others."""
        self._tests.recursion = kind is not _Pass.MIN_ACTIVATIONS
        found = [one for one in considered if self._is_candidate(one, kind)]
        found.sort(key=self._rank)
        survivors = self._survivors(found)
        for candidate in survivors:
            self._activate_if_allowed(candidate)
        self._pending = [one for one in found if one.is_open]
        return [one for one in survivors if self._wakes(one)]

    def _wakes(self, one: Candidate) -> bool:
        """Text of a refused entry still wakes others, but where entries are skipped it would do so without end."""
        if one.failed or one.entry.prevent_recursion:
            return False
        return one.active or not self._settings.skip_on_overflow

    def _is_candidate(self, one: Candidate, kind: _Pass) -> bool:
        is_sticky = self._is_sticky(one)
        waits = None if is_sticky else self._waits(one, kind)
        if waits is Reason.EXCLUDED_FROM_RECURSION and not self._tests.has_plain_match(one):
            return False
        own = waits or self._own_reason(one, is_sticky)
        if own is None:
            return self._keys_match(one)
        one.set_reason(own)
        return own in _ACTIVE_BY_ITSELF

    def _waits(self, one: Candidate, kind: _Pass) -> Reason | None:
        entry = one.entry
        if kind is not _Pass.RECURSION:
            return Reason.DELAY_UNTIL_RECURSION if entry.delay_until_recursion else None
        if entry.delay_until_recursion > self._level:
            return Reason.DELAY_UNTIL_RECURSION
        return Reason.EXCLUDED_FROM_RECURSION if entry.exclude_recursion and self._settings.recursive else None

    def _own_reason(self, one: Candidate, is_sticky: bool) -> Reason | None:
        """What decides before the keys do."""
        if one.decorators and one.activates_itself:
            return Reason.ACTIVATE_DECORATOR
        if one.decorators and one.never_activates:
            return Reason.DECORATOR
        if (one.book, one.entry.uid) in self._scan.forced:
            return Reason.FORCED
        if one.entry.constant:
            return Reason.CONSTANT
        if is_sticky:
            return Reason.STICKY
        return None if one.primary else Reason.NO_KEYS

    def _keys_match(self, one: Candidate) -> bool:
        key = self._tests.first_primary(one)
        if key is None:
            one.set_reason(Reason.NO_KEY_MATCH)
            return False
        if one.has_secondary and not self._tests.secondary_holds(one):
            one.set_reason(Reason.SECONDARY_KEYS, key)
            return False
        if one.orders is not None and not self._tests.orders_hold(one):
            one.set_reason(Reason.DECORATOR, key)
            return False
        one.set_reason(Reason.KEY, key)
        return True

    def _is_sticky(self, one: Candidate) -> bool:
        return bool(self._timed.sticky) and one.key in self._timed.sticky

    def _rank(self, one: Candidate) -> tuple[bool, bool, int]:
        is_late = self._settings.constants_first and not one.entry.constant
        return (not self._is_sticky(one), is_late, one.index)

    def _survivors(self, found: list[Candidate]) -> list[Candidate]:
        contest = GroupContest(
            tests=self._tests,
            draw=self._scan.draw,
            is_sticky=self._is_sticky,
            is_resting=lambda one: one.key in self._timed.cooldown,
            active_groups=self._active_groups,
            scoring=self._settings.use_group_scoring,
            as_sillytavern=self._scan.as_sillytavern,
        )
        return contest.survivors(found)

    def _activate_if_allowed(self, one: Candidate) -> None:
        """Activate an entry if its roll and the budget allow it."""
        entry = one.entry
        if self._budget.overflowed and not entry.ignore_budget and not self._settings.skip_on_overflow:
            one.set_reason(Reason.BUDGET)
            return
        if not self._wins_roll(one):
            one.failed = True
            return
        if not one.expanded:
            one.content = self._scan.expand(one.content)
            one.expanded = True
        fits, one.tokens = self._budget.add(one.content, ignores_budget=entry.ignore_budget)
        if fits:
            one.active = True
            self._active.append(one)
            self._active_groups.add(entry.group)
        else:
            one.set_reason(Reason.BUDGET)

    def _wins_roll(self, one: Candidate) -> bool:
        entry = one.entry
        if not entry.use_probability or entry.probability == 100 or self._is_sticky(one):
            return True
        roll = self._scan.draw() * 100
        if entry.probability is not None and roll <= entry.probability:
            return True
        one.set_reason(Reason.PROBABILITY, f"rolled {roll:.1f}, needed at most {entry.probability}")
        return False

    # -- between passes --

    def _next_kind(self, kind: _Pass, wakes: bool) -> _Pass | None:
        settings = self._settings
        has_budget = settings.skip_on_overflow or not self._budget.overflowed
        is_unread = kind is _Pass.MIN_ACTIVATIONS and self._pool.has_recursion
        if settings.recursive and has_budget and (wakes or is_unread):
            return _Pass.RECURSION
        if has_budget and self._wants_more():
            self._tests.depth += 1
            return _Pass.MIN_ACTIVATIONS
        if self._levels:
            self._level = self._levels.pop(0)
            return _Pass.RECURSION
        return None

    def _wants_more(self) -> bool:
        settings, depth = self._settings, self._tests.depth
        if len(self._active) >= settings.min_activations or depth > len(self._scan.messages):
            return False
        return not 0 < settings.min_activations_depth_max < depth

    def _come_into_view(self, kind: _Pass, waking: list[Candidate]) -> set[Probe]:
        """Widen the text for the next pass; gives the keys that occur in what is new."""
        woken = "\n".join(one.content for one in waking)
        self._budget.begin_pass(woken)
        news = self._pool.add_recursion("\n".join([*([woken] if woken else []), *_hidden_keys(waking)]))
        if kind is _Pass.MIN_ACTIVATIONS:
            self._pool.scan(self._tests.depth)
            return self._pool.occurring_at(self._tests.depth - 1)
        return news

    def _changed(self, news: set[Probe], reached: list[Candidate]) -> list[Candidate]:
        """The entries whose fate can have changed since a pass of the same kind.

        What that pass refused stays refused, unless one of its keys came into view, its keys are read anew every
        time, its level was reached, or only its group or the budget kept it out.
        """
        chosen = {one.index: one for one in (*self._changing, *self._pending, *reached)}
        chosen |= {index: self._candidates[index] for probe in news for index in self._owners[probe]}
        return [chosen[index] for index in sorted(chosen)]


_ACTIVE_BY_ITSELF = {Reason.ACTIVATE_DECORATOR, Reason.FORCED, Reason.CONSTANT, Reason.STICKY}
_HIDDEN_KEY = re.compile(r"\{\{\s*hidden_key:([^{}]*)\}\}", re.IGNORECASE)


def _hidden_keys(waking: Iterable[Candidate]) -> list[str]:
    """Texts of `{{hidden_key:...}}`: they stand for nothing in the prompt but wake other entries."""
    return [text.strip() for one in waking for text in _HIDDEN_KEY.findall(one.entry.content)]


def _by_level(candidates: list[Candidate]) -> dict[int, list[Candidate]]:
    levels: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        if candidate.entry.delay_until_recursion:
            levels.setdefault(candidate.entry.delay_until_recursion, []).append(candidate)
    return levels


def _keys_of(candidates: Iterable[Candidate]) -> tuple[set[Probe], list[Candidate]]:
    """Their plain keys, and those that have other keys: these cannot be looked up in new text alone."""
    probes: set[Probe] = set()
    changing: list[Candidate] = []
    for candidate in candidates:
        keys = candidate.all_keys
        plain = [key for key in keys if isinstance(key, Probe)]
        probes.update(plain)
        if len(plain) < len(keys):
            changing.append(candidate)
    return probes, changing


def _pool(scan: Scan, probes: Iterable[Probe]) -> TextPool:
    texts = {name: getattr(scan.texts, name) for name in ScanTexts.__dataclass_fields__}
    return TextPool(KeyIndex(probes), _lines(scan), texts, scan.injected)


def _lines(scan: Scan) -> list[str]:
    """The messages, newest first, as they are scanned."""
    named = scan.settings.include_names
    lines = [f"{one.name}: {one.text}" if named and one.name else one.text for one in reversed(scan.messages)]
    return [line.strip(JS_SPACE) for line in lines]


def _widest(scan: Scan, candidates: list[Candidate]) -> int:
    own = (one.entry.scan_depth or 0 for one in candidates if not one.blocked)
    return max(scan.settings.depth, max(own, default=0))


def _report(one: Candidate) -> EntryReport:
    tokens = one.tokens if one.active else 0
    entry = one.entry
    return EntryReport(
        one.book,
        entry.uid,
        title=entry.title,
        active=one.active,
        reason=one.reason,
        detail=one.detail,
        inserted=one.inserted,
        tokens=tokens,
    )
