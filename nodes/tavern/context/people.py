"""Texts about the user and notes by the author, in the forms that users give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from innkeeper.nodes.tavern.context.settings import whole_number
from innkeeper.nodes.tavern.documents import kind_of
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.prompts.message import BEFORE_MAIN, IN_CHAT, IN_MAIN

IN_PROMPT, NOTE_TOP, NOTE_BOTTOM, AT_DEPTH, NOWHERE = 0, 2, 3, 4, 9
ROLES = ("system", "user", "assistant")
_PERSONA_PLACES = {
    "in_prompt": IN_PROMPT,
    "note_top": NOTE_TOP,
    "note_bottom": NOTE_BOTTOM,
    "at_depth": AT_DEPTH,
    "none": NOWHERE,
}
_NOTE_PLACES = {"in_main": IN_MAIN, "in_chat": IN_CHAT, "before_main": BEFORE_MAIN}


@dataclass(frozen=True)
class Persona:
    """The user's description and where it goes; `depth` and `role` count at depth."""

    description: str = ""
    position: int = IN_PROMPT
    depth: int = 2
    role: str = "system"


@dataclass(frozen=True)
class AuthorsNote:
    """A note for the model. It is put in every `interval`-th user message; 0 is never."""

    text: str = ""
    position: int = IN_CHAT
    depth: int = 4
    role: str = "system"
    interval: int = 1

    def is_due(self, user_messages: int) -> bool:
        return self.interval > 0 and (self.interval == 1 or (user_messages > 0 and user_messages % self.interval == 0))


def read_persona(raw: Any) -> Persona:
    """A text, or `{description, position, depth, role}`; positions by name or SillyTavern's number."""
    fields = _fields(raw, "description", "'persona'")
    return Persona(
        fields["description"],
        _read_place(fields.get("position"), _PERSONA_PLACES, IN_PROMPT, "'persona.position'"),
        _whole_or(fields.get("depth"), 2, "'persona.depth'"),
        _role(fields.get("role"), "'persona.role'"),
    )


def read_note(raw: Any) -> AuthorsNote:
    """A text, or `{text, position, depth, role, interval}`; positions by name or SillyTavern's number."""
    fields = _fields(raw, "text", "'authorsNote'")
    return AuthorsNote(
        fields["text"],
        _read_place(fields.get("position"), _NOTE_PLACES, IN_CHAT, "'authorsNote.position'"),
        depth=_whole_or(fields.get("depth"), 4, "'authorsNote.depth'"),
        role=_role(fields.get("role"), "'authorsNote.role'"),
        interval=_whole_or(fields.get("interval"), 1, "'authorsNote.interval'"),
    )


def _fields(raw: Any, key: str, place: str) -> dict[str, Any]:
    if raw is None:
        return {key: ""}
    if isinstance(raw, str):
        return {key: raw.replace("\r", "")}
    if not isinstance(raw, Mapping):
        raise FormatError(f"{place} must be a text or an object, found {kind_of(raw)}")
    text = raw.get(key)
    if text is not None and not isinstance(text, str):
        raise FormatError(f"{place}: {key!r} must be a text, found {kind_of(text)}")
    return {**raw, key: (text or "").replace("\r", "")}


def _read_place(value: Any, names: Mapping[str, int], default: int, place: str) -> int:
    if value is None:
        return default
    if isinstance(value, str) and value in names:
        return names[value]
    if isinstance(value, int) and not isinstance(value, bool) and value in names.values():
        return value
    choices = ", ".join(f"{name!r} ({number})" for name, number in names.items())
    raise FormatError(f"{place} must be one of {choices}")


def _whole_or(value: Any, default: int, place: str) -> int:
    return default if value is None else whole_number(value, place)


def _role(value: Any, place: str) -> str:
    if value is None:
        return "system"
    if value in ROLES:
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(ROLES):
        return ROLES[value]
    raise FormatError(f"{place} must be one of {', '.join(map(repr, ROLES))}")
