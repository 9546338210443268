"""Shapes of books: which one a file has, and the other tools' books as world info."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from innkeeper.nodes.tavern.documents import CodedWarning, kind_of
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.file_kinds import BOOK, CARD, refuse_other_kind
from innkeeper.nodes.tavern.world_info.conversion import entry_list, to_world_info
from innkeeper.nodes.tavern.world_info.keys import split_keys

_ENTRY_FIELDS = ("key", "keys", "content", "constant")
KNOWN = "SillyTavern world info, a character book, a card with one, or a book of Novel AI, Agnai or RisuAI"


def as_world_info(raw: Any, *, sillytavern: bool = False) -> Mapping[str, Any]:
    """A book of any shape as SillyTavern's world info; one that is world info is given back as it is.

    Raises:
        FormatError: It has none of the known shapes.
    """
    refuse_other_kind(raw, BOOK, CARD)
    book = _inner(raw)
    for is_shape, convert in _OTHER_TOOLS:
        if is_shape(book):
            return convert(book)
    entries = book.get("entries")
    if isinstance(entries, Mapping):
        values = list(entries.values())
        return to_world_info({**book, "entries": values}) if _has(values, "keys") and not _has(values, "key") else book
    if not isinstance(entries, list):
        found = f"its 'entries' is {kind_of(entries)}" if "entries" in book else "it has no 'entries'"
        raise FormatError(f"this is no world book: {found}; known are {KNOWN}")
    if _has(entries, "key") and not _has(entries, "keys"):
        return {**book, "entries": {str(index): entry for index, entry in enumerate(entries)}}
    return to_world_info(book, sillytavern=sillytavern)


def _inner(raw: Any) -> Mapping[str, Any]:
    """The book inside a card, a `lorebook_v3` file or a bare list of entries."""
    if isinstance(raw, list):
        if raw and not any(_has(raw, key) for key in _ENTRY_FIELDS):
            raise FormatError(f"this is no world book: no item of the list has keys or content; known are {KNOWN}")
        return {"entries": raw}
    if not isinstance(raw, Mapping):
        raise FormatError(f"this is no world book but {kind_of(raw)}; known are {KNOWN}")
    data = raw.get("data")
    if raw.get("spec") == "lorebook_v3" and isinstance(data, Mapping):
        return data
    for holder in (data, raw):
        if isinstance(holder, Mapping) and isinstance(holder.get("character_book"), Mapping):
            inner: Mapping[str, Any] = holder["character_book"]
            return inner
    return raw


def _has(entries: list[Any], key: str) -> bool:
    return any(isinstance(entry, Mapping) and key in entry for entry in entries)


def _novel_ai(book: Mapping[str, Any]) -> Mapping[str, Any]:
    return _converted(book, entry_list(book), _novel_ai_entry)


def _novel_ai_entry(raw: Mapping[str, Any]) -> dict[str, Any]:
    context = raw.get("contextConfig")
    return {
        "key": raw.get("keys"),
        "comment": raw.get("displayName"),
        "content": raw.get("text"),
        "constant": raw.get("forceActivation") is True or None,
        "disable": not raw.get("enabled", True),
        "order": context.get("budgetPriority") if isinstance(context, Mapping) else None,
    }


def shape_warnings(raw: Any) -> list[str]:
    """What of another tool's book is read in another way than SillyTavern does, or not at all."""
    book = _inner(raw)
    entries = book.get("entries")
    items = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
    if "lorebookVersion" in book:
        return _novel_ai_warnings(items)
    return _agnai_warnings(items) if book.get("kind") == "memory" else []


def _novel_ai_warnings(entries: list[Mapping[str, Any]]) -> list[str]:
    warnings: list[str] = []
    if forced := sum(entry.get("forceActivation") is True for entry in entries):
        told = f"entries with 'forceActivation' ({forced}) are always active here; SillyTavern's import drops that"
        warnings.append(CodedWarning("force_activation", told))
    for field in ("keyRelative", "nonStoryActivatable"):
        if count := sum(entry.get(field) is True for entry in entries):
            warnings.append(_not_used(field, count))
    for field in ("prefix", "suffix"):
        if count := sum(_has_own_text(entry, field) for entry in entries):
            warnings.append(_not_used(f"contextConfig.{field}", count))
    return warnings


def _has_own_text(entry: Mapping[str, Any], field: str) -> bool:
    context = entry.get("contextConfig")
    text = context.get(field) if isinstance(context, Mapping) else None
    return isinstance(text, str) and bool(text.strip())


def _agnai_warnings(entries: list[Mapping[str, Any]]) -> list[str]:
    # Equal priorities decide nothing.
    priorities = {entry.get("priority") for entry in entries if isinstance(entry.get("priority"), int | float)}
    return [_not_used("priority", len(entries))] if len(priorities) > 1 else []


def _not_used(field: str, count: int) -> str:
    return CodedWarning("fields_not_used", f"the field {field!r} of {count} entries is not used")


def _agnai(book: Mapping[str, Any]) -> Mapping[str, Any]:
    return _converted(book, entry_list(book), _agnai_entry)


def _agnai_entry(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": raw.get("keywords"),
        "comment": raw.get("name"),
        "content": raw.get("entry"),
        "disable": not raw.get("enabled", True),
        "order": raw.get("weight"),
    }


def _risu(book: Mapping[str, Any]) -> Mapping[str, Any]:
    return _converted(book, book["data"], _risu_entry)


def _risu_entry(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": _comma_list(raw.get("key")),
        "keysecondary": _comma_list(raw.get("secondkey")),
        "comment": raw.get("comment"),
        "content": raw.get("content"),
        "constant": raw.get("alwaysActive") or False,
        "selective": raw.get("selective") or False,
        "order": raw.get("insertorder"),
        "probability": raw.get("activationPercent"),
    }


def _comma_list(value: Any) -> list[Any]:
    return list(split_keys(value)) if isinstance(value, str) else value if isinstance(value, list) else []


def _converted(
    book: Mapping[str, Any], raws: list[Any], convert: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    entries = {}
    for index, raw in enumerate(raws):
        if isinstance(raw, Mapping):
            given = {key: value for key, value in convert(raw).items() if value is not None}
            entries[str(index)] = {"uid": index, "selective": False, "keysecondary": [], **given}
    name = {"name": book["name"]} if isinstance(book.get("name"), str) else {}
    return {"entries": entries, "originalData": book, **name}


_OTHER_TOOLS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], Mapping[str, Any]]], ...]
_OTHER_TOOLS = (
    (lambda book: "lorebookVersion" in book, _novel_ai),
    (lambda book: book.get("kind") == "memory", _agnai),
    (lambda book: book.get("type") == "risu" and isinstance(book.get("data"), list), _risu),
)
