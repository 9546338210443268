"""What a chat file holds for the prompt beside its messages: variables, note, timed effects, names, overrides."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from innkeeper.nodes.tavern.cards import Card
from innkeeper.nodes.tavern.context.people import AuthorsNote, read_note
from innkeeper.nodes.tavern.documents import CodedWarning
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.history import ChatLog, ChatMessage, sent_at
from innkeeper.nodes.tavern.history.log import idle_line

_NOTE_FIELDS = {
    "text": "note_prompt",
    "position": "note_position",
    "depth": "note_depth",
    "role": "note_role",
    "interval": "note_interval",
}
_CARD_FIELDS = ("scenario", "system_prompt", "mes_example")


def with_overrides(card: Card, log: ChatLog) -> Card:
    """The card with the texts that this chat has instead, and with the name that the chat knows when it has none."""
    texts = {key: log.metadata.get(key) for key in _CARD_FIELDS}
    changed: dict[str, Any] = {
        key: text.replace("\r", "") for key, text in texts.items() if isinstance(text, str) and text
    }
    if not card.name and log.character_name:
        changed["name"] = log.character_name
    return replace(card, **changed) if changed else card


def note_of(log: ChatLog, warnings: list[str]) -> AuthorsNote:
    """The author's note that the chat keeps; an empty one when it has none."""
    fields = {name: log.metadata[key] for name, key in _NOTE_FIELDS.items() if log.metadata.get(key) is not None}
    if not fields.get("text"):
        return AuthorsNote()
    try:
        return read_note(fields)
    except FormatError as error:
        told = f"the author's note of the chat is not used: {error.message}"
        warnings.append(CodedWarning("note_not_used", told))
        return AuthorsNote()


def state_of(log: ChatLog, book_names: Collection[str]) -> dict[str, Any]:
    """Variables and timed effects of the chat, in the form of a `chatState`."""
    variables, timed = log.metadata.get("variables"), log.metadata.get("timedWorldInfo")
    return {
        "variables": variables if isinstance(variables, Mapping) else {},
        "timed": _timed(timed, book_names) if isinstance(timed, Mapping) else {},
    }


def _timed(timed: Mapping[str, Any], book_names: Collection[str]) -> dict[str, Any]:
    """SillyTavern names a book by its file, which no book itself knows; with one book in use there is no doubt."""
    only = next(iter(book_names)) if len(book_names) == 1 else ""

    def renamed(key: str) -> str:
        name, _, uid = str(key).rpartition(".")
        return f"{only}.{uid}" if only and name not in book_names else str(key)

    return {
        kind: {renamed(key): effect for key, effect in effects.items()}
        for kind, effects in timed.items()
        if isinstance(effects, Mapping)
    }


def chat_book_warning(log: ChatLog) -> list[str]:
    """A chat only names its book; somebody must load it."""
    name = log.metadata.get("world_info")
    if not isinstance(name, str) or not name:
        return []
    told = f"the chat has the world book {name!r}; to use it, give it as 'worldBookData'"
    return [CodedWarning("chat_book_not_given", told)]


def first_included(log: ChatLog) -> int | None:
    place = log.metadata.get("lastInContextMessageId")
    return place if isinstance(place, int) and not isinstance(place, bool) else None


def last_time(messages: Sequence[ChatMessage]) -> datetime | None:
    """When the user wrote the message since which they are idle."""
    place = idle_line(messages)
    return None if place is None else sent_at(messages[place].extra.get("send_date"))
