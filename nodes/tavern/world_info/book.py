"""A book: entries read from any of the known shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from innkeeper.nodes.tavern.documents import CodedWarning, kind_of
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.world_info.conversion import in_order, renumbered
from innkeeper.nodes.tavern.world_info.entry import Entry, number, read_entry
from innkeeper.nodes.tavern.world_info.shapes import as_world_info, shape_warnings

MAX_ENTRIES = 50_000


@dataclass(frozen=True)
class WorldBook:
    """A book to activate entries of.

    Attributes:
        name: Identifies the book: entries are known by book name and uid.
        raw: The book as SillyTavern's world info, unknown fields included.
        wishes: `scan_depth`, `token_budget` and `recursive_scanning` as far as the book names them.
        warnings: What was odd in it, for the user.
    """

    name: str
    entries: tuple[Entry, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    wishes: Mapping[str, Any] = field(default_factory=dict, compare=False)
    warnings: tuple[str, ...] = ()


def read_book(raw: Any, name: str, *, sillytavern: bool = False) -> WorldBook:
    """A book of any known shape.

    Fields that an entry does not name get the default of a new entry, and entries that share an id are all kept. With
    `sillytavern` the book is read as there instead: a missing field counts as nothing (secondary keys are ignored
    without `selective`, an entry without `position` is never inserted, ...), and the last entry of an id wins.

    Raises:
        FormatError: It has none of the known shapes, or too many entries.
    """
    world_info = as_world_info(raw, sillytavern=sillytavern)
    found = in_order(world_info["entries"])
    if len(found) > MAX_ENTRIES:
        raise FormatError(f"book {name!r} has {len(found)} entries; at most {MAX_ENTRIES} are read")
    warnings: list[str] = shape_warnings(raw)
    doubles = renumbered(world_info.get("originalData"))
    if doubles:
        double = f"{doubles} entries have an id that another entry has; SillyTavern reads only the last of them"
        warnings.append(CodedWarning("duplicate_id", double))
    entries = tuple(
        read_entry(raw_entry, uid, sillytavern=sillytavern) for uid, raw_entry in _numbered(found, warnings)
    )
    return WorldBook(name, entries, raw=world_info, wishes=_wishes(world_info), warnings=tuple(warnings))


def _numbered(found: list[tuple[str, Any]], warnings: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Entries with their uid; a key of the object serves where there is none, a free number where it is taken."""
    wished = [_uid(key, raw) for key, raw in found]
    used: set[int | None] = set()
    free = _free_numbers(set(wished))
    for (key, raw), uid in zip(found, wished, strict=True):
        if not isinstance(raw, Mapping):
            warnings.append(f"entry {key!r} is {kind_of(raw)}, not an object; left out")
            continue
        if uid is None or uid in used:
            uid = next(free)
            taken = f"the uid of entry {key!r} is no number or taken; the entry has uid {uid} here"
            warnings.append(CodedWarning("duplicate_id", taken))
        used.add(uid)
        yield uid, raw


def _uid(key: str, raw: Any) -> int | None:
    uid = number(raw.get("uid"), number(key)) if isinstance(raw, Mapping) else None
    return uid if isinstance(uid, int) else None


def _free_numbers(taken: set[int | None]) -> Iterator[int]:
    return (candidate for candidate in count() if candidate not in taken)


def _wishes(world_info: Mapping[str, Any]) -> dict[str, Any]:
    wishes: dict[str, Any] = {}
    original = world_info.get("originalData")
    for source in (original, world_info):
        if not isinstance(source, Mapping):
            continue
        for key in ("scan_depth", "token_budget"):
            value = number(source.get(key))
            if value is not None and value >= 0:
                wishes[key] = int(value)
        if isinstance(source.get("recursive_scanning"), bool):
            wishes["recursive_scanning"] = source["recursive_scanning"]
    return wishes
