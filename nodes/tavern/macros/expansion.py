"""Evaluates the macros of one text: from the inside out, left to right, each once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from innkeeper.nodes.tavern.macros import card_macros, text_macros, variable_macros, variables
from innkeeper.nodes.tavern.macros.definitions import ANY, Call, Macro
from innkeeper.nodes.tavern.macros.environment import MacroEnvironment, MacroLimit, MacroLimits, Variables
from innkeeper.nodes.tavern.macros.syntax import (
    COMMENT,
    Braces,
    Expression,
    Head,
    Span,
    read_braces,
    read_head,
    replace_markers,
    shorthand,
    tight,
)

_UNESCAPE = re.compile(r"\\([{}])")
_IF = "if"
_CONDITION = Macro(lambda _call: None, 2, 2)

BUILT_IN: dict[str, Macro] = {
    name.lower(): macro
    for table in (card_macros.MACROS, text_macros.MACROS, variable_macros.MACROS)
    for name, macro in table.items()
} | {_IF: _CONDITION, COMMENT: text_macros.COMMENT}


class Budget:
    """What one expansion may still use up: characters made and macros evaluated, over all nested texts."""

    def __init__(self, limits: MacroLimits) -> None:
        self.limits = limits
        self.characters = 0
        self.evaluations = 0

    def evaluate(self) -> None:
        self.evaluations += 1
        if self.evaluations > self.limits.evaluations:
            raise MacroLimit(f"a text evaluates more than {self.limits.evaluations} macros; that is the limit")

    def spend(self, characters: int) -> None:
        self.characters += characters
        if self.characters > self.limits.output:
            raise MacroLimit(f"macros make more than {self.limits.output} characters of text; that is the limit")


class Original:
    """The text that an override replaces: there on first use, '' afterwards."""

    def __init__(self, text: str) -> None:
        self._text = text

    def take(self) -> str:
        text, self._text = self._text, ""
        return text


@dataclass(frozen=True)
class _Item:
    """A macro in a row of macros, with the text up to its closing tag when it has one."""

    pair: Braces
    head: Head
    content: Span | None = None
    closing: Braces | None = None

    @property
    def end(self) -> int:
        return self.closing.end if self.closing else self.pair.end


class Expansion:
    """One text being expanded."""

    def __init__(
        self,
        environment: MacroEnvironment,
        budget: Budget,
        *,
        original: str | None = None,
        active: frozenset[str] = frozenset(),
        depth: int = 0,
    ) -> None:
        self.environment = environment
        self.budget = budget
        self.spend = budget.spend
        self._active = active
        self._depth = depth
        self._text = ""
        self._heads: dict[int, Head] = {}
        self._macros = _extra_macros(environment, original)

    def run(self, text: str) -> str:
        """The text with its macros replaced, escapes and trims done."""
        self._text = replace_markers(text)
        pairs = read_braces(self._text, self.environment.limits.depth)
        made = self._evaluate(Span(0, len(self._text), pairs), self._depth) if pairs else self._text
        return text_macros.remove_trims(_UNESCAPE.sub(r"\1", made))

    def field(self, key: str, text: str) -> str:
        """A text of card or persona, expanded. Inside of itself it is '': it would never end."""
        if key in self._active or not text:
            return ""
        inner = Expansion(self.environment, self.budget, active=self._active | {key}, depth=self._deeper(self._depth))
        return inner.run(text.strip()).replace("\r", "")

    def _deeper(self, depth: int) -> int:
        limit = self.environment.limits.depth
        if depth >= limit:
            raise MacroLimit(f"macros stand in macros more than {limit} deep; that is the limit")
        return depth + 1

    def _evaluate(self, span: Span, depth: int) -> str:
        parts: list[str] = []
        at = span.start
        for item in self._items(span.inner):
            parts += self._text[at : item.pair.start], self._macro(item, depth)
            at = item.end
        parts.append(self._text[at : span.end])
        made = "".join(parts)
        self.budget.spend(len(made))
        return made

    def _trimmed(self, span: Span, depth: int) -> str:
        return self._evaluate(span, depth).strip()

    # --- which macros stand in a row, and which of them enclose text ---

    def _items(self, pairs: Sequence[Braces]) -> Iterator[_Item]:
        heads = [self._head(pair) for pair in pairs]
        partners = self._partners(heads)
        index = 0
        while index < len(pairs):
            pair, head, partner = pairs[index], heads[index], partners.get(index)
            if partner is None:
                yield _Item(pair, head)
                index += 1
            else:
                closing = pairs[partner]
                yield _Item(pair, head, Span(pair.end, closing.start, pairs[index + 1 : partner]), closing)
                index = partner + 1

    def _head(self, pair: Braces) -> Head:
        if pair.start not in self._heads:
            self._heads[pair.start] = read_head(self._text, pair)
        return self._heads[pair.start]

    def _partners(self, heads: Sequence[Head]) -> dict[int, int]:
        """Index of the closing tag by that of its opening one: the nearest of the same name that takes a text.

        Where there is none, the first of that name: with a text more it has too many arguments and stays as written.
        """
        found: dict[int, int] = {}
        opened: list[int] = []
        waiting: Counter[str] = Counter()
        full: dict[str, int] = {}
        for index, head in enumerate(heads):
            if not head.closing:
                if self._takes_text(head):
                    opened.append(index)
                    waiting[head.name] += 1
                elif head.name in self._macros:
                    full.setdefault(head.name, index)
            elif waiting[head.name] or head.name in full:
                start = self._opening(heads, head.name, opened=opened, waiting=waiting, full=full)
                found[start] = index
                full = {name: place for name, place in full.items() if place < start}
        return found

    @staticmethod
    def _opening(
        heads: Sequence[Head], name: str, *, opened: list[int], waiting: Counter[str], full: Mapping[str, int]
    ) -> int:
        """The opening tag that a closing one belongs to. What was opened after it stays without an end."""
        place = -1 if waiting[name] else full[name]
        while opened and opened[-1] > place:
            place_of_last = opened.pop()
            waiting[heads[place_of_last].name] -= 1
            if place < 0 and heads[place_of_last].name == name:
                return place_of_last
        return place

    def _takes_text(self, head: Head) -> bool:
        macro = self._macros.get(head.name)
        return macro is not None and len(head.arguments) < macro.most != ANY

    # --- one macro ---

    def _macro(self, item: _Item, depth: int) -> str:
        self.budget.evaluate()
        depth = self._deeper(depth)
        head = item.head
        if head.expression:
            return self._expression(head.expression, depth)
        macro = self._macros.get(head.name)
        if macro is None or head.closing or not self._fits(macro, item):
            if macro is _CONDITION and not head.closing:
                return self._no_condition(item, depth)
            return self._as_written(item, self._segments(item, depth))
        if macro is _CONDITION:
            return self._condition(item, depth)
        return self._call_macro(macro, item, depth)

    @staticmethod
    def _fits(macro: Macro, item: _Item) -> bool:
        """Whether it has as many arguments as it takes. A list of any length takes no text between tags."""
        if item.content is None:
            return macro.least <= len(item.head.arguments) <= macro.most
        return macro.most != ANY and macro.least <= len(item.head.arguments) + 1 <= macro.most

    def _no_condition(self, item: _Item, depth: int) -> str:
        """A condition with too few or too many arguments stays as written; the text it encloses is read."""
        opening = self._text[item.pair.start : item.pair.end]
        if item.content is None or item.closing is None:
            return opening
        return f"{opening}{self._evaluate(item.content, depth)}{self._text[item.closing.start : item.closing.end]}"

    def _call_macro(self, macro: Macro, item: _Item, depth: int) -> str:
        segments = self._segments(item, depth)
        arguments = list(segments)
        if item.content is not None and not item.head.keep_space:
            arguments[-1] = dedent(segments[-1])
        call = Call(self, tuple(arguments), scoped=item.content is not None, source=self._text, offset=item.pair.start)
        made = macro.run(call)
        return self._as_written(item, segments) if made is None else made

    def _spans(self, item: _Item) -> tuple[Span, ...]:
        """The parts of a macro that are evaluated: its arguments, or all that stands in what is no macro."""
        inside = tuple(tight(self._text, argument) for argument in item.head.arguments)
        if not inside and item.pair.inner:
            inside = (Span(item.pair.start + 2, item.pair.end - 2, item.pair.inner),)
        return inside if item.content is None else (*inside, item.content)

    def _segments(self, item: _Item, depth: int) -> list[str]:
        return [self._evaluate(span, depth) for span in self._spans(item)]

    def _as_written(self, item: _Item, segments: Sequence[str]) -> str:
        """The macro as it stands in the text, except for the macros inside of it."""
        parts: list[str] = []
        at = item.pair.start
        for span, segment in zip(self._spans(item), segments, strict=True):
            parts += self._text[at : span.start], segment
            at = span.end
        return "".join((*parts, self._text[at : item.end]))

    # --- variables and conditions ---

    def _variables_of(self, scope: str) -> Variables:
        return self.environment.local if scope == "." else self.environment.global_

    def _expression(self, expression: Expression, depth: int) -> str:
        store, name, operator = self._variables_of(expression.scope), expression.name, expression.operator
        value = expression.value
        if value is None:
            return self._step(store, name, operator) if operator else self._value_of(store, name)
        if operator in ("||", "??", "||=", "??="):
            return self._default(expression, value, depth)
        text = self._trimmed(value, depth)
        if operator in ("=", "+=", "-="):
            self._assign(store, name, operator, text)
            return ""
        return "true" if variables.compare(self._value_of(store, name), operator, text) else "false"

    def _value_of(self, store: Variables, name: str) -> str:
        text = variables.get(store, name)
        self.budget.spend(len(text))
        return text

    def _step(self, store: Variables, name: str, operator: str) -> str:
        text = variables.add(store, name, 1 if operator == "++" else -1)
        self.budget.spend(len(text))
        return text

    def _assign(self, store: Variables, name: str, operator: str, text: str) -> None:
        if operator == "=":
            store[name] = text
        elif operator == "+=":
            self.budget.spend(len(variables.add(store, name, text)))
        else:
            variables.subtract(store, name, text)

    def _default(self, expression: Expression, value: Span, depth: int) -> str:
        """The variable, or the text after the operator, which is evaluated only when it is needed."""
        store, name = self._variables_of(expression.scope), expression.name
        current = self._value_of(store, name)
        is_set = variables.has(store, name) if "?" in expression.operator else not variables.is_false(current)
        if is_set:
            return current
        text = self._trimmed(value, depth)
        if expression.operator.endswith("="):
            store[name] = text
        return text

    def _condition(self, item: _Item, depth: int) -> str:
        content = item.content or item.head.arguments[1]
        is_true = self._is_true(item.head.arguments[0], depth)
        branch = self._branch(content, is_true)
        if branch is None:
            return ""
        made = self._evaluate(branch, depth)
        return made if item.head.keep_space else dedent(made)

    def _is_true(self, condition: Span, depth: int) -> bool:
        text = self._text[condition.start : condition.end]
        inverted = text.lstrip().startswith("!")
        if inverted:
            condition = Span(condition.start + text.index("!") + 1, condition.end, condition.inner)
        return self._holds(condition, depth) != inverted

    def _holds(self, condition: Span, depth: int) -> bool:
        condition = tight(self._text, condition)
        if condition.inner:
            return not variables.is_false(self._evaluate(condition, depth))
        text = self._text[condition.start : condition.end]
        expression = shorthand(text)
        if expression:
            return not variables.is_false(self._expression(expression, depth))
        macro = self._macros.get(text.lower())
        if macro is not None and macro.least == 0:
            text = macro.run(Call(self, source=self._text, offset=condition.start)) or ""
        return not variables.is_false(text)

    def _branch(self, content: Span, is_true: bool) -> Span | None:
        """The text before `{{else}}` or the one after it, which may be missing. Only lower case divides."""
        inner = content.inner
        for item in self._items(inner):
            if item.head.name == "else" and not item.head.closing and self._is_written(item.pair, "else"):
                index = inner.index(item.pair)
                if is_true:
                    return Span(content.start, item.pair.start, inner[:index])
                return Span(item.pair.end, content.end, inner[index + 1 :])
        return content if is_true else None

    def _is_written(self, pair: Braces, word: str) -> bool:
        return word in self._text[pair.start : pair.end]


def _extra_macros(environment: MacroEnvironment, original: str | None) -> dict[str, Macro]:
    if not environment.extra and original is None:
        return BUILT_IN
    macros = dict(BUILT_IN)
    for name, text in environment.extra.items():
        macros[name.lower()] = Macro(lambda _call, text=text: text)  # type: ignore[misc]
    if original is not None:
        first = Original(original)
        macros["original"] = Macro(lambda _call: first.take())
    return macros


def dedent(text: str) -> str:
    """Without space around, and every line without the indent of the first line that has text."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    indent = len(first) - len(first.lstrip(" \t"))
    if not indent:
        return text.strip()
    return "\n".join(_outdent(line, indent) for line in lines).strip()


def _outdent(line: str, indent: int) -> str:
    space = len(line) - len(line.lstrip(" \t"))
    return line[min(space, indent) :]
