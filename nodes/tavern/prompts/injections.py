"""Prompts and notes that stand inside the chat, counted from its end (reference presets 4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeVar

from innkeeper.nodes.tavern.environment import Expand
from innkeeper.nodes.tavern.prompts.message import IN_CHAT, Note

T = TypeVar("T")

NOTE_ORDER = 100
"""Notes share this place among in-chat prompts of one depth."""
_ROLES = ("assistant", "user", "system")
"""From the oldest to the newest inside one order value: system stands nearest the end."""


@dataclass(frozen=True)
class InChat:
    """A prompt of the preset with its place in the chat; its macros are replaced."""

    identifier: str
    text: str
    role: str
    depth: int
    order: float = NOTE_ORDER


@dataclass(frozen=True)
class Injection:
    """One message to be put before the `depth` newest messages. `sources` tells whose texts were joined."""

    role: str
    text: str
    depth: int
    sources: tuple[str, ...]


def injections(prompts: Iterable[InChat], notes: Iterable[Note], expand: Expand) -> list[Injection]:
    """All in-chat messages, by depth from 0 up; those of one depth from the oldest to the newest."""
    texts = _by_place(prompts, notes)
    found: list[Injection] = []
    for _, places in groupby(sorted(texts, key=_nearest_end), key=lambda place: place[0]):
        # Macros are replaced in the order in which SillyTavern does it: from the end of the chat backwards.
        block = [_joined_injection(place, texts[place], expand) for place in places]
        found += [injection for injection in reversed(block) if injection.text]
    return found


def merged(chat: Sequence[T], injected: Mapping[int, Sequence[T]]) -> list[T]:
    """`chat`, oldest first, with each block before its depth's newest messages; too deep is before the oldest."""
    result: list[T] = []
    blocks = sorted(injected, reverse=True)
    for left in range(len(chat), -1, -1):
        while blocks and (blocks[0] >= left if left == len(chat) else blocks[0] == left):
            result += injected[blocks.pop(0)]
        if left:
            result.append(chat[len(chat) - left])
    return result


_Place = tuple[int, float, str]


def _nearest_end(place: _Place) -> tuple[int, float, int]:
    return place[0], -place[1], -_ROLES.index(place[2])


@dataclass
class _Texts:
    prompts: list[InChat]
    notes: list[Note]


def _by_place(prompts: Iterable[InChat], notes: Iterable[Note]) -> dict[_Place, _Texts]:
    places: dict[_Place, _Texts] = {}
    for prompt in prompts:
        if prompt.text:
            place = (prompt.depth, prompt.order, prompt.role)
            places.setdefault(place, _Texts([], [])).prompts.append(prompt)
    for note in sorted(notes, key=lambda note: note.key):
        if note.text and note.position == IN_CHAT:
            note_place = (max(0, note.depth), float(NOTE_ORDER), note.role)
            places.setdefault(note_place, _Texts([], [])).notes.append(note)
    return places


def _joined_injection(place: _Place, texts: _Texts, expand: Expand) -> Injection:
    own = "\n".join(prompt.text for prompt in texts.prompts).strip()
    # A note is trimmed before its macros are replaced: space beside a macro that gives nothing stays.
    notes = "\n".join(replace(note, text=note.text.strip()).expanded(expand) for note in texts.notes).strip()
    sources = [prompt.identifier for prompt in texts.prompts] + [note.source or note.key for note in texts.notes]
    return Injection(place[2], "\n".join(text for text in (own, notes) if text), place[0], tuple(sources))
