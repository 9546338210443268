"""One entry of a book, read from SillyTavern's field names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from innkeeper.nodes.json_values import texts_of
from innkeeper.nodes.tavern.world_info.keys import key_texts, short_number_text


class Position(IntEnum):
    """Where an active entry goes. Other numbers exist in files; such entries are never inserted."""

    BEFORE = 0
    AFTER = 1
    NOTE_TOP = 2
    NOTE_BOTTOM = 3
    AT_DEPTH = 4
    EXAMPLES_TOP = 5
    EXAMPLES_BOTTOM = 6
    OUTLET = 7


class Logic(IntEnum):
    """What the secondary keys must do."""

    AND_ANY = 0
    NOT_ALL = 1
    NOT_ANY = 2
    AND_ALL = 3


DEFAULT_DEPTH = 4

# Field of the entry to the name of the text in ScanTexts that the entry asks to have scanned.
SCAN_TEXTS = {
    "matchPersonaDescription": "persona_description",
    "matchCharacterDescription": "character_description",
    "matchCharacterPersonality": "character_personality",
    "matchCharacterDepthPrompt": "character_depth_prompt",
    "matchScenario": "scenario",
    "matchCreatorNotes": "creator_notes",
}


@dataclass(frozen=True, slots=True)
class CharacterFilter:
    """Characters an entry is for, or not for, by card file name without ending, and by tag."""

    is_exclude: bool
    names: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry with all its fields.

    `position`, `depth` and `probability` are None only when the file does not name them and the book is read as
    SillyTavern reads it.

    Attributes:
        title: `comment` of the file.
        delay_until_recursion: Level from which it takes part; 0 is always.
        scan_depth, case_sensitive, match_whole_words, use_group_scoring: None takes the global setting.
        sticky, cooldown, delay: In messages; 0 is none.
        scan_texts: Names of the `ScanTexts` that its keys are tested on, too.
        raw: The entry as SillyTavern would write it, unknown fields included.
    """

    uid: int
    keys: tuple[str, ...] = ()
    secondary_keys: tuple[str, ...] = ()
    selective: bool = True
    selective_logic: int = Logic.AND_ANY
    title: str = ""
    content: str = ""
    constant: bool = False
    vectorized: bool = False
    order: float = 100
    position: int | None = Position.BEFORE
    depth: int | None = DEFAULT_DEPTH
    role: int = 0
    outlet_name: str = ""
    disabled: bool = False
    ignore_budget: bool = False
    exclude_recursion: bool = False
    prevent_recursion: bool = False
    delay_until_recursion: int = 0
    probability: float | None = 100
    use_probability: bool = True
    group: str = ""
    group_override: bool = False
    group_weight: float = 100
    use_group_scoring: bool | None = None
    scan_depth: int | None = None
    case_sensitive: bool | None = None
    match_whole_words: bool | None = None
    sticky: int = 0
    cooldown: int = 0
    delay: int = 0
    scan_texts: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    character_filter: CharacterFilter | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


def read_entry(raw: Mapping[str, Any], uid: int, *, sillytavern: bool = False) -> Entry:
    """An entry with SillyTavern's field names. Fields that are missing, null or of a wrong type get their default.

    With `sillytavern` a missing field acts as in SillyTavern, which fills in defaults only when a book is edited.
    """
    values = {name: read(raw[key], default) for name, key, read, default in _FIELDS if raw.get(key) is not None}
    if sillytavern:
        values = {**_ABSENT, **values}
    return Entry(
        uid=uid,
        keys=key_texts(raw.get("key"), split=not sillytavern),
        secondary_keys=key_texts(raw.get("keysecondary"), split=not sillytavern),
        scan_texts=tuple([name for key, name in SCAN_TEXTS.items() if key in raw and flag(raw[key])]),
        triggers=texts_of(raw.get("triggers")),
        character_filter=_filter(raw.get("characterFilter")),
        raw=raw,
        **values,
    )


def number(value: Any, default: Any = None) -> Any:
    """A finite number, also when written as text; else `default`."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        try:
            value = float(value.strip()[:40])
        except ValueError:
            return default
    if isinstance(value, int | float) and abs(value) <= 2**53 and math.isfinite(value):
        return int(value) if value == int(value) else value
    return default


def flag(value: Any, default: Any = False) -> bool:
    """Is it set? As in JavaScript, but a text that says no is none."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "false", "0", "no", "off")
    return bool(value)


def _entry_text(value: Any, default: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return short_number_text(value) if isinstance(value, int | float) else str(default)


def _floor_of(value: Any, default: Any) -> Any:
    found = number(value)
    return default if found is None else math.floor(found)


def _natural(value: Any, default: Any) -> int:
    """A number of messages or a level: true is 1, what is below 1 is none."""
    return max(0, int(_floor_of(value, 0)))


def _position(value: Any, default: Any) -> Any:
    named = {"before_char": Position.BEFORE, "after_char": Position.AFTER}
    return named[value] if isinstance(value, str) and value in named else _floor_of(value, default)


def _filter(value: Any) -> CharacterFilter | None:
    if not isinstance(value, Mapping):
        return None
    return CharacterFilter(flag(value.get("isExclude")), texts_of(value.get("names")), texts_of(value.get("tags")))


_FIELDS: tuple[tuple[str, str, Callable[[Any, Any], Any], Any], ...] = (
    ("selective", "selective", flag, True),
    ("selective_logic", "selectiveLogic", _floor_of, 0),
    ("title", "comment", _entry_text, ""),
    ("content", "content", _entry_text, ""),
    ("constant", "constant", flag, False),
    ("vectorized", "vectorized", flag, False),
    ("order", "order", number, 100),
    ("position", "position", _position, 0),
    ("depth", "depth", _floor_of, DEFAULT_DEPTH),
    ("role", "role", _floor_of, 0),
    ("outlet_name", "outletName", _entry_text, ""),
    ("disabled", "disable", flag, False),
    ("ignore_budget", "ignoreBudget", flag, False),
    ("exclude_recursion", "excludeRecursion", flag, False),
    ("prevent_recursion", "preventRecursion", flag, False),
    ("delay_until_recursion", "delayUntilRecursion", _natural, 0),
    ("probability", "probability", number, 100),
    ("use_probability", "useProbability", flag, True),
    ("group", "group", _entry_text, ""),
    ("group_override", "groupOverride", flag, False),
    ("group_weight", "groupWeight", number, 100),
    ("use_group_scoring", "useGroupScoring", flag, None),
    ("scan_depth", "scanDepth", _floor_of, None),
    ("case_sensitive", "caseSensitive", flag, None),
    ("match_whole_words", "matchWholeWords", flag, None),
    ("sticky", "sticky", _natural, 0),
    ("cooldown", "cooldown", _natural, 0),
    ("delay", "delay", _natural, 0),
)
_ABSENT: dict[str, Any] = {
    "selective": False,
    "position": None,
    "depth": None,
    "probability": None,
    "use_probability": False,
}
