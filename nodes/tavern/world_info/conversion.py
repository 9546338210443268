"""SillyTavern's world info and the `character_book` of cards: each into the other, nothing lost.

What one shape cannot say is kept aside: the whole character book as `originalData` of the world info, fields without
a counterpart under `extensions.innkeeper` of the character book's entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from innkeeper.nodes.json_values import text_or_empty
from innkeeper.nodes.tavern.documents import kind_of
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.world_info.entry import flag

KEPT = "innkeeper"

# Field of world info, field in `extensions` of a character book's entry, value when it is missing there.
_EXTENSIONS: tuple[tuple[str, str, Any], ...] = (
    ("position", "position", None),
    ("excludeRecursion", "exclude_recursion", False),
    ("displayIndex", "display_index", None),
    ("probability", "probability", 100),
    ("useProbability", "useProbability", True),
    ("depth", "depth", 4),
    ("selectiveLogic", "selectiveLogic", 0),
    ("outletName", "outlet_name", ""),
    ("group", "group", ""),
    ("groupOverride", "group_override", False),
    ("groupWeight", "group_weight", 100),
    ("preventRecursion", "prevent_recursion", False),
    ("delayUntilRecursion", "delay_until_recursion", False),
    ("scanDepth", "scan_depth", None),
    ("matchWholeWords", "match_whole_words", None),
    ("useGroupScoring", "use_group_scoring", None),
    ("caseSensitive", "case_sensitive", None),
    ("automationId", "automation_id", ""),
    ("role", "role", 0),
    ("vectorized", "vectorized", False),
    ("sticky", "sticky", None),
    ("cooldown", "cooldown", None),
    ("delay", "delay", None),
    ("matchPersonaDescription", "match_persona_description", False),
    ("matchCharacterDescription", "match_character_description", False),
    ("matchCharacterPersonality", "match_character_personality", False),
    ("matchCharacterDepthPrompt", "match_character_depth_prompt", False),
    ("matchScenario", "match_scenario", False),
    ("matchCreatorNotes", "match_creator_notes", False),
    ("triggers", "triggers", ()),
    ("ignoreBudget", "ignore_budget", False),
)
_WITHOUT_DEFAULT = {"key": "keys", "content": "content", "order": "insertion_order"}
"""What SillyTavern leaves out of an entry when the character book has it not."""
_WRITTEN_AS = {
    "id": "uid", "keys": "key", "secondary_keys": "keysecondary", "comment": "comment", "content": "content",
    "constant": "constant", "selective": "selective", "insertion_order": "order",
}  # fmt: skip
_WRITTEN_IF_THERE = frozenset({"position", "exclude_recursion", "display_index"})
_WRITTEN_DEFAULTS = {name: default for _, name, default in _EXTENSIONS} | {
    "probability": None,
    "useProbability": False,
    "group_weight": None,
    "use_group_scoring": False,
}
"""What SillyTavern writes for fields that an entry has not."""
_DIRECT = {"uid", "key", "keysecondary", "comment", "content", "constant", "selective", "order", "disable"} | {
    "extensions"
}
_COUNTERPARTS = _DIRECT | {field for field, _, _ in _EXTENSIONS}


def to_world_info(book: Mapping[str, Any], *, sillytavern: bool = False) -> dict[str, Any]:
    """World info made of a character book.

    An entry that does not say whether it is enabled is, `name` serves as title, the V2 field `case_sensitive` counts,
    and an `id` that is used again gets a free number. With `sillytavern` all four are as there: such an entry is
    disabled, the two fields are not read, and the last entry of an id replaces the others.

    Raises:
        FormatError: The book has no list of entries.
    """
    raws = entry_list(book)
    numbered: Iterator[tuple[int | str, int, Mapping[str, Any]]]
    numbered = _numbered_as_is(raws) if sillytavern else _numbered(raws)
    entries = {}
    for uid, index, raw in numbered:
        entries["null" if uid is None else str(uid)] = _to_entry(raw, uid, index, sillytavern=sillytavern)
    converted: dict[str, Any] = {"entries": entries, "originalData": book}
    if isinstance(book.get("name"), str):
        converted["name"] = book["name"]
    return converted


def entry_list(book: Mapping[str, Any]) -> list[Any]:
    raws = book.get("entries")
    if not isinstance(raws, list):
        raise FormatError(f"the character book's 'entries' is {kind_of(raws)}; it must be a list")
    return raws


def to_character_book(world_info: Mapping[str, Any], *, name: str = "", sillytavern: bool = False) -> dict[str, Any]:
    """A character book made of world info.

    A book that came from a character book gets back what the world info could not say; its unchanged entries are
    given back as they were. With `sillytavern` only what SillyTavern writes is written.

    Raises:
        FormatError: The world info has no entries by uid.
    """
    entries = world_info.get("entries")
    if not isinstance(entries, Mapping):
        raise FormatError(f"the world info's 'entries' is {kind_of(entries)}; it must be an object")
    title = text_or_empty(world_info.get("name"))
    if sillytavern:
        return {"entries": [_as_sillytavern(raw) for raw in mappings(entries)], "name": name or title}
    original = _original_book(world_info)
    before = {str(uid): (raw, index) for uid, index, raw in _numbered(original["entries"])}
    book = {key: value for key, value in original.items() if key != "entries"}
    if name or title:
        book["name"] = name or title
    pairs = [(uid, raw) for uid, raw in in_order(entries) if isinstance(raw, Mapping)]
    pairs.sort(key=lambda pair: before[pair[0]][1] if pair[0] in before else len(before))
    book["entries"] = [_restored(raw, before.get(uid)) for uid, raw in pairs]
    return book


def _original_book(world_info: Mapping[str, Any]) -> Mapping[str, Any]:
    """The character book that the world info was made of."""
    original = world_info.get("originalData")
    is_book = isinstance(original, Mapping) and isinstance(original.get("entries"), list)
    return original if is_book and original is not None else {"entries": []}


def in_order(entries: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """Entries by uid in the order of JavaScript: numbers ascending, then other keys as they come."""
    pairs = [(str(key), value) for key, value in entries.items()]
    return sorted(pairs, key=lambda pair: (0, int(pair[0])) if is_index(pair[0]) else (1, 0))


def is_index(key: str) -> bool:
    return len(key) < 11 and key.isascii() and key.isdigit() and (key == "0" or key[0] != "0")


def mappings(entries: Mapping[Any, Any]) -> list[Mapping[str, Any]]:
    return [raw for _, raw in in_order(entries) if isinstance(raw, Mapping)]


def _numbered_as_is(raws: list[Any]) -> Iterator[tuple[int | str, int, Mapping[str, Any]]]:
    for index, raw in enumerate(raws):
        if isinstance(raw, Mapping):
            yield raw.get("id", index), index, raw


def _numbered(raws: list[Any]) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """Each entry with a number of its own: its id, its place when it has none, a free one when that is taken."""
    taken = {uid for uid in map(_id_of, raws) if uid is not None}
    used: set[int] = set()
    free = 0
    for index, raw in enumerate(raws):
        if not isinstance(raw, Mapping):
            continue
        uid = _id_of(raw)
        if uid is None and index not in taken:
            uid = index
        if uid is None or uid in used:
            while free in taken or free in used:
                free += 1
            uid = free
        used.add(uid)
        yield uid, index, raw


def _id_of(raw: Any) -> int | None:
    uid = raw.get("id") if isinstance(raw, Mapping) else None
    if isinstance(uid, str) and is_index(uid):
        uid = int(uid)
    return uid if isinstance(uid, int) and not isinstance(uid, bool) and 0 <= uid < 2**53 else None


def renumbered(book: Any) -> int:
    """How many entries of a character book carry an id that another one has, too."""
    raws = book.get("entries") if isinstance(book, Mapping) else None
    ids = [uid for uid in map(_id_of, raws) if uid is not None] if isinstance(raws, list) else []
    return len(ids) - len(set(ids))


def _to_entry(raw: Mapping[str, Any], uid: int | str, index: int, *, sillytavern: bool) -> dict[str, Any]:
    extensions = raw["extensions"] if isinstance(raw.get("extensions"), Mapping) else {}
    comment = raw.get("comment") or ("" if sillytavern else raw.get("name")) or ""
    entry = {
        "uid": uid,
        "key": raw.get("keys"),
        "keysecondary": raw.get("secondary_keys") or [],
        "comment": comment,
        "content": raw.get("content"),
        "constant": raw.get("constant") or False,
        "selective": raw.get("selective") or False,
        "addMemo": bool(comment),
        "order": raw.get("insertion_order"),
        "disable": not raw.get("enabled", not sillytavern),
        "extensions": dict(extensions),
    }
    for field, name, default in _EXTENSIONS:
        value = extensions.get(name)
        entry[field] = value if value is not None else list(default) if isinstance(default, tuple) else default
    if entry["position"] is None:
        entry["position"] = 0 if raw.get("position") == "before_char" else 1
    if entry["displayIndex"] is None:
        entry["displayIndex"] = index
    if not sillytavern:
        _read_more(entry, raw, extensions)
        return entry
    missing = {field for field, name in _WITHOUT_DEFAULT.items() if name not in raw}
    return {field: value for field, value in entry.items() if field not in missing}


def _read_more(entry: dict[str, Any], raw: Mapping[str, Any], extensions: Mapping[str, Any]) -> None:
    if entry["caseSensitive"] is None and isinstance(raw.get("case_sensitive"), bool):
        entry["caseSensitive"] = raw["case_sensitive"]
    kept = extensions.get(KEPT)
    if isinstance(kept, Mapping):
        entry |= {key: value for key, value in kept.items() if key not in _COUNTERPARTS}
        del entry["extensions"][KEPT]


def _as_sillytavern(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as SillyTavern writes it: what is missing beside `extensions` stays missing."""
    extensions = dict(entry["extensions"]) if isinstance(entry.get("extensions"), Mapping) else {}
    for field, name, _ in _EXTENSIONS:
        default = _WRITTEN_DEFAULTS[name]
        if name not in _WRITTEN_IF_THERE:
            value = entry.get(field)
            extensions[name] = value if value is not None else list(default) if isinstance(default, tuple) else default
        elif field in entry:
            extensions[name] = entry[field]
        else:
            extensions.pop(name, None)
    return {
        **{name: entry[field] for name, field in _WRITTEN_AS.items() if field in entry},
        "enabled": not flag(entry.get("disable")),
        "position": "before_char" if entry.get("position") in (0, "0") else "after_char",
        "use_regex": True,
        "extensions": extensions,
    }


