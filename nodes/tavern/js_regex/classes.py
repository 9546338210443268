"""Character classes: `[a-z]`, and with flag v sets in sets, `--` and `&&`."""

from __future__ import annotations

from innkeeper.nodes.tavern.js_regex.characters import CharSet, with_other_cases
from innkeeper.nodes.tavern.js_regex.escapes import Reader, read_escape


def read_class(reader: Reader) -> str:
    """A class without flag v as a pattern; the `[` is already read."""
    negated = reader.eat("^")
    found = CharSet()
    while not reader.eat("]"):
        first = _atom(reader)
        if reader.char == "-" and reader.source[reader.position + 1 : reader.position + 2] not in ("]", ""):
            reader.position += 1
            found |= _range(reader, first, _atom(reader))
        else:
            found |= first if isinstance(first, CharSet) else CharSet(((first, first),))
    return folded(reader, found).text(negated=negated)


def folded(reader: Reader, found: CharSet) -> CharSet:
    if not reader.ignore_case or not found.ranges:
        return found
    return CharSet(with_other_cases(found.ranges, unicode=reader.unicode), found.properties)


def _atom(reader: Reader) -> int | CharSet:
    char = reader.take()
    if not char:
        raise reader.refuse("a character class without an end")
    return read_escape(reader, in_class=True) if char == "\\" else ord(char)


def _range(reader: Reader, first: int | CharSet, last: int | CharSet) -> CharSet:
    if isinstance(first, int) and isinstance(last, int):
        if first > last:
            raise reader.refuse("a character range out of order")
        return CharSet(((first, last),))
    if reader.unicode:
        raise reader.refuse("a set as an end of a character range")
    ends = [CharSet(((end, end),)) if isinstance(end, int) else end for end in (first, last)]
    return ends[0] | ends[1] | CharSet(((0x2D, 0x2D),))
