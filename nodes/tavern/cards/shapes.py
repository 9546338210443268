"""The versions of a card: telling them apart, and lifting an old one to a new one."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from innkeeper.nodes.tavern.cards.agnai import agnai_fields, agnai_warnings, is_agnai
from innkeeper.nodes.tavern.documents import kind_of
from innkeeper.nodes.tavern.environment import FormatError

V2, V3 = "chara_card_v2", "chara_card_v3"
V1_KEYS = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
V2_KEYS = (
    *V1_KEYS,
    "creator_notes",
    "system_prompt",
    "post_history_instructions",
    "alternate_greetings",
    "tags",
    "creator",
    "character_version",
    "extensions",
)
_ALIASES = {"creator_notes": "creatorcomment"}
_PYGMALION = {
    "name": "char_name",
    "description": "char_persona",
    "scenario": "world_scenario",
    "first_mes": "char_greeting",
    "mes_example": "example_dialogue",
}
_OOBABOOGA = {"description": "context", "first_mes": "greeting"}
_NEWEST = 3.0


@dataclass(frozen=True)
class Validity:
    """What a strict reader says of a card.

    Attributes:
        version: 1, 2 or 3; False when it is valid as none of them.
        problem: The key that the last failed rule missed, also of a card that is valid as another version.
    """

    version: Literal[1, 2, 3, False]
    problem: str | None = None


def fields_of(raw: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields of a card in one flat object, under the names of V2, and what is odd about where they stood."""
    data = raw.get("data")
    has_data = isinstance(data, Mapping) and (raw.get("spec") is not None or "name" not in raw)
    warnings = [*_spec_warnings(raw, isinstance(data, Mapping))]
    if not isinstance(data, Mapping) or not has_data:
        warnings += agnai_warnings(raw) if is_agnai(raw) else []
        return _flat_fields(raw), tuple(warnings)
    if stale := [key for key in V1_KEYS if key in raw and key in data and raw[key] != data[key]]:
        warnings.append(f"the flat copies of {', '.join(stale)} differ from 'data', which counts")
    return {**_flat_fields(raw), **data}, tuple(warnings)


