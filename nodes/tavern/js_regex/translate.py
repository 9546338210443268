"""A JavaScript pattern, read by the grammar of ECMAScript with its old-web leniencies, written for `regex`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from innkeeper.nodes.tavern.environment import BadPattern
from innkeeper.nodes.tavern.js_regex.characters import (
    LINE_ENDS,
    WORD_FOLDED,
    CharSet,
    char_text,
    complement,
    with_other_cases,
)
from innkeeper.nodes.tavern.js_regex.classes import folded, read_class
from innkeeper.nodes.tavern.js_regex.escapes import Reader, read_escape
from innkeeper.nodes.tavern.js_regex.scan import group_name, refuse, scan_groups
from innkeeper.nodes.tavern.js_regex.set_classes import read_set_class
from innkeeper.nodes.tavern.js_regex.units import widen

FLAGS = "dgimsuvy"
MAX_PATTERN = 64 * 1024
MAX_DEPTH = 100
# `regex` counts to 2**32 - 2; no text that is read here is as long as this.
_MAX_REPEAT = 2**31
_BRACES = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")
_NUMBER = re.compile("[1-9][0-9]*")
_NOT_LINE_END = CharSet(complement(LINE_ENDS)).text()
_WORD = CharSet(WORD_FOLDED).text()
_FOLDED_EDGE = f"(?(?<={_WORD})(?!{_WORD})|(?={_WORD}))"
_FOLDED_NO_EDGE = f"(?(?<={_WORD})(?={_WORD})|(?!{_WORD}))"


@dataclass(frozen=True)
class Translated:
    """A pattern for `regex` (V0, no flags).

    Attributes:
        names: Names of groups to their numbers.
        is_wide: It counts characters above U+FFFF as two, so that the text must be widened.
    """

    text: str
    names: Mapping[str, int]
    is_global: bool
    is_sticky: bool
    is_wide: bool


def translate(source: str, flags: str = "") -> Translated:
    """Raises BadPattern, with `position` in its details, when JavaScript would refuse the pattern or its flags."""
    _check_flags(flags)
    if len(source) > MAX_PATTERN:
        raise BadPattern(f"the pattern has {len(source)} characters; at most {MAX_PATTERN} are allowed")
    unicode = "u" in flags or "v" in flags
    if not unicode:
        source = widen(source)
    groups = scan_groups(source)
    reader = Reader(source, groups, unicode=unicode, sets="v" in flags, ignore_case="i" in flags)
    text = _Translator(reader, "m" in flags, "s" in flags).pattern()
    return Translated(text, groups.names, is_global="g" in flags, is_sticky="y" in flags, is_wide=not unicode)


def _check_flags(flags: str) -> None:
    for position, flag in enumerate(flags):
        if flag not in FLAGS or flag in flags[:position]:
            what = "a doubled flag" if flag in FLAGS else f"an unknown flag; flags are {', '.join(FLAGS)}"
            raise BadPattern(f"not a JavaScript regular expression: {what}", details={"reason": what})
    if "u" in flags and "v" in flags:
        raise BadPattern("not a JavaScript regular expression: flags u and v exclude each other")


class _Translator:
    def __init__(self, reader: Reader, multiline: bool, dot_all: bool) -> None:
        self._reader = reader
        self._multiline = multiline
        self._dot = "(?s:.)" if dot_all else _NOT_LINE_END
        self._opened = 0
        self._open: list[int] = []
        self._is_backward = False
        self._depth = 0

    def pattern(self) -> str:
        text = self._disjunction()
        if self._reader.char:
            raise self._reader.refuse("a closing parenthesis without an opening one")
        return text

    def _disjunction(self) -> str:
        alternatives = [self._alternative()]
        while self._reader.eat("|"):
            alternatives.append(self._alternative())
        return "|".join(alternatives)

    def _alternative(self) -> str:
        terms = []
        while self._reader.char and self._reader.char not in "|)":
            terms.append(self._term())
        return "".join(terms)

    def _term(self) -> str:
        reader = self._reader
        assertion = self._assertion()
        if assertion is not None:
            return assertion
        start = reader.position
        if reader.eat("(?=") or reader.eat("(?!"):
            text = self._look(reader.source[start : reader.position], backward=False)
            # Only without u may a look-ahead be repeated.
            return text if reader.unicode else self._quantified(text)
        if reader.eat("(?<=") or reader.eat("(?<!"):
            return self._look(reader.source[start : reader.position], backward=True)
        return self._quantified(self._atom())

    def _assertion(self) -> str | None:
        reader = self._reader
        if reader.eat("^"):
            return f"(?<!{_NOT_LINE_END})" if self._multiline else r"\A"
        if reader.eat("$"):
            return f"(?!{_NOT_LINE_END})" if self._multiline else r"\Z"
        if reader.eat("\\b"):
            return _FOLDED_EDGE if reader.folds_words else r"(?a:\b)"
        if reader.eat("\\B"):
            return _FOLDED_NO_EDGE if reader.folds_words else r"(?a:\B)"
        return None

    def _look(self, opening: str, *, backward: bool) -> str:
        before, self._is_backward = self._is_backward, backward
        text = f"{opening}{self._inside()})"
        self._is_backward = before
        return f"(?:{text})"

    def _inside(self) -> str:
        start = self._reader.position
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._reader.refuse("groups nested too deeply")
        text = self._disjunction()
        if not self._reader.eat(")"):
            raise refuse("a group without an end", start)
        self._depth -= 1
        return text

    def _atom(self) -> str:
        reader = self._reader
        char = reader.take()
        if char == ".":
            return self._dot
        if char == "(":
            return self._translate_group()
        if char == "[":
            return read_set_class(reader) if reader.sets else read_class(reader)
        if char == "\\":
            return self._escape()
        if char in "*+?" or (char == "{" and self._is_bad_brace()):
            raise refuse("nothing to repeat", reader.position - 1)
        if char in "{}]" and reader.unicode:
            raise refuse("a bracket that needs a backslash", reader.position - 1)
        return self._literal(ord(char))

    def _is_bad_brace(self) -> bool:
        return _BRACES.match(self._reader.source, self._reader.position - 1) is not None

    def _translate_group(self) -> str:
        reader = self._reader
        if reader.eat("?:"):
            return f"(?:{self._inside()})"
        if reader.eat("?"):
            if not reader.eat("<"):
                raise reader.refuse("an unknown kind of group")
            _, reader.position = group_name(reader.source, reader.position)
        with self._capturing():
            return f"({self._inside()})"

    @contextmanager
    def _capturing(self) -> Iterator[None]:
        self._opened += 1
        self._open.append(self._opened)
        yield
        self._open.pop()

    def _escape(self) -> str:
        reader = self._reader
        if reader.char == "k" and (reader.unicode or reader.groups.names):
            return self._named_reference()
        number = _NUMBER.match(reader.source, reader.position)
        if number and (reader.unicode or int(number[0]) <= reader.groups.count):
            reader.position = number.end()
            return self._reference(int(number[0]))
        found = read_escape(reader)
        return folded(reader, found).text() if isinstance(found, CharSet) else self._literal(found)

    def _named_reference(self) -> str:
        reader = self._reader
        reader.position += 1
        if not reader.eat("<"):
            raise reader.refuse("a reference without a group name")
        name, reader.position = group_name(reader.source, reader.position)
        if name not in reader.groups.names:
            raise reader.refuse("a reference to a group that is not there")
        return self._reference(reader.groups.names[name])

    def _reference(self, number: int) -> str:
        if number > self._reader.groups.count:
            raise self._reader.refuse("a reference to a group that is not there")
        # A group that has not ended yet is empty to JavaScript. Inside a look-behind the later one matches first.
        if number in self._open or (number > self._opened and not self._is_backward):
            return "(?:)"
        reference = f"(?i:\\{number})" if self._reader.ignore_case else f"\\{number}"
        # As is a group that took no part.
        return f"(?:(?({number}){reference}|))"

    def _literal(self, code: int) -> str:
        if not self._reader.ignore_case:
            return char_text(code)
        cases = CharSet(with_other_cases(((code, code),), unicode=self._reader.unicode))
        return cases.text() if len(set(cases.ranges)) > 1 else char_text(code)

    def _quantified(self, atom: str) -> str:
        reader = self._reader
        quantifier = reader.char if reader.char and reader.char in "*+?" else ""
        if quantifier:
            reader.position += 1
        elif (braces := reader.match(_BRACES)) is not None:
            quantifier = _braces(braces)
        elif reader.unicode and reader.char == "{":
            raise reader.refuse("an incomplete quantifier")
        if not quantifier:
            return atom
        return atom + quantifier + ("?" if reader.eat("?") else "")


def _braces(found: re.Match[str]) -> str:
    lowest, highest = _repeat_count(found[1]), _repeat_count(found[3]) if found[3] else None
    if highest is not None and lowest > highest:
        raise refuse("numbers out of order in a quantifier", found.start())
    if not found[2]:
        return f"{{{lowest}}}"
    return f"{{{lowest},{'' if highest is None or highest == _MAX_REPEAT else highest}}}"


def _repeat_count(digits: str) -> int:
    return min(int(digits[-11:] if not digits.strip("0")[11:] else "99999999999"), _MAX_REPEAT)
