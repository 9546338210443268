"""What an activation gives: the texts by place, and one record per entry that says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from innkeeper.nodes.tavern.world_info.entry import Entry

ROLE_NAMES = {0: "system", 1: "user", 2: "assistant"}


class Reason(StrEnum):
    """Why an entry is active (the first five), or why not."""

    KEY = "key"
    CONSTANT = "constant"
    STICKY = "sticky"
    FORCED = "forced"
    ACTIVATE_DECORATOR = "activate_decorator"

    DISABLED = "disabled"
    TRIGGER = "trigger"
    CHARACTER_FILTER = "character_filter"
    DELAY = "delay"
    COOLDOWN = "cooldown"
    DELAY_UNTIL_RECURSION = "delay_until_recursion"
    EXCLUDED_FROM_RECURSION = "excluded_from_recursion"
    DECORATOR = "decorator"
    NO_KEYS = "no_keys"
    NO_KEY_MATCH = "no_key_match"
    SECONDARY_KEYS = "secondary_keys"
    GROUP = "group"
    PROBABILITY = "probability"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class EntryReport:
    """What became of one entry.

    Attributes:
        detail: What the reason is about: the key that matched, the group, the roll; "" when there is nothing to add.
        inserted: Its text stands in the prompt. An active entry without text, or with a position that does not
            exist, is not inserted.
        tokens: Tokens of its expanded text; 0 when it is not active.
    """

    book: str
    uid: int
    title: str
    active: bool
    reason: Reason
    detail: str = ""
    inserted: bool = False
    tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "book": self.book,
            "uid": self.uid,
            "title": self.title,
            "active": self.active,
            "reason": self.reason.value,
        }
        if self.detail:
            data["detail"] = self.detail
        if self.active:
            data |= {"inserted": self.inserted, "tokens": self.tokens}
        return data


@dataclass(frozen=True, slots=True)
class ActiveEntry:
    """An entry that is active. `content` is its text without decorators, macros expanded, before regex scripts."""

    book: str
    entry: Entry
    content: str


@dataclass(frozen=True, slots=True)
class DepthGroup:
    """Texts for one place in the chat: `depth` messages from its end, as one message of `role`.

    `depth_missing` marks entries that name no depth, in books read as SillyTavern reads them; `depth` is 4 then.
    """

    depth: int
    role: int
    entries: tuple[str, ...]
    depth_missing: bool = False

    @property
    def text(self) -> str:
        return "\n".join(self.entries)

    @property
    def role_name(self) -> str:
        return ROLE_NAMES.get(self.role, "system")


@dataclass(frozen=True, slots=True)
class Example:
    """Example dialogue, to be parsed like a card's. `top` goes before the card's examples, else after them."""

    top: bool
    content: str


@dataclass(frozen=True)
class Activation:
    """The outcome of one activation.

    Attributes:
        entries: Active entries, in the order in which they became active.
        before, after: Texts for `worldInfoBefore` and `worldInfoAfter`, before the preset's `wi_format`.
        note_top, note_bottom: Lines before and after the author's note; lost when the note is not inserted.
        depth: One group per depth and role.
        examples: In ascending order. Top ones are each put in front in this order, bottom ones appended.
        outlets: Texts by name for `{{outlet::name}}`, in descending order.
        report: One record per entry of every book in use, in candidate order.
        timed: State of the timed effects for the next turn, as JSON.
        budget_used: Tokens of all active texts. `ignoreBudget` entries can lift it above `budget`.
        overflowed: An entry was refused for want of budget.
    """

    entries: tuple[ActiveEntry, ...] = ()
    before: str = ""
    after: str = ""
    note_top: tuple[str, ...] = ()
    note_bottom: tuple[str, ...] = ()
    depth: tuple[DepthGroup, ...] = ()
    examples: tuple[Example, ...] = ()
    outlets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    report: tuple[EntryReport, ...] = ()
    timed: Mapping[str, Any] = field(default_factory=dict)
    budget: int = 0
    budget_used: int = 0
    overflowed: bool = False
    passes: int = 0

    def outlet(self, name: str) -> str:
        """The text of an outlet; "" when no active entry fills it."""
        return "\n".join(self.outlets.get(name, ()))