def with_name(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The card with this name, at the place where readers look for it."""
    data = raw.get("data")
    if isinstance(data, Mapping) and (raw.get("spec") is not None or "name" not in raw):
        flat = {"name": name} if "name" in raw else {}
        return {**raw, **flat, "data": {**data, "name": name}}
    key = "char_name" if "name" not in raw and "char_name" in raw else "name"
    return {**raw, key: name}


def _flat_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    if is_agnai(raw):
        return agnai_fields(raw)
    fields = {key: value for key, value in raw.items() if key != "data"}
    names = _ALIASES
    if "name" not in raw and "char_name" in raw:
        names = {**names, **_PYGMALION}
    elif "description" not in raw and ("context" in raw or "greeting" in raw):
        names = {**names, **_OOBABOOGA}
    for key, old in names.items():
        if fields.get(key) is None and old in raw:
            fields[key] = raw[old]
    return fields


def _spec_warnings(raw: Mapping[str, Any], has_data: bool) -> list[str]:
    spec = raw.get("spec")
    if spec is None:
        return ["the card has no 'spec' and its fields in 'data'"] if has_data and "name" not in raw else []
    warnings = []
    if spec not in (V2, V3):
        warnings.append(f"the card's 'spec' is unknown; known are {V2!r} and {V3!r}")
    if _number_or_nan(raw.get("spec_version")) > _NEWEST:
        warnings.append(f"the card's 'spec_version' is newer than {_NEWEST}; what is new in it is not used")
    if not has_data:
        warnings.append("the card has a 'spec' but no object 'data'; its flat fields are used")
    return warnings


def validate(raw: Any) -> Validity:
    """Check a card as SillyTavern does when asked to: V1 first, so that V2 cards with flat copies count as V1."""
    card = raw if isinstance(raw, Mapping) else {}
    if (missing := _missing(card, V1_KEYS)) is None:
        return Validity(1)
    if (problem := _v2_problem(card)) is None:
        return Validity(2, missing)
    if (newer := _v3_problem(card)) is None:
        return Validity(3, problem or missing)
    return Validity(False, newer)


def _missing(card: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((key for key in keys if key not in card), None)


def _v2_problem(card: Mapping[str, Any]) -> str | None:
    """The key that keeps a card from being V2; None when it is V2."""
    if card.get("spec") != V2:
        return "spec"
    if card.get("spec_version") != "2.0":
        return "spec_version"
    data = card.get("data")
    if not isinstance(data, Mapping):
        return "data"
    if missing := _missing(data, V2_KEYS):
        return f"data.{missing}"
    for key in ("alternate_greetings", "tags"):
        if not isinstance(data[key], list):
            return f"data.{key}"
    if not _is_object(data["extensions"]):
        return "data.extensions"
    return _book_problem(data.get("character_book"))


def _book_problem(book: Any) -> str | None:
    if not book:
        return None
    if not isinstance(book, Mapping):
        return "data.character_book.extensions"
    if missing := _missing(book, ("extensions", "entries")):
        return f"data.character_book.{missing}"
    if not isinstance(book["entries"], list):
        return "data.character_book.entries"
    return None if _is_object(book["extensions"]) else "data.character_book.extensions"


def _v3_problem(card: Mapping[str, Any]) -> str | None:
    if card.get("spec") != V3:
        return "spec"
    if not _NEWEST <= _number_or_nan(card.get("spec_version")) < _NEWEST + 1:
        return "spec_version"
    return None if isinstance(card.get("data"), Mapping) else "data"


def _is_object(value: Any) -> bool:
    """What JavaScript calls an object."""
    return value is None or isinstance(value, Mapping | list)


def _number_or_nan(value: Any) -> float:
    """A number or the number in a text; not-a-number for everything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def to_v2(raw: Mapping[str, Any], stamp: str | None = None) -> dict[str, Any]:
    """A card as SillyTavern keeps it: V2, or V3 if it was, with flat copies of its fields for old readers.

    Unknown keys stay. A V1 card gets the whole of `data`; a card with `spec` only has its flat copies set right.

    Args:
        stamp: The time that names the card's first chat (`Mira - <stamp>`); None leaves that name out.

    Raises:
        FormatError: It is no object.
    """
    if not isinstance(raw, Mapping):
        raise FormatError(f"expected an object, got {kind_of(raw)}")
    card = copy.deepcopy(dict(raw))
    card = _lifted(card) if card.get("spec") is None else _with_flat_copies(card)
    if stamp is not None and card.get("chat") is None and isinstance(card.get("data"), Mapping):
        card["chat"] = f"{card.get('name', '')} - {stamp}"
    return card


def _with_flat_copies(card: dict[str, Any]) -> dict[str, Any]:
    data = card.get("data")
    if not isinstance(data, Mapping):
        return card
    card.pop("json_data", None)
    for key in (*V1_KEYS, "tags"):
        if key in data:
            card[key] = data[key]
    extensions = data.get("extensions")
    for key in ("talkativeness", "fav"):
        card.pop(key, None)
        if isinstance(extensions, Mapping) and key in extensions:
            card[key] = extensions[key]
    return card


def _lifted(card: dict[str, Any]) -> dict[str, Any]:
    """A V1 card with everything V2 adds."""
    fields, _ = fields_of(card)
    texts = {key: _scalar_text(fields.get(key)) for key in V2_KEYS if key not in _NO_TEXTS}
    data = dict(card["data"]) if isinstance(card.get("data"), Mapping) else {}
    flat = {key: texts[key] for key in V1_KEYS}
    talkativeness, fav = fields.get("talkativeness") or 0.5, fields.get("fav") == "true"
    tags = _tags(fields.get("tags"))
    card |= {**flat, "creatorcomment": texts["creator_notes"], "avatar": card.get("avatar") or "none"}
    card |= {"talkativeness": talkativeness, "fav": fav, "tags": tags, "spec": V2, "spec_version": "2.0"}
    given = fields.get("extensions")
    extensions = {
        "world": "",
        "depth_prompt": {"prompt": "", "depth": 4, "role": "system"},
        **(given if isinstance(given, Mapping) else {}),
        "talkativeness": talkativeness,
        "fav": fav,
    }
    greetings = _greetings(fields.get("alternate_greetings"))
    card["data"] = {**data, **texts, "tags": tags, "alternate_greetings": greetings, "extensions": extensions}
    if isinstance(fields.get("character_book"), Mapping):
        card["data"]["character_book"] = fields["character_book"]
    return card


_NO_TEXTS = ("alternate_greetings", "tags", "extensions")


def _scalar_text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None or isinstance(value, list | dict) else str(value)


def _greetings(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _tags(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [tag.strip() for tag in value.split(",") if tag.strip()]
    return value if isinstance(value, list) else []


def to_v3(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A card as pure V3: `spec`, `spec_version`, and in `data` every field that V3 asks for. Unknown keys stay.

    Raises:
        FormatError: It is no object.
    """
    card = to_v2(raw)
    fields, _ = fields_of(card)
    data = dict(card["data"]) if isinstance(card.get("data"), Mapping) else {}
    for key in V2_KEYS:
        if key not in _NO_TEXTS:
            data[key] = _scalar_text(fields.get(key))
    data["alternate_greetings"] = _greetings(fields.get("alternate_greetings"))
    data["group_only_greetings"] = _greetings(fields.get("group_only_greetings"))
    data["tags"] = _tags(fields.get("tags"))
    data["extensions"] = fields["extensions"] if isinstance(fields.get("extensions"), Mapping) else {}
    return {**{key: card[key] for key in card if key not in _FLAT_COPIES}, "spec": V3, "spec_version": "3.0"} | {
        "data": data
    }


_FLAT_COPIES = frozenset({*V2_KEYS, "creatorcomment", "talkativeness", "fav", "avatar", "chat", "data"})
