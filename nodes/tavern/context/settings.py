"""Settings of one context: what a user may choose beside the preset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from innkeeper.nodes.json_values import is_number
from innkeeper.nodes.tavern.documents import CodedWarning, kind_of
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.prompts.assembly import GENERATION_TYPES
from innkeeper.nodes.tavern.prompts.post_processing import ALIASES, MODES

EXPAND_HISTORY = ("user", "all", "none")
BUILD_MODES = ("auto", "assemble", "plain")
BOOK_SOURCES = ("global", "chat", "persona", "character")


@dataclass(frozen=True)
class ContextSettings:
    """Settings by their Python names; in JSON they are camelCase (`pinExamples`).

    Attributes:
        mode: `plain` follows the three old rules, `assemble` never does, `auto` decides by what is given.
        type: Kind of generation: normal, continue, impersonate, swipe, regenerate, quiet.
        post_processing: Form of the list for strict providers: merge, semi, strict, single, `*_tools`.
        world_info: World info settings by SillyTavern's names or ours.
        use_book_settings: Follow the scan depth, budget and recursion that a book wishes.
        world_book_source: What `worldBookData` is to SillyTavern: a global, chat, persona or character book.
        character_book: The card's own book is active.
        prefer_card_prompts: The card's system prompt and post-history instructions replace the preset's.
        preset_scripts, card_scripts: Run the regex scripts that came with the preset or the card: foreign code.
        stored_scripts: Also run scripts that are for the stored text; a chat from SillyTavern has been through them.
        expand_history: Whose messages have their macros replaced. A model's text should not.
        greeting: With an empty history: 0 is the card's first message, n its n-th alternative, -1 none.
        quiet_prompt: A last instruction.
        group: Names of the members of a group chat.
        pin_examples: Examples take their room before the history.
        add_prefill: Add the preset's assistant prefill as last message; None does so when the preset is for Claude.
        as_sillytavern: Also what SillyTavern does by accident (see `prompts.assembly.Options` and `world_info.Scan`).
        legacy_macros: Replace macros as the older engine did.
        model: Name of the model, for counting and `{{model}}`.
        max_tokens: Reply length instead of the preset's.
        now, timezone: The time for macros, instead of the clock, and the zone it is shown in.
        input: What the user has typed, for `{{input}}`.
    """

    mode: str = "auto"
    type: str = "normal"
    post_processing: str = ""
    world_info: Mapping[str, Any] = field(default_factory=dict)
    use_book_settings: bool = False
    world_book_source: str = "global"
    character_book: bool = True
    prefer_card_prompts: bool = True
    preset_scripts: bool = False
    card_scripts: bool = False
    stored_scripts: bool = False
    expand_history: str = "user"
    greeting: int = 0
    quiet_prompt: str = ""
    group: tuple[str, ...] = ()
    pin_examples: bool = False
    add_prefill: bool | None = None
    as_sillytavern: bool = False
    legacy_macros: bool = False
    model: str = ""
    max_tokens: int | None = None
    now: datetime | None = None
    timezone: str = ""
    input: str = ""


def read_context_settings(raw: Any, warnings: list[str]) -> ContextSettings:
    """Settings from JSON. An unknown name is a warning; a value that cannot be one is an error.

    Raises:
        FormatError: Not an object, or a value of the wrong kind; the message names the setting and what it may be.
    """
    if raw is None:
        return ContextSettings()
    if not isinstance(raw, Mapping):
        raise FormatError(f"'settings' must be an object, found {kind_of(raw)}")
    known = {_camel(item.name): item.name for item in fields(ContextSettings)}
    values = {}
    for key, value in raw.items():
        name = known.get(key)
        if name is None and key in NODE_SETTINGS:
            continue
        if name is None:
            told = f"there is no setting {key!r}; settings are {', '.join(sorted([*known, *NODE_SETTINGS]))}"
            warnings.append(CodedWarning("unknown_setting", told))
        elif value is not None:
            values[name] = _READERS[name](value, f"setting {key!r}")
    return ContextSettings(**values)


NODE_SETTINGS = ("timeoutSeconds",)
"""Settings that the node itself looks at."""


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return {"as_sillytavern": "asSillyTavern"}.get(name, first + "".join(word.capitalize() for word in others))


# --- values ---

_Reader = Callable[[Any, str], Any]


def _one_of(*words: str) -> _Reader:
    def read(value: Any, place: str) -> str:
        if value not in words:
            raise FormatError(f"{place} must be one of {', '.join(map(repr, words))}")
        return str(value)

    return read


def _truth(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise FormatError(f"{place} must be true or false, found {kind_of(value)}")
    return value


def _required_text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"{place} must be a text, found {kind_of(value)}")
    return value


def whole_number(value: Any, place: str, least: int = 0) -> int:
    """A whole number from `least` to a thousand million. Raises FormatError otherwise."""
    if not is_number(value) or value != value // 1 or not least <= value <= 1_000_000_000:
        raise FormatError(f"{place} must be a whole number from {least} to 1000000000")
    return int(value)


def _required_names(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise FormatError(f"{place} must be a list of names")
    return tuple(value)


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise FormatError(f"{place} must be an object, found {kind_of(value)}")
    return value


def read_time(value: Any, place: str) -> datetime:
    """A time as ISO text with its offset. Raises FormatError otherwise."""
    try:
        moment = datetime.fromisoformat(_required_text(value, place))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise FormatError(f"{place} must be a time with its zone, as '2030-01-31T12:00:00+00:00'")
    return moment


_READERS: dict[str, _Reader] = {
    "mode": _one_of(*BUILD_MODES),
    "type": _one_of(*GENERATION_TYPES),
    "post_processing": _one_of(*MODES, *ALIASES),
    "world_info": _object,
    "use_book_settings": _truth,
    "world_book_source": _one_of(*BOOK_SOURCES),
    "character_book": _truth,
    "prefer_card_prompts": _truth,
    "preset_scripts": _truth,
    "card_scripts": _truth,
    "stored_scripts": _truth,
    "expand_history": _one_of(*EXPAND_HISTORY),
    "greeting": lambda value, place: whole_number(value, place, -1),
    "quiet_prompt": _required_text,
    "group": _required_names,
    "pin_examples": _truth,
    "add_prefill": _truth,
    "as_sillytavern": _truth,
    "legacy_macros": _truth,
    "model": _required_text,
    "max_tokens": whole_number,
    "now": read_time,
    "timezone": _required_text,
    "input": _required_text,
}
