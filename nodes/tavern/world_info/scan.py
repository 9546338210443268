"""What an activation looks at, and the tools it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from innkeeper.nodes.tavern.environment import CountTokens, Draw, Expand, JsRegexes
from innkeeper.nodes.tavern.world_info.book import WorldBook
from innkeeper.nodes.tavern.world_info.settings import Settings


@dataclass(frozen=True, slots=True)
class ScanMessage:
    """One chat message. With an empty `name` the text is scanned as it is."""

    text: str
    name: str = ""
    role: str = "user"


@dataclass(frozen=True)
class Books:
    """Books by where they come from. A book that stands in several is used once."""

    global_: tuple[WorldBook, ...] = ()
    chat: tuple[WorldBook, ...] = ()
    persona: tuple[WorldBook, ...] = ()
    character: tuple[WorldBook, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(book.name for book in (*self.global_, *self.chat, *self.persona, *self.character))


@dataclass(frozen=True)
class ScanTexts:
    """Texts that are scanned for the entries that ask for them (`matchScenario`, ...), macros expanded."""

    persona_description: str = ""
    character_description: str = ""
    character_personality: str = ""
    character_depth_prompt: str = ""
    scenario: str = ""
    creator_notes: str = ""


def unchanged(content: str, depth: int | None) -> str:
    """The content as it is: there are no regex scripts."""
    return content


@dataclass(frozen=True)
class Scan:
    """One question: which entries of these books does this chat wake?

    Attributes:
        messages: Of the prompt, oldest first. Their number is also the length by which timed effects count.
        max_context: Tokens of the whole prompt; the budget is a share of it.
        timed: State of the timed effects, as the last `Activation.timed` gave it.
        trigger: `normal`, `continue`, `impersonate`, `swipe`, `regenerate` or `quiet`.
        character_file: File name of the character's card without its ending, for character filters.
        character_tags: Ids or names of the character's tags; None when they are unknown, then tags filter nothing.
        injected: Other prompts that are to be scanned (an author's note, ...).
        forced: `(book, uid)` of entries that are active whatever their keys say.
        dry_run: Only look: sticky and cooldown are neither read nor written.
        prompt_scripts: Regex scripts of placement 5 for prompts: `(content, depth or None) -> content`.
        as_sillytavern: Also what SillyTavern does by accident in inclusion groups: an entry that loses in a second
            group takes the last candidate of the pass with it, a sticky entry is out while its cooldown runs, and
            scores count keys with their macros and spaces as written.
    """

    books: Books
    messages: tuple[ScanMessage, ...]
    max_context: int
    expand: Expand
    count_tokens: CountTokens
    draw: Draw
    regexes: JsRegexes
    settings: Settings = field(default_factory=Settings)
    timed: Mapping[str, Any] = field(default_factory=dict)
    trigger: str = "normal"
    character_file: str = ""
    character_tags: tuple[str, ...] | None = None
    texts: ScanTexts = field(default_factory=ScanTexts)
    injected: tuple[str, ...] = ()
    forced: frozenset[tuple[str, int]] = frozenset()
    dry_run: bool = False
    prompt_scripts: Callable[[str, int | None], str] = unchanged
    as_sillytavern: bool = False
