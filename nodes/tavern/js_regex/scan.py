"""What must be known of a pattern before it is read: how many groups it has, and their names."""

from __future__ import annotations

from dataclasses import dataclass, field

from innkeeper.nodes.tavern.environment import BadPattern
from innkeeper.nodes.tavern.js_regex.units import narrow

MAX_GROUPS = 1_000


def refuse(reason: str, position: int) -> BadPattern:
    """The error for a pattern that JavaScript would refuse. `position` counts characters from 0."""
    message = f"not a JavaScript regular expression: {reason} at position {position}"
    return BadPattern(message, details={"position": position, "reason": reason})


@dataclass
class Groups:
    count: int = 0
    names: dict[str, int] = field(default_factory=dict)


def scan_groups(source: str) -> Groups:
    groups = Groups()
    position, in_class = 0, False
    while position < len(source):
        char = source[position]
        if char == "\\":
            position += 1
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        elif char == "(":
            _count_group(groups, source, position)
        position += 1
    return groups


def _count_group(groups: Groups, source: str, position: int) -> None:
    is_named = source.startswith("(?<", position) and source[position + 3 : position + 4] not in ("=", "!")
    if source.startswith("(?", position) and not is_named:
        return
    groups.count += 1
    if groups.count > MAX_GROUPS:
        raise refuse(f"more than {MAX_GROUPS} groups", position)
    if is_named:
        name, _ = group_name(source, position + 3)
        if name in groups.names:
            raise refuse("a second group of the same name", position)
        groups.names[name] = groups.count


def group_name(source: str, position: int) -> tuple[str, int]:
    """The name that starts at `position`, and where the `>` behind it is passed."""
    end = source.find(">", position)
    name = narrow(_unescaped(source[position:end], position)) if end >= 0 else ""
    if (
        not name.replace("$", "_").replace("\u200c", "_").replace("\u200d", "_").isidentifier()
        or name[0] in "\u200c\u200d"
    ):
        raise refuse("a bad group name", position)
    return name, end + 1


def _unescaped(name: str, position: int) -> str:
    if "\\" not in name:
        return name
    parts = name.split("\\u")
    try:
        return parts[0] + "".join(_unicode_escape(part) for part in parts[1:])
    except (ValueError, OverflowError):
        raise refuse("a bad group name", position) from None


def _unicode_escape(part: str) -> str:
    if part.startswith("{"):
        digits, _, rest = part[1:].partition("}")
        return chr(int(digits, 16)) + rest
    if len(part) < 4:
        raise ValueError("too short")
    return chr(int(part[:4], 16)) + part[4:]