def _from_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    # Missing fields mean something else in the other shape.
    entry = {"selective": True, "position": 0, **{key: item for key, item in entry.items() if item is not None}}
    extensions = dict(entry["extensions"]) if isinstance(entry.get("extensions"), Mapping) else {}
    for field, name, _ in _EXTENSIONS:
        if field in entry:
            extensions[name] = entry[field]
    kept = {key: value for key, value in entry.items() if key not in _COUNTERPARTS}
    if kept:
        extensions[KEPT] = kept
    return {
        "id": entry.get("uid"),
        "keys": entry.get("key"),
        "secondary_keys": entry.get("keysecondary") or [],
        "comment": entry.get("comment") or "",
        "content": entry.get("content"),
        "constant": entry.get("constant") or False,
        "selective": entry.get("selective") or False,
        "insertion_order": entry.get("order"),
        "enabled": not flag(entry.get("disable")),
        "position": "before_char" if entry.get("position") == 0 else "after_char",
        "use_regex": True,
        "extensions": extensions,
    }


def _restored(entry: Mapping[str, Any], before: tuple[Mapping[str, Any], int] | None) -> dict[str, Any]:
    if before is None:
        return _from_entry(entry)
    raw, index = before
    if _to_entry(raw, entry.get("uid", index), index, sillytavern=False) == entry:
        return dict(raw)
    return {**raw, **_from_entry(entry)}
