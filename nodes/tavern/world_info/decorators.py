"""Lines at the top of a content that begin with `@@`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from innkeeper.nodes.tavern.world_info.entry import Entry, Position, number
from innkeeper.nodes.tavern.world_info.keys import split_keys

ACTIVATE = "@@activate"
DONT_ACTIVATE = "@@dont_activate"
FOR_EVER = 10**9
"""Messages that no chat reaches."""

_ROLES = {"system": 0, "user": 1, "assistant": 2}
_PLACES = {"before_desc": Position.BEFORE, "after_desc": Position.AFTER}

IsKnown = Callable[[str], bool]


def is_known(decorator: str) -> bool:
    """Known to SillyTavern, which looks at the beginning only."""
    return decorator.startswith((ACTIVATE, DONT_ACTIVATE))


def split_decorators(content: str, is_known: IsKnown = is_known) -> tuple[tuple[str, ...], str]:
    """The decorator lines that hold, and the content without any of them.

    A line `@@@name` is the fallback of the unknown decorator before it and holds in its place.
    """
    if not content.startswith("@@"):
        return (), content
    lines = content.split("\n")
    end = next((index for index, line in enumerate(lines) if not line.startswith("@@")), len(lines))
    return _holding(lines[:end], is_known), "\n".join(lines[end:])


def _holding(lines: list[str], is_known: IsKnown) -> tuple[str, ...]:
    held: list[str] = []
    wants_fallback = False
    for line in lines:
        is_fallback = line.startswith("@@@")
        if is_fallback and not wants_fallback:
            continue
        decorator = line[1:].rstrip() if is_fallback else line.rstrip()
        wants_fallback = not is_known(decorator)
        if not wants_fallback:
            held.append(decorator)
    return tuple(held)


@dataclass(frozen=True, slots=True)
class Orders:
    """What V3 decorators ask for beyond the fields of an entry.

    Attributes:
        after: Assistant messages there must be.
        every: Only when the number of assistant messages is a multiple of this; 0 is always.
        additional: Of each of these lists one key must match, too.
        excluded: None of these keys may match.
    """

    after: int = 0
    every: int = 0
    additional: tuple[tuple[str, ...], ...] = ()
    excluded: tuple[str, ...] = ()

    def allow(self, assistant_messages: int) -> bool:
        return assistant_messages >= self.after and (not self.every or assistant_messages % self.every == 0)


def is_v3(decorator: str) -> bool:
    """Known and with a value that makes sense."""
    return decorator in (ACTIVATE, DONT_ACTIVATE) or _meaning(decorator) is not None


def obey(entry: Entry, decorators: tuple[str, ...]) -> tuple[Entry, Orders]:
    """The entry as its V3 decorators change it, and what they ask for besides."""
    fields: dict[str, Any] = {}
    orders = Orders()
    for decorator in decorators:
        change, order = _meaning(decorator) or ({}, {})
        fields |= change
        if "additional" in order:
            order = {"additional": (*orders.additional, *order["additional"])}
        if "excluded" in order:
            order = {"excluded": (*orders.excluded, *order["excluded"])}
        orders = replace(orders, **order)
    return (replace(entry, **fields) if fields else entry), orders


def _meaning(decorator: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Changes of the entry and orders; None when the decorator or its value is unknown."""
    name, _, value = decorator.removeprefix("@@").partition(" ")
    value = value.strip()
    read = _READERS.get(name)
    return read(value) if read else None


def _numeric(make: Callable[[int], tuple[dict[str, Any], dict[str, Any]]]) -> Callable[[str], Any]:
    def read(value: str) -> Any:
        found = number(value)
        return make(found) if isinstance(found, int) and found >= 0 else None

    return read


_READERS: dict[str, Callable[[str], Any]] = {
    "activate_only_after": _numeric(lambda count: ({}, {"after": count})),
    "activate_only_every": _numeric(lambda count: ({}, {"every": count})),
    "keep_activate_after_match": lambda _: ({"sticky": FOR_EVER}, {}),
    "dont_activate_after_match": lambda _: ({"cooldown": FOR_EVER}, {}),
    "depth": _numeric(lambda depth: ({"position": Position.AT_DEPTH, "depth": depth}, {})),
    "scan_depth": _numeric(lambda depth: ({"scan_depth": depth}, {})),
    "role": lambda name: ({"role": _ROLES[name]}, {}) if name in _ROLES else None,
    "position": lambda name: ({"position": _PLACES[name]}, {}) if name in _PLACES else None,
    "additional_keys": lambda keys: ({}, {"additional": (split_keys(keys),)}) if keys else None,
    "exclude_keys": lambda keys: ({}, {"excluded": split_keys(keys)}) if keys else None,
}
