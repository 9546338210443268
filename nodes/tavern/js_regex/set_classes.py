"""Character classes under flag v: classes in classes, `--`, `&&` and `\\q{}`, written with look-aheads."""

from __future__ import annotations

from dataclasses import dataclass

from innkeeper.nodes.tavern.js_regex.characters import CharSet, char_text, with_other_cases
from innkeeper.nodes.tavern.js_regex.classes import folded
from innkeeper.nodes.tavern.js_regex.escapes import Reader, read_escape

_DOUBLED = tuple(mark * 2 for mark in "&!#$%*+,.:;<=>?@^`~")
_RESERVED = frozenset("()[]{}/-|")
MAX_DEPTH = 20


@dataclass(frozen=True)
class _Operand:
    """One part of a class: a pattern for it, its single character if it is one, and whether it may be longer."""

    text: str
    code: int | None = None
    has_strings: bool = False


def read_set_class(reader: Reader, depth: int = 0) -> str:
    """A class with flag v as a pattern; the `[` is already read."""
    return _class(reader, depth).text


def _class(reader: Reader, depth: int) -> _Operand:
    if depth > MAX_DEPTH:
        raise reader.refuse("classes nested too deeply")
    negated = reader.eat("^")
    if reader.eat("]"):
        return _Operand("(?s:.)" if negated else "(?!)")
    first = _operand(reader, depth)
    if reader.char == "-" and reader.source.startswith("--", reader.position):
        found = _subtraction(reader, first, depth)
    elif reader.source.startswith("&&", reader.position):
        found = _intersection(reader, first, depth)
    else:
        found = _union(reader, first, depth)
    if not negated:
        return found
    if found.has_strings:
        raise reader.refuse("a negated class that holds strings")
    return _Operand(f"(?:(?!{found.text})(?s:.))")


def _subtraction(reader: Reader, first: _Operand, depth: int) -> _Operand:
    taken = []
    while not reader.eat("]"):
        if not reader.eat("--"):
            raise reader.refuse("a mix of class operations")
        taken.append(_operand(reader, depth).text)
    return _Operand("(?:" + "".join(f"(?!{text})" for text in taken) + f"{first.text})", None, first.has_strings)


def _intersection(reader: Reader, first: _Operand, depth: int) -> _Operand:
    others = []
    while not reader.eat("]"):
        if not reader.eat("&&") or reader.char == "&":
            raise reader.refuse("a mix of class operations")
        others.append(_operand(reader, depth))
    has_strings = first.has_strings and all(other.has_strings for other in others)
    return _Operand("(?:" + "".join(f"(?={other.text})" for other in others) + f"{first.text})", None, has_strings)


def _union(reader: Reader, first: _Operand, depth: int) -> _Operand:
    parts = [first]
    while not reader.eat("]"):
        if reader.source.startswith("--", reader.position):
            raise reader.refuse("a mix of class operations")
        if reader.char == "-":
            reader.position += 1
            parts[-1] = _range(reader, parts[-1], _operand(reader, depth))
        else:
            parts.append(_operand(reader, depth))
    # Strings are tried before characters, the longest first.
    parts.sort(key=lambda part: not part.has_strings)
    return _Operand("(?:" + "|".join(part.text for part in parts) + ")", None, any(part.has_strings for part in parts))


def _range(reader: Reader, first: _Operand, last: _Operand) -> _Operand:
    if first.code is None or last.code is None or first.code > last.code:
        raise reader.refuse("a bad character range")
    return _Operand(folded(reader, CharSet(((first.code, last.code),))).text())


def _operand(reader: Reader, depth: int) -> _Operand:
    if reader.eat("["):
        return _class(reader, depth + 1)
    if reader.eat("\\q{"):
        return _strings(reader)
    return _character(reader)


def _character(reader: Reader) -> _Operand:
    if any(reader.source.startswith(doubled, reader.position) for doubled in _DOUBLED):
        raise reader.refuse("a doubled mark that is reserved")
    char = reader.take()
    if not char or char in _RESERVED:
        raise reader.refuse("a mark that needs a backslash, or a class without an end")
    found = read_escape(reader, in_class=True) if char == "\\" else ord(char)
    if isinstance(found, CharSet):
        return _Operand(folded(reader, found).text())
    return _Operand(folded(reader, CharSet(((found, found),))).text(), found)


def _strings(reader: Reader) -> _Operand:
    strings: list[list[int]] = [[]]
    while not reader.eat("}"):
        if reader.eat("|"):
            strings.append([])
            continue
        found = _character(reader)
        if found.code is None:
            raise reader.refuse("a set inside of a string")
        strings[-1].append(found.code)
    strings.sort(key=len, reverse=True)
    text = "|".join("".join(_char(reader, code) for code in string) for string in strings)
    return _Operand(f"(?:{text})", None, any(len(string) != 1 for string in strings))


def _char(reader: Reader, code: int) -> str:
    if not reader.ignore_case:
        return char_text(code)
    return CharSet(with_other_cases(((code, code),), unicode=True)).text()
