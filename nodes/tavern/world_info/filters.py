"""What keeps an entry out whatever its keys say."""

from __future__ import annotations

from innkeeper.nodes.tavern.world_info.candidates import Candidate
from innkeeper.nodes.tavern.world_info.entry import CharacterFilter, Entry
from innkeeper.nodes.tavern.world_info.result import Reason
from innkeeper.nodes.tavern.world_info.scan import Scan
from innkeeper.nodes.tavern.world_info.timed import TimedEffects


def standing_reason(candidate: Candidate, scan: Scan, timed: TimedEffects, resting: frozenset[str]) -> Reason | None:
    """Why the entry cannot become active in this activation; None when it can.

    `resting` holds the groups that share the cooldown of a member.
    """
    entry = candidate.entry
    if entry.disabled:
        return Reason.DISABLED
    if entry.triggers and scan.trigger not in entry.triggers:
        return Reason.TRIGGER
    if entry.character_filter is not None and _is_filtered(entry.character_filter, scan):
        return Reason.CHARACTER_FILTER
    if candidate.orders is not None and not candidate.orders.allow(_assistant_messages(scan)):
        return Reason.DECORATOR
    return _timed_reason(entry, candidate, timed, resting)


def _timed_reason(entry: Entry, candidate: Candidate, timed: TimedEffects, resting: frozenset[str]) -> Reason | None:
    if timed.is_delayed(entry):
        return Reason.DELAY
    if timed.sticky and candidate.key in timed.sticky:
        return None
    if timed.cooldown and candidate.key in timed.cooldown:
        return Reason.COOLDOWN
    return Reason.COOLDOWN if resting and not resting.isdisjoint(candidate.groups) else None


def _is_filtered(character: CharacterFilter, scan: Scan) -> bool:
    if character.names and (scan.character_file in character.names) == character.is_exclude:
        return True
    if not character.tags or scan.character_tags is None:
        return False
    return (not set(character.tags).isdisjoint(scan.character_tags)) == character.is_exclude


def _assistant_messages(scan: Scan) -> int:
    return sum(message.role == "assistant" for message in scan.messages)
