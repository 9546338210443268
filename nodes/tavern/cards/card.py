"""One shape for all cards, for those who build prompts of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from innkeeper.nodes.tavern.cards.shapes import fields_of
from innkeeper.nodes.tavern.documents import CodedWarning, kind_of

_TEXTS = (
    "nickname",
    "description",
    "personality",
    "scenario",
    "first_mes",
    "mes_example",
    "creator_notes",
    "system_prompt",
    "post_history_instructions",
    "creator",
    "character_version",
)
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class DepthPrompt:
    """The character's note, put `depth` messages before the end of the chat. An empty prompt is none."""

    prompt: str = ""
    depth: int = 4
    role: str = "system"


@dataclass(frozen=True)
class Card:
    """A character, whatever version its card had. Texts have no carriage returns and their macros still in them.

    Attributes:
        character_book: As it stands in the card (`read_book` takes it); None when there is none.
        regex_scripts: As they stand in the card. They are code of a stranger: ask before running them.
        world: The name of the world book that the card wants beside it.
        warnings: What was odd about the card.
    """

    name: str = ""
    nickname: str = ""
    description: str = ""
    personality: str = ""
    scenario: str = ""
    first_mes: str = ""
    mes_example: str = ""
    creator_notes: str = ""
    system_prompt: str = ""
    post_history_instructions: str = ""
    alternate_greetings: tuple[str, ...] = ()
    group_only_greetings: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    creator: str = ""
    character_version: str = ""
    extensions: Mapping[str, Any] = field(default_factory=dict)
    character_book: Mapping[str, Any] | None = None
    depth_prompt: DepthPrompt = DepthPrompt()
    regex_scripts: tuple[Any, ...] = ()
    world: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def char_name(self) -> str:
        """What `{{char}}` stands for: the nickname, else the name."""
        return self.nickname or self.name


def normalise(raw: Mapping[str, Any], file_name: str | None = None) -> Card:
    """Bring a card of any version and condition into one shape.

    Args:
        file_name: Names a character whose card does not.
    """
    fields, notes = fields_of(raw)
    warnings = list(notes)
    extensions = _object(fields, "extensions", warnings) or {}
    scripts = extensions.get("regex_scripts")
    return Card(
        name=_card_name(fields, file_name, warnings),
        **{key: _card_text(fields.get(key), key, warnings) for key in _TEXTS},
        alternate_greetings=_texts(fields, "alternate_greetings", warnings),
        group_only_greetings=_texts(fields, "group_only_greetings", warnings),
        tags=_tags(fields, warnings),
        extensions=extensions,
        character_book=_object(fields, "character_book", warnings),
        depth_prompt=_depth_prompt(extensions.get("depth_prompt")),
        regex_scripts=tuple(scripts) if isinstance(scripts, list) else (),
        world=_card_text(extensions.get("world"), "extensions.world", warnings),
        warnings=tuple(warnings),
    )


def _card_name(fields: Mapping[str, Any], file_name: str | None, warnings: list[str]) -> str:
    name = _card_text(fields.get("name"), "name", warnings)
    if name.strip():
        return name
    instead = PurePosixPath(file_name or "").stem
    called = f"; it is called {instead!r}, like its file" if instead else ""
    warnings.append(CodedWarning("card_without_name", f"the card has no name{called}"))
    return instead


def _card_text(value: Any, key: str, warnings: list[str]) -> str:
    """Text without carriage returns; null is empty, a number its digits."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("\r", "")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    warnings.append(f"{key!r} is {kind_of(value)} instead of a text and was left out")
    return ""


def _texts(fields: Mapping[str, Any], key: str, warnings: list[str]) -> tuple[str, ...]:
    """A list of texts; one text is a list of one."""
    value = fields.get(key)
    items = value if isinstance(value, list) else [] if value in (None, "") else [value]
    return tuple(_card_text(item, key, warnings) for item in items if isinstance(item, str | int | float))


def _tags(fields: Mapping[str, Any], warnings: list[str]) -> tuple[str, ...]:
    value = fields.get("tags")
    tags = value.split(",") if isinstance(value, str) else _texts(fields, "tags", warnings)
    return tuple(tag.strip() for tag in tags if tag.strip())


def _object(fields: Mapping[str, Any], key: str, warnings: list[str]) -> Mapping[str, Any] | None:
    value = fields.get(key)
    if value is None or isinstance(value, Mapping):
        return value
    warnings.append(f"{key!r} is {kind_of(value)} instead of an object and was left out")
    return None


def _depth_prompt(value: Any) -> DepthPrompt:
    if not isinstance(value, Mapping):
        return DepthPrompt()
    role = value.get("role")
    if isinstance(role, int) and not isinstance(role, bool) and 0 <= role < len(_ROLES):
        role = _ROLES[role]
    return DepthPrompt(
        _card_text(value.get("prompt"), "depth_prompt.prompt", []),
        _depth(value.get("depth")),
        role if role in _ROLES else "system",
    )


def _depth(value: Any) -> int:
    try:
        depth = int(value)
    except (TypeError, ValueError, OverflowError):
        return DepthPrompt.depth
    return depth if depth >= 0 else DepthPrompt.depth
