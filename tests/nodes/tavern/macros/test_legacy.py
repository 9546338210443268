"""The older way of replacing: kind by kind over the whole text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from innkeeper.nodes.tavern.macros import (
    CardFields,
    Chat,
    MacroEnvironment,
    MacroLimit,
    MacroLimits,
    MacroMessage,
    Macros,
)


def _expand(text: str, *, original: str | None = None, **given: Any) -> str:
    now = datetime(2025, 3, 7, 14, 5, 9, tzinfo=UTC)
    environment = MacroEnvironment(**{"user": "Alice", "char": "Bot", "now": now, "draw": lambda: 0.5} | given)
    return Macros(environment, engine="legacy")(text, original=original)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{getvar::a}}{{setvar::a::1}}{{getvar::a}}", "11"),  # all sets before all gets
        ("{{setvar::a::{{user}}}}|{{getvar::a}}", "}}|{{user"),
        ("{{setvar::a::1::2}}{{addvar::n::2}}{{incvar::n}}{{decglobalvar::g}}{{getvar::a}}", "3-11::2"),
        ("{{user }} {{ user}} {{USER}}<BOT>", "{{user }} {{ user}} AliceBot"),
        ("{{setvar::a::x <user> y}}[{{getvar::a}}]", "[x Alice y]"),
        ("{{addvar::a::<CHAR>}}{{getvar::a}}{{setglobalvar::b::<bot><group>}}{{getglobalvar::b}}", "BotBotBot"),
        ("{{random:<user>}} {{reverse:<charIfNotGroup>}} {{// <user> }}<USER>", "Alice toB Alice"),
        ("[{{systemPrompt}}{{authorsNote}}{{charAuthorsNote}}{{defaultAuthorsNote}}{{instructInput}}]", "[]"),
        ("{{newline}}{{noop}}a\n{{trim}}\nb", "\nab"),
        ("a{{// {{user}}\n}}b{{//}}c", "abc"),
        ("{{reverse:ab{{user}}}}", "ecilAba"),
        ("{{random::a::{{user}}}} {{random:a,b}} {{random a,b}}", "Alice b {{random a,b}}"),
        ("{{roll:d1}}{{roll 1d1+1}}{{roll::3}}", "12"),
        ("{{time_UTC+2}} {{datetimeformat YYYY [y]}} {{isodate}}", "4:05 PM 2025 y 2025-03-07"),
        ("{{timeDiff::2023-01-01::2023-01-02}} {{timeDiff::x}}", "a day ago {{timeDiff::x}}"),
        ('{{banned "x"}}{{idle_duration}}', "just now"),
        ("{{if 1}}a{{/if}} {{.a}} {{hasvar::a}}", "{{if 1}}a{{/if}} {{.a}} {{hasvar::a}}"),
        ("{{getvar::}} {{addvar::a::}} {{reverse:}}", "{{getvar::}} {{addvar::a::}} {{reverse:}}"),
        ("{{setvar::a::1}}{{setvar::a::}}[{{getvar::a}}]", "[]"),
        ("{{time_utc+2}} {{isMobile}}", "4:05 PM false"),
    ],
)
def test_kinds_in_their_order(text: str, expected: str) -> None:
    assert _expand(text) == expected


def test_card_and_chat() -> None:
    card = CardFields(description="{{user}} {{scenario}}", scenario="in {{char}}", post_history_instructions="J")
    chat = Chat((MacroMessage("{{user}}!"), MacroMessage("me", is_user=True)))
    text = "{{description}} {{charJailbreak}} {{lastCharMessage}} {{lastUserMessage}} {{lastMessageId}} {{mine}}"
    assert _expand(text, card=card, chat=chat, extra={"mine": "M"}) == "Alice in Bot J {{user}}! me 1 M"


def test_markers_count_as_macros() -> None:
    with pytest.raises(MacroLimit):
        _expand("<user>" * 11, limits=MacroLimits(evaluations=10))


def test_original_once() -> None:
    assert _expand("{{original}}{{original}}", original="for {{user}}") == "for Alice"
    assert _expand("{{original}}") == "{{original}}"


def test_pick_is_stable() -> None:
    text = "{{pick::a::b::c}}" * 20
    assert _expand(text) == _expand(text) != _expand(text, pick_seed="other")


def test_limits() -> None:
    with pytest.raises(MacroLimit):
        _expand("{{user}}" * 11, limits=MacroLimits(evaluations=10))
    with pytest.raises(MacroLimit):
        _expand("{{lastMessage}}" * 99, chat=Chat((MacroMessage("x" * 99),)), limits=MacroLimits(output=999))


def test_items_between_double_colons_keep_their_space() -> None:
    assert _expand("[{{random:: a :: a }}]") == "[ a ]"
    assert _expand("[{{random: a , a }}]") == "[a]"
