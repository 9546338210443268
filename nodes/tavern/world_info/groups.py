"""Inclusion groups: of the candidates that share a group, one stays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from innkeeper.nodes.tavern.environment import Draw
from innkeeper.nodes.tavern.world_info.candidates import Candidate
from innkeeper.nodes.tavern.world_info.conversion import is_index
from innkeeper.nodes.tavern.world_info.key_test import KeyTest
from innkeeper.nodes.tavern.world_info.result import Reason

Sticky = Callable[[Candidate], bool]


class GroupContest:
    """Picks the winners.

    Args:
        active_groups: The `group` fields of the entries that are active already.
        scoring: Whether groups are scored unless an entry says otherwise.
        is_resting: Whether the cooldown of an entry runs.
        as_sillytavern: An entry that is out already takes the last one that is in with it when it loses again, and a
            sticky entry is out while its cooldown runs.
    """

    def __init__(
        self,
        *,
        tests: KeyTest,
        draw: Draw,
        is_sticky: Sticky,
        is_resting: Sticky,
        active_groups: Collection[str],
        scoring: bool,
        as_sillytavern: bool = False,
    ) -> None:
        self._tests = tests
        self._draw = draw
        self._is_sticky = is_sticky
        self._is_resting = is_resting
        self._active_groups = active_groups
        self._scoring = scoring
        self._as_sillytavern = as_sillytavern
        self._left: dict[int, Candidate] = {}

    def survivors(self, candidates: list[Candidate]) -> list[Candidate]:
        """Those that no group throws out. The others get to know why."""
        self._left = {candidate.index: candidate for candidate in candidates}
        groups = _by_group(candidates)
        settled = {name for name, members in groups.items() if self._keep_sticky(name, members)}
        open_groups = {name: members for name, members in groups.items() if name not in settled}
        for name, members in open_groups.items():
            open_groups[name] = self._best_scored(name, members)
        for name, members in open_groups.items():
            self._contest(name, members)
        return list(self._left.values())

    def _keep_sticky(self, name: str, members: list[Candidate]) -> bool:
        if not any(map(self._is_sticky, members)):
            return False
        self._throw_out(name, (member for member in members if not self._is_sticky(member)))
        if self._as_sillytavern:
            self._throw_out(name, filter(self._is_resting, members))
        return True

    def _best_scored(self, name: str, members: list[Candidate]) -> list[Candidate]:
        if not self._scoring and not any(member.entry.use_group_scoring for member in members):
            return members
        scores = [self._tests.score(member) for member in members]
        best = max(scores)
        worse = [
            member for member, score in zip(members, scores, strict=True) if score < best and self._is_scored(member)
        ]
        self._throw_out(name, worse)
        return [member for member in members if member not in worse]

    def _is_scored(self, member: Candidate) -> bool:
        chosen = member.entry.use_group_scoring
        return self._scoring if chosen is None else chosen

    def _contest(self, name: str, members: list[Candidate]) -> None:
        if name in self._active_groups:
            self._throw_out(name, members)
        elif len(members) > 1:
            winner = self._winner(members)
            if winner is not None:
                self._throw_out(name, (member for member in members if member is not winner))

    def _winner(self, members: list[Candidate]) -> Candidate | None:
        privileged = [member for member in members if member.entry.group_override]
        if privileged:
            return max(privileged, key=lambda member: member.entry.order)
        roll = self._draw() * sum(member.entry.group_weight for member in members)
        reached: float = 0
        for member in members:
            reached += member.entry.group_weight
            if roll <= reached:
                return member
        return None

    def _throw_out(self, name: str, members: Iterable[Candidate]) -> None:
        for member in members:
            loser = self._left.pop(member.index, None)
            if loser is None and self._as_sillytavern and self._left:
                loser = self._left.popitem()[1]
            (loser or member).set_reason(Reason.GROUP, name)


def _by_group(candidates: list[Candidate]) -> dict[str, list[Candidate]]:
    """Groups in the order of JavaScript: names that are numbers ascending, then others as they come."""
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        for name in candidate.groups:
            groups.setdefault(name, []).append(candidate)
    numbers = sorted((name for name in groups if is_index(name)), key=int)
    return {name: groups[name] for name in (*numbers, *(name for name in groups if not is_index(name)))}
