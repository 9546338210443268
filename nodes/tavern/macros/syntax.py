"""Reads text into macros: where each begins and ends, what it is called, and where its arguments are.

Linear in the length of the text: one pass over the braces, one look at the head of each macro.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from innkeeper.nodes.tavern.macros.environment import MacroLimit

_BRACES = re.compile(r"\\\{(?!\{)|\\\}|\{\{+|\}\}+")
_FLAGS = re.compile(r"\s*(?:[!?~>#/]\s*)*")
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")
_VARIABLE = re.compile(r"([.$])\s*([a-zA-Z](?:[a-zA-Z0-9_-]*[a-zA-Z0-9_])?)\s*")
_OPERATOR = re.compile(r"\+\+|--|\+=|-=|\|\|=|\?\?=|\|\||\?\?|==|!=|>=|<=|>|<|=")
_TIME_ZONE = re.compile(r"\s*time_(?=UTC[+-]\d+\s*\Z)", re.IGNORECASE | re.ASCII)
_MARKER = re.compile(r"<(user|bot|char|group|charifnotgroup)>", re.IGNORECASE)
_MARKED = {"user": "user", "bot": "char", "char": "char", "group": "group", "charifnotgroup": "charIfNotGroup"}

COMMENT = "//"


def replace_markers(text: str, value: Callable[[str], str] = "{{{{{}}}}}".format) -> str:
    """Replaces the old angle markers (`<USER>`, `<BOT>` ...).

    Args:
        value: What stands for a marker, by the name of the macro that means the same; else that macro itself.
    """
    return _MARKER.sub(lambda match: value(_MARKED[match[1].lower()]), text)


@dataclass(frozen=True)
class Braces:
    """One pair of double braces: `text[start:end]`, and the pairs inside of it."""

    start: int
    end: int
    inner: tuple[Braces, ...] = ()


@dataclass(frozen=True)
class Span:
    """A stretch of text and the pairs of braces in it."""

    start: int
    end: int
    inner: Sequence[Braces] = ()


@dataclass(frozen=True)
class Expression:
    """A variable shorthand: `.name op value`; `scope` is `.` (local) or `$` (global)."""

    scope: str
    name: str
    operator: str = ""
    value: Span | None = None


@dataclass(frozen=True)
class Head:
    """What stands between a pair of braces.

    Attributes:
        name: Lower case; '' when what stands there is no macro.
        arguments: Where they are; untrimmed.
        closing: Has the flag `/`: the end of a scoped macro.
        keep_space: Has the flag `#`.
        expression: A variable shorthand instead of a name.
    """

    name: str = ""
    arguments: tuple[Span, ...] = ()
    closing: bool = False
    keep_space: bool = False
    expression: Expression | None = None


@dataclass
class _Open:
    start: int
    inner: list[Braces] = field(default_factory=list)
    escaped: int = 0


def read_braces(text: str, depth: int) -> list[Braces]:
    """The pairs of double braces of a text, outermost first. Those without a partner are text.

    Of three and more braces in a row the inner two count.

    Raises:
        MacroLimit: Pairs stand in pairs more than `depth` deep.
    """
    opened = [_Open(0)]
    at = 0
    while match := _BRACES.search(text, at):
        at = match.end()
        token = match[0]
        if token[0] == "\\":
            at -= 0 if _escape(opened[-1], token) else 1
        elif token[0] == "{":
            opened.append(_Open(at - 2))
        else:
            _close_opened(opened, match.start(), at)
    # what was left open is text; its parts move up, in the order of the text
    found = [pair for frame in opened for pair in frame.inner]
    _check_depth(found, depth)
    return found


def _escape(frame: _Open, token: str) -> bool:
    """An escaped opening brace takes one escaped closing brace with it; any other backslash is just text."""
    if token == "\\}" and not frame.escaped:
        return False
    frame.escaped += 1 if token == "\\{" else -1
    return True


def _close_opened(opened: list[_Open], start: int, end: int) -> None:
    at = start
    while end - at >= 2 and len(opened) > 1:
        frame = opened.pop()
        opened[-1].inner.append(Braces(frame.start, at + 2, tuple(frame.inner)))
        at += 2


def _check_depth(found: Sequence[Braces], depth: int) -> None:
    level = found
    for _ in range(depth):
        level = [inner for pair in level for inner in pair.inner]
        if not level:
            return
    raise MacroLimit(f"macros stand in macros more than {depth} deep; that is the limit")


def read_head(text: str, pair: Braces) -> Head:
    """Read what stands between a pair of braces."""
    start, end = pair.start + 2, pair.end - 2
    stop = pair.inner[0].start if pair.inner else end  # a name, flags and operators hold no macro
    zone = _TIME_ZONE.match(text[start:end]) if not pair.inner else None
    if zone:
        return Head("time", (Span(start + zone.end(), end),))
    comment = _read_comment(text, pair, stop)
    if comment:
        return comment
    flags = _match(_FLAGS, text, start, stop)
    closing, keep = "/" in flags, "#" in flags
    at = start + len(flags)
    if text[at : at + 1] in (".", "$") and at < stop:
        expression = _read_expression(text, Span(at, end, pair.inner))
        return Head(expression=expression, keep_space=keep)
    name = _match(_NAME, text, at, stop)
    arguments = _read_arguments(text, Span(at + len(name), end, pair.inner)) if name else None
    if arguments is None or (closing and arguments):
        return Head()
    return Head(name.lower(), arguments, closing, keep)


def _match(pattern: re.Pattern[str], text: str, start: int, stop: int) -> str:
    match = pattern.match(text, start, stop)
    return match[0] if match else ""


def _read_comment(text: str, pair: Braces, stop: int) -> Head | None:
    """`// text`, with `///` as the end of a scoped one."""
    end = pair.end - 2
    at = pair.start + 2
    while at < stop and text[at].isspace():
        at += 1
    if not text.startswith(COMMENT, at, stop):
        return None
    if text.startswith("///", at, stop) and not pair.inner and not text[at + 3 : end].strip():
        return Head(COMMENT, closing=True)
    rest = Span(at + 2, end, pair.inner)
    return Head(COMMENT, () if not pair.inner and not text[at + 2 : end].strip() else (rest,))


def _read_arguments(text: str, rest: Span) -> tuple[Span, ...] | None:
    """`::a::b` gives two, `:a` and ` a` one with all that follows. None when the name goes on as no name does."""
    stop = rest.inner[0].start if rest.inner else rest.end
    at = rest.start
    while at < stop and text[at].isspace():
        at += 1
    if text.startswith("::", at, stop):
        return tuple(_split_arguments(text, Span(at + 2, rest.end, rest.inner)))
    if text.startswith(":", at, stop):
        return (Span(at + 1, rest.end, rest.inner),)
    if at == rest.end:
        return ()
    return (Span(at, rest.end, rest.inner),) if at > rest.start else None


def _split_arguments(text: str, rest: Span) -> Iterator[Span]:
    """The parts between the double colons that stand outside of inner macros."""
    start = at = rest.start
    inner: list[Braces] = []
    for pair in (*rest.inner, None):
        stop = pair.start if pair else rest.end
        while (found := text.find("::", at, stop)) >= 0:
            yield Span(start, found, inner)
            start, inner, at = found + 2, [], found + 2
        if pair:
            inner.append(pair)
            at = pair.end
    yield Span(start, rest.end, inner)


def _read_expression(text: str, rest: Span) -> Expression | None:
    stop = rest.inner[0].start if rest.inner else rest.end
    match = _VARIABLE.match(text, rest.start, stop)
    if match is None:
        return None
    scope, name = match[1], match[2]
    operator = _match(_OPERATOR, text, match.end(), stop)
    value = Span(match.end() + len(operator), rest.end, rest.inner)
    is_bare = operator in ("", "++", "--")
    if is_bare and (value.inner or text[value.start : value.end].strip()):
        return None
    return Expression(scope, name, operator, None if is_bare else value)


def tight(text: str, span: Span) -> Span:
    """A span without the white space around it. Space that macros make at its ends is not looked at."""
    start, end = span.start, span.end
    first = span.inner[0].start if span.inner else end
    while start < first and text[start].isspace():
        start += 1
    last = span.inner[-1].end if span.inner else start
    while end > last and text[end - 1].isspace():
        end -= 1
    return Span(start, end, span.inner)


def shorthand(text: str) -> Expression | None:
    """A text that is a bare variable shorthand (`.name`, `$name`) and nothing else."""
    expression = _read_expression(text, Span(0, len(text))) if text[:1] in (".", "$") else None
    return expression if expression and not expression.operator else None
