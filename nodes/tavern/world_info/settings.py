"""Global settings of world info."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any

from innkeeper.nodes.json_values import is_number
from innkeeper.nodes.tavern.documents import CodedWarning, kind_of
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.world_info.book import WorldBook


class Strategy(IntEnum):
    """Whose entries come first for the budget: those of the character's books or those of the global ones."""

    EVENLY = 0
    CHARACTER_FIRST = 1
    GLOBAL_FIRST = 2


@dataclass(frozen=True)
class Settings:
    """The defaults are those of SillyTavern's shipped profile, which differ between its releases: name what matters.

    Attributes:
        depth: Messages scanned.
        budget: Percent of the context.
        budget_cap: Tokens; 0 is no cap.
        max_recursion_steps: Number of passes, the first one included; 0 is no limit.
        min_activations: Look further back until so many entries are active; 0 is off.
        min_activations_depth_max: How far back that goes; 0 is the whole chat.
        include_names: Scan "Name: text" lines instead of bare texts.
        constants_first: Constant entries are the first to get budget. Not in SillyTavern.
        skip_on_overflow: An entry that does not fit is left out, and smaller later ones are tried. Not in SillyTavern.
        shared_group_cooldown: A cooldown blocks all entries of the entry's groups. Not in SillyTavern.
        v3_decorators: Obey the decorators of the V3 card format that SillyTavern only strips.
    """

    depth: int = 2
    budget: float = 25
    budget_cap: int = 0
    recursive: bool = True
    max_recursion_steps: int = 0
    min_activations: int = 0
    min_activations_depth_max: int = 0
    include_names: bool = True
    case_sensitive: bool = False
    match_whole_words: bool = True
    use_group_scoring: bool = False
    character_strategy: int = Strategy.CHARACTER_FIRST
    constants_first: bool = False
    skip_on_overflow: bool = False
    shared_group_cooldown: bool = False
    v3_decorators: bool = False


_PREFIX = "world_info_"
_TYPES = {item.name: item.type for item in fields(Settings)}
_NAMES = {
    **{name: name for name in _TYPES},
    **{re.sub("_(.)", lambda match: match[1].upper(), name): name for name in _TYPES},
    "scanDepth": "depth",
    "scan_depth": "depth",
}
_ELSEWHERE = frozenset({"world_info", "overflow_alert", "charLore", "globalSelect"})
"""What SillyTavern keeps beside these settings, about its own screen and files."""


def read_settings(raw: Mapping[str, Any], base: Settings | None = None, warnings: list[str] | None = None) -> Settings:
    """Settings by SillyTavern's names (`world_info_depth`) or ours (`depth`, `budgetCap`) over `base`.

    Args:
        warnings: Gets one for every name that is not known; it is left out.

    Raises:
        FormatError: A value has the wrong type.
    """
    values = {}
    for key, value in raw.items():
        short = key.removeprefix(_PREFIX)
        name = _NAMES.get(short)
        if name is not None:
            values[name] = _checked(name, value)
        elif short not in _ELSEWHERE and warnings is not None:
            told = f"there is no world info setting {key[:50]!r}; settings are {', '.join(sorted(_TYPES))}"
            warnings.append(CodedWarning("unknown_setting", told))
    return replace(base or Settings(), **values)


def _checked(name: str, value: Any) -> Any:
    if _TYPES[name] == "bool":
        if not isinstance(value, bool):
            raise FormatError(f"world info setting {name!r} is {kind_of(value)}; it must be true or false")
        return value
    if not is_number(value) or not 0 <= value <= 1e9:
        raise FormatError(f"world info setting {name!r} must be a number from 0 to 1000000000")
    return float(value) if _TYPES[name] == "float" else int(value)


def book_settings(books: Iterable[WorldBook], base: Settings) -> Settings:
    """`base` with what the first of the books that says so wishes: scan depth, token budget, recursion.

    SillyTavern does not heed these wishes of a book, so whoever follows them does so by choice.
    """
    books = tuple(books)
    for name, key in (("depth", "scan_depth"), ("budget_cap", "token_budget"), ("recursive", "recursive_scanning")):
        wishes = (book.wishes[key] for book in books if key in book.wishes)
        wish = next(wishes, None)
        if wish is not None:
            base = replace(base, **{name: wish})
    return base
