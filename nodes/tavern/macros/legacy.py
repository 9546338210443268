"""The older way: one kind of macro after the other, each over the whole text, so that values may be read again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from innkeeper.nodes.tavern.macros import card_macros, text_macros, variables
from innkeeper.nodes.tavern.macros.dates import format_date
from innkeeper.nodes.tavern.macros.definitions import Call, local_time
from innkeeper.nodes.tavern.macros.environment import MacroEnvironment, Variables
from innkeeper.nodes.tavern.macros.syntax import replace_markers
from innkeeper.nodes.tavern.macros.text_macros import (
    choices,
    draw_index,
    idle,
    pick,
    remove_trims,
    roll,
    time_difference,
)


class Meter(Protocol):
    def evaluate(self) -> None: ...

    def spend(self, characters: int) -> None: ...


Make = Callable[[str], str]
Step = Callable[[str], str]


_ENVIRONMENT = (
    "charPrompt", "charInstruction", "description", "personality", "scenario", "persona", "mesExamples",
    "mesExamplesRaw", "charVersion", "char_version", "charDepthPrompt", "creatorNotes",
)  # fmt: skip
_NAMES = ("user", "char", "group", "charIfNotGroup", "groupNotMuted", "notChar", "model")
_CHAT = (
    "maxPrompt", "maxContext", "maxResponse", "lastMessage", "lastMessageId", "lastUserMessage", "lastCharMessage",
    "firstIncludedMessageId", "firstDisplayedMessageId", "lastSwipeId", "currentSwipeId", "allChatRange",
    "lastGenerationType", "isMobile",
)  # fmt: skip
_APPLICATION = (*card_macros.APPLICATION, "authorsNote", "systemPrompt")
_DATES = {"time": "LT", "date": "LL", "weekday": "dddd", "isotime": "HH:mm", "isodate": "YYYY-MM-DD"}
_ORIGINAL = re.compile(r"\{\{original\}\}", re.IGNORECASE)


def expand_legacy(text: str, environment: MacroEnvironment, meter: Meter, *, original: str | None) -> str:
    """Replace the macros of a text kind by kind.

    Raises:
        MacroLimit: The macros grow larger or are more than the limits allow.
    """
    return _Legacy(environment, meter, original).run(text)


class _Next:
    """Where a mark comes next. Asked with growing positions, it reads the text once."""

    def __init__(self, text: str, mark: str) -> None:
        self._text, self._mark, self._at = text, mark, -1

    def after(self, position: int) -> int:
        """Length of the text when it does not come any more."""
        if self._at < position:
            found = self._text.find(self._mark, position)
            self._at = len(self._text) if found < 0 else found
        return self._at


class _Body:
    """Finds the end of what a macro holds."""

    def __init__(self, text: str, until: str, lines: bool) -> None:
        self._text, self._mark, self._lines = text, _Next(text, until), lines
        self._may_be_empty = until == "}}" and lines
        self._line = _Next(text, "\n")

    def end(self, start: int) -> int | None:
        end = self._mark.after(start)
        if not self._text.startswith("}}", end) or (end == start and not self._may_be_empty):
            return None
        return None if not self._lines and self._line.after(start) < end else end


def _is_pair(text: str, start: int, middle: int, end: int) -> bool:
    """Whether a key, two colons, a value, which may be empty, and the closing braces follow each other."""
    return start < middle and text.startswith("::", middle) and text.startswith("}}", end)


def _items(body: str) -> list[str]:
    """The items of a list: by `::` they keep the space around them."""
    return body.split("::") if "::" in body else choices((body,))


class _Raw:
    """Card texts as they are: macros in them are replaced by the steps that follow."""

    def __init__(self, environment: MacroEnvironment, meter: Meter) -> None:
        self.environment = environment
        self.spend = meter.spend

    def field(self, _key: str, text: str) -> str:
        return text.strip().replace("\r", "")


class _Legacy:
    def __init__(self, environment: MacroEnvironment, meter: Meter, original: str | None) -> None:
        self.environment = environment
        self.meter = meter
        self.original = original

    def run(self, text: str) -> str:
        source = text
        # Values, not macros: the body of a variable macro ends at the first brace.
        text = replace_markers(text, self._value)
        self.meter.spend(max(0, len(text) - len(source)))
        for step in self._steps(source):
            if "{{" not in text:
                break
            before, text = len(text), step(text)
            self.meter.spend(max(0, len(text) - before))
        return text

    def _value(self, name: str) -> str:
        self.meter.evaluate()
        return card_macros.MACROS[name].run(Call(_Raw(self.environment, self.meter))) or ""

    def _steps(self, source: str) -> Iterator[Step]:
        """All kinds in their order: dice, variables, layout, then names and card, then what is never read again."""
        environment = self.environment
        yield self._call_step(r"roll[ :]", lambda body: roll(environment, body, self.meter.spend))
        yield from self._variables(environment.local, "")
        yield from self._variables(environment.global_, "global")
        yield self._words({"newline": "\n"})
        yield remove_trims
        yield self._words({"noop": "", "input": environment.input})
        yield from self._name_steps()
        yield self._words(self._chat_words())
        yield from self._late(source)

    # --- scanners, each linear: a body ends at the next brace ---

    def _call_step(self, prefix: str, make: Make, *, until: str = "}", lines: bool = True) -> Step:
        """`{{prefix body}}`, where the body holds no `until` and, without `lines`, no line end."""
        opening = re.compile(r"\{\{" + prefix, re.IGNORECASE)
        return lambda text: self._replaced(text, opening, _Body(text, until, lines), make)

    def _replaced(self, text: str, opening: re.Pattern[str], body: _Body, make: Make) -> str:
        parts: list[str] = []
        at = 0
        for match in opening.finditer(text):
            if match.start() < at:
                continue
            end = body.end(match.end())
            if end is None:
                continue
            self.meter.evaluate()
            parts += text[at : match.start()], make(text[match.end() : end])
            at = end + 2
        return "".join((*parts, text[at:]))

    def _words(self, words: Mapping[str, str]) -> Step:
        if not words:
            return lambda text: text
        lowered = {name.lower(): value for name, value in words.items()}
        pattern = re.compile(r"\{\{(" + "|".join(map(re.escape, words)) + r")\}\}", re.IGNORECASE)

        def value(match: re.Match[str]) -> str:
            self.meter.evaluate()
            made = lowered[match[1].lower()]
            self.meter.spend(len(made))
            return made

        return lambda text: pattern.sub(value, text)

    # --- the kinds ---

    def _variables(self, store: Variables, scope: str) -> Iterator[Step]:
        yield self._pairs(f"set{scope}var", lambda name, value: store.update({name: value}), may_be_empty=True)
        yield self._pairs(f"add{scope}var", lambda name, value: variables.add(store, name, value))
        yield self._call_step(f"inc{scope}var::", lambda name: variables.add(store, name.strip(), 1))
        yield self._call_step(f"dec{scope}var::", lambda name: variables.add(store, name.strip(), -1))
        yield self._call_step(f"get{scope}var::", lambda name: variables.get(store, name.strip()))

    def _pairs(self, name: str, act: Callable[[str, str], object], *, may_be_empty: bool = False) -> Step:
        """`{{name::key::value}}`, where the key runs to the next colon, over braces if need be."""
        opening = re.compile(r"\{\{" + name + "::", re.IGNORECASE)

        def step(text: str) -> str:
            parts: list[str] = []
            at = 0
            colon, brace = _Next(text, ":"), _Next(text, "}")
            for match in opening.finditer(text):
                middle = colon.after(match.end())
                end = brace.after(middle + 2)
                if match.start() < at or not _is_pair(text, match.end(), middle, end):
                    continue
                if end == middle + 2 and not may_be_empty:
                    continue
                self.meter.evaluate()
                act(text[match.end() : middle].strip(), text[middle + 2 : end])
                parts.append(text[at : match.start()])
                at = end + 2
            return "".join((*parts, text[at:]))

        return step

    def _name_steps(self) -> Iterator[Step]:
        """Names and card texts, one after the other: a text that comes earlier may hold those that follow."""
        if self.original is not None:
            yield self._original(self.original)
        call = Call(_Raw(self.environment, self.meter))
        for name in _ENVIRONMENT:
            yield self._words({name: card_macros.MACROS[name].run(call) or ""})
        yield self._words({"charJailbreak": self.environment.card.post_history_instructions})
        for name in _NAMES:
            yield self._words({name: card_macros.MACROS[name].run(call) or ""})
        yield self._words({name: card_macros.MACROS[name].run(call) or "" for name in _APPLICATION})
        yield self._words(self.environment.extra)

    def _original(self, original: str) -> Step:
        """There on first use, '' afterwards."""

        def step(text: str) -> str:
            first, *rest = _ORIGINAL.split(text)
            return "".join((first, original, *rest)) if rest else text

        return step

    def _chat_words(self) -> dict[str, str]:
        call = Call(_Raw(self.environment, self.meter))
        return {name: card_macros.MACROS[name].run(call) or "" for name in _CHAT}

    def _late(self, source: str) -> Iterator[Step]:
        environment = self.environment
        now = local_time(environment)
        yield self._call_step("reverse:", lambda body: body[::-1], until="}}", lines=False)
        yield self._call_step("//", lambda _body: "", until="}}")
        yield self._call_step("outlet::", environment.outlet, until="}}", lines=False)
        yield self._words({name: format_date(now, pattern) for name, pattern in _DATES.items()})
        yield self._call_step("datetimeformat +", lambda body: format_date(now, body))
        yield self._words({"idle_duration": idle(environment)})
        yield self._call_step(r"time_(?=UTC[+-]\d+\}\})", lambda body: text_macros.zone_time(environment, body.upper()))
        yield self._call_step("timeDiff::", self._difference, until="}}", lines=False)
        yield self._call_step('banned (?=")', lambda _body: "", until="}}", lines=False)
        yield self._call_step(r"random\s?:(?::(?!\}))?", self._random)
        yield self._pick(source)

    def _difference(self, body: str) -> str:
        left, colons, right = body.partition("::")
        if not colons:
            return "{{timeDiff::" + body + "}}"
        return time_difference(self.environment, left, right)

    def _random(self, body: str) -> str:
        items = _items(body)
        return items[draw_index(self.environment, len(items))]

    def _pick(self, source: str) -> Step:
        """The place of a pick is its number: its offset would change with the text before it."""
        count = 0

        def make(body: str) -> str:
            nonlocal count
            count += 1
            return pick(self.environment.pick_seed, source, count, _items(body))

        return self._call_step(r"pick\s?:(?::(?!\}))?", make)
