"""Whatever a text holds, expanding it ends soon: with a text, or with the one error about limits."""

from __future__ import annotations

import contextlib
import random
import time
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.macros import CardFields, Chat, MacroEnvironment, MacroLimit, MacroMessage, Macros
from innkeeper.nodes.tavern.macros.expansion import BUILT_IN
from tests.effort import examples

Engine = Literal["new", "legacy"]

_PIECES = st.one_of(
    st.sampled_from(["{{", "}}", "{", "}", "::", ":", "\\{", "\\}", " ", "\n", "<user>", "{{/", "{{#", "{{.", "{{$"]),
    st.sampled_from(sorted(BUILT_IN)),
    st.sampled_from(["{{if 1}}", "{{if .a}}", "{{else}}", "{{/if}}", "{{.a = 1}}", "a", "++", " += ", " ?? ", "7"]),
    st.text(max_size=4),
)
_TEXTS = st.lists(_PIECES, max_size=40).map("".join)


def _environment() -> MacroEnvironment:
    card = CardFields(description="{{user}} {{scenario}}", scenario="{{description}}", alternate_greetings=("x",))
    chat = Chat((MacroMessage("{{user}}", swipes=1),))
    return MacroEnvironment(user="A{{char}}", char="B", card=card, chat=chat, draw=random.Random(0).random)


@pytest.mark.parametrize("engine", ["new", "legacy"])
def test_any_text_gives_a_text_or_the_limit(engine: Engine) -> None:
    @examples(150)
    @given(_TEXTS)
    def check(text: str) -> None:
        try:
            made = Macros(_environment(), engine=engine)(text, original="o")
        except MacroLimit:
            return
        assert isinstance(made, str)

    check()


@examples(150)
@given(st.text(alphabet=st.characters(exclude_characters="{}<>")))
def test_text_without_braces_and_markers_is_unchanged(text: str) -> None:
    assert Macros(_environment())(text) == text
    assert Macros(_environment(), engine="legacy")(text) == text


@examples(150)
@given(st.text(alphabet=st.characters(exclude_characters="\\")), st.text(alphabet="abc"))
def test_values_come_out_as_they_went_in(value: str, around: str) -> None:
    if "{{trim}}" in value.lower():
        return
    environment = MacroEnvironment(user=value)
    assert Macros(environment)(f"{around}{{{{user}}}}{around}") == f"{around}{value}{around}"


@examples(150)
@given(st.text(alphabet=st.characters(exclude_characters="{}<>\\:")), st.text("abcXYZ09", min_size=1))
def test_a_variable_set_by_a_macro_is_the_text_trimmed(value: str, name: str) -> None:
    environment = MacroEnvironment()
    assert Macros(environment)(f"{{{{setvar::{name}::{value}}}}}") == ""
    assert environment.local == {name: value.strip()}


_HOSTILE = {
    "opening braces": "{{" * 50_000,
    "names opened": "{{a" * 33_000,
    "deep nesting": "{{a" * 20_000 + "}}" * 20_000,
    "opened around closed": "{{a " * 10_000 + "{{user}}" * 8_000,
    "sets opened": "{{setvar::" * 10_000 + "}x}}",
    "conditions opened": "{{if 1}}" * 10_000,
    "conditions in conditions": "{{if 1}}" * 3_000 + "{{/if}}" * 3_000,
    "escapes": "{{a" + "\\{" * 40_000 + "\\}" * 40_000,
    "newlines": "\n" * 100_000 + "{{trim}}",
    "colons": "{{random" + "::" * 40_000 + "}}",
    "dashes": "{{.a" + "-" * 90_000 + "}}",
    "comments opened": "{{//" * 20_000,
    "reverses opened": "{{reverse:" * 10_000 + "\n}}",
    "date letters": "{{datetimeformat " + "[" * 90_000 + "}}",
    "list in a variable": "{{.a=" + "[" * 50_000 + "}}{{.a+=1}}",
    "digits that are no number": "{{.a=" + "1" * 100_000 + "x}}{{.a++}}{{.a == 1}}",
    "many dice": "{{roll:1000d6}}" * 3_000,
}


@pytest.mark.parametrize("engine", ["new", "legacy"])
@pytest.mark.parametrize("text", _HOSTILE.values(), ids=_HOSTILE.keys())
def test_hostile_text_ends_soon(text: str, engine: Engine) -> None:
    started = time.process_time()
    with contextlib.suppress(MacroLimit):
        Macros(_environment(), engine=engine)(text)
    assert time.process_time() - started < 20  # work that grows with the square of these takes minutes
