"""What macros know: names, card, chat, clock, chance and variables; all of it given, nothing looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from innkeeper.nodes.tavern.environment import Draw, FormatError

Variables = dict[str, Any]
"""Variables by name: text as set by a macro, numbers as counted by one, whatever else an import brought."""

Outlets = Mapping[str, str] | Callable[[str], str]


class MacroLimit(FormatError):
    """A text whose macros go deeper, grow larger or are more than the limits allow."""

    code = "macro_limit"


@dataclass(frozen=True)
class MacroLimits:
    """Bounds of one expansion.

    Attributes:
        depth: How deep macros may stand in macros, card fields in card fields included.
        output: Characters that a text, an argument or a variable may reach.
        evaluations: Macros evaluated in one text.
    """

    depth: int = 50
    output: int = 16_000_000
    evaluations: int = 100_000


@dataclass(frozen=True)
class CardFields:
    """The texts of a character card, as the card has them: macros in them are expanded at use."""

    description: str = ""
    personality: str = ""
    scenario: str = ""
    first_mes: str = ""
    alternate_greetings: tuple[str, ...] = ()
    mes_example: str = ""
    system_prompt: str = ""
    post_history_instructions: str = ""
    depth_prompt: str = ""
    creator_notes: str = ""
    character_version: str = ""


@dataclass(frozen=True)
class MacroMessage:
    """A chat message as macros see it. `swipe` is the chosen alternative, counted from 0."""

    text: str
    is_user: bool = False
    is_system: bool = False
    swipes: int = 0
    swipe: int = 0


@dataclass(frozen=True)
class Chat:
    """The chat, oldest message first.

    Attributes:
        first_included: Index of the oldest message that reached the last prompt, when known.
        last_time: When the user last wrote, when known (for `{{idle_duration}}`).
    """

    messages: tuple[MacroMessage, ...] = ()
    first_included: int | None = None
    last_time: datetime | None = None


def _never() -> float:
    return 0.0


@dataclass(frozen=True)
class MacroEnvironment:
    """All that the macros of one prompt are made from.

    `local` and `global_` are changed by macros that set variables; read them afterwards.

    Attributes:
        user: Name of the persona, `{{user}}`.
        char: Name of the character, `{{char}}`: the card's nickname where it has one.
        character: The character's own name, by which a group knows it; '' when it is `char`.
        authors_note: Text of the note, macros not replaced.
        persona: Text about the user.
        group: Names of all members of a group chat; empty in a chat with one character.
        group_muted: Those of them that do not speak.
        input: What the user has typed.
        generation_type: Kind of the last generation: normal, continue, swipe ...
        now: The time, aware of its zone.
        timezone: IANA name that `now` is shown in; '' keeps the zone that `now` has.
        draw: Source of chance for `{{random}}` and `{{roll}}`.
        pick_seed: Makes `{{pick}}` stable within one chat and different between chats.
        outlets: Texts of `{{outlet::name}}`: a mapping, read at use, or a function.
        extra: Further macros without arguments, by name.
    """

    user: str = "User"
    char: str = ""
    character: str = ""
    authors_note: str = ""
    persona: str = ""
    group: tuple[str, ...] = ()
    group_muted: tuple[str, ...] = ()
    card: CardFields = CardFields()
    chat: Chat = Chat()
    input: str = ""
    generation_type: str = ""
    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    timezone: str = ""
    draw: Draw = _never
    pick_seed: str = ""
    model: str = ""
    max_prompt: int | None = None
    max_context: int | None = None
    max_response: int | None = None
    outlets: Outlets = field(default_factory=dict)
    local: Variables = field(default_factory=dict)
    global_: Variables = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    limits: MacroLimits = MacroLimits()

    def __post_init__(self) -> None:
        if self.now.tzinfo is None:
            raise ValueError("the clock of macros must know its zone")

    def outlet(self, name: str) -> str:
        """Text of an outlet, '' when there is none."""
        return self.outlets(name) if callable(self.outlets) else self.outlets.get(name, "")
