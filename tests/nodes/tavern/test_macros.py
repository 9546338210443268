"""What each macro gives, in the newer engine."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from innkeeper.nodes.number_text import number_text
from innkeeper.nodes.tavern.macros import (
    CardFields,
    Chat,
    MacroEnvironment,
    MacroLimit,
    MacroLimits,
    MacroMessage,
    Macros,
)
from innkeeper.nodes.tavern.macros.numbers import to_number

_NOW = datetime(2025, 3, 7, 14, 5, 9, 123456, tzinfo=UTC)
_CHAT = Chat(
    (
        MacroMessage("hello there"),
        MacroMessage("hi {{user}}", is_user=True),
        MacroMessage("I am $1", swipes=3, swipe=1),
        MacroMessage("note", is_system=True, swipes=3, swipe=1),
    ),
    first_included=1,
)


def _environment(**given: Any) -> MacroEnvironment:
    return MacroEnvironment(**{"user": "Alice", "char": "Bot", "now": _NOW} | given)


def _expand(text: str, *, original: str | None = None, **given: Any) -> str:
    return Macros(_environment(**given))(text, original=original)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{USER}} {{ user }} {{Char}}", "Alice Alice Bot"),
        ("{{!user}}{{?user}}{{~user}}{{>user}}{{#user}}", "Alice" * 5),
        ("{{{{user}}}}", "{{Alice}}"),
        ("{{user}} and {{nosuch::{{char}}}}", "Alice and {{nosuch::Bot}}"),
        ("{{user::x}} {{user", "{{user::x}} {{user"),
        ("{{user and {{char}}", "{{user and Bot"),
        ("{{}} {{ }} {{1}} {{user.name}} {{us{{char}}}}", "{{}} {{ }} {{1}} {{user.name}} {{usBot}}"),
        ("a }} b {{char}} }}", "a }} b Bot }}"),
        (r"\{\{user\}\} \{ \x", "{{user}} { \\x"),
        (r"{{setvar::a::\{\{user\}\}}}[{{getvar::a}}]", "[{{user}}]"),
        (r"{{setvar::a::C:\}}{{getvar::a}}", "C:\\"),
        ("<User><BOT> <group>", "AliceBot Bot"),
        ("{{setvar::a::<user>}}{{getvar::a}}", "Alice"),
        ("{{ setvar :: a :: x y }}[{{ getvar  a }}]", "[x y]"),
        ("{{reverse abc}} {{reverse::{{user}}}} {{reverse:x::y}}", "cba ecilA y::x"),
        ("{{reverse}}\n  ab\n{{/reverse}}", "ba"),
        ("{{user}}x{{/user}}", "{{user}}x{{/user}}"),
        ("{{setvar::a::1}}x{{/setvar}}[{{getvar::a}}]", "{{setvar::a::1}}x{{/setvar}}[]"),
        ("{{setvar::a}}{{setvar::b::1}}x{{/setvar}}[{{getvar::a}}{{getvar::b}}]", "[x1]"),
        ("{{random::a}}x{{/random}}", "{{random::a}}x{{/random}}"),
        ("[{{setvar::a:: {{space::2}}x }}{{getvar::a}}]", "[  x]"),
        ("{{if {{space}}}}y{{else}}n{{/if}}", "y"),
        ("{{if 1}}a{{ELSE}}b{{/if}}", "ab"),
        ("{{if {{getvar::a}}}}", "{{if {{getvar::a}}}}"),
        ("{{banned}}{{comment}}{{//}}", "{{banned}}{{comment}}{{//}}"),
        ("{{nosuch}}x{{/nosuch}}", "{{nosuch}}x{{/nosuch}}"),
        ("a{{newline}}b{{space::3}}c{{newline::0}}d", "a\nb   cd"),
        ("{{newline::x}} {{space::-1}}", "{{newline::x}} {{space::-1}}"),
        ("a\r\n\n{{trim}}\r\n{{Trim}}\n b", "a b"),
        ("a\n{{noop}}{{trim}}\nb", "ab"),
        ("{{setvar::t::x\n{{trim}}}}{{getvar::t}}\n\ny", "xy"),
        ("a{{// {{setvar::x::1}} \n }}b{{getvar::x}}", "ab1"),
        ("a{{comment: b}}{{hidden_key:c}}{{banned 'd'}}e", "ae"),
        ("a {{//}} {{user}} {{//}} b {{///}} c {{///}} d", "a  d"),
    ],
)
def test_syntax_and_text(text: str, expected: str) -> None:
    assert _expand(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{if 1}}a{{else}}b{{/if}}", "a"),
        ("{{if !1}}a{{else}}b{{/if}}", "b"),
        ("{{if OFF}}a{{/if}}{{if 0}}b{{/if}}{{if no}}c{{/if}}", "c"),
        ("{{if ! {{getvar::x}}}}a{{/if}}", "a"),
        ("{{if persona}}a{{else}}b{{/if}}{{if char}}c{{/if}}", "bc"),
        ("{{if mood}}a{{/if}}", "a"),  # a bare name is text
        ("{{.x = 1}}{{if .x}}a{{/if}}{{if !$x}}b{{/if}}", "ab"),
        ("{{if::1::yes}}{{if::0::yes}}{{if:: {{user}} ::{{char}}}}", "yesBot"),
        ("{{if 1}}{{setvar::a::1}}{{else}}{{setvar::a::2}}{{setvar::b::1}}{{/if}}{{getvar::a}}{{hasvar::b}}", "1false"),
        ("{{if 1}}{{if 0}}a{{else}}b{{/if}}{{else}}c{{/if}}", "b"),
        ("{{if 1}}x{{if 1}}y{{/if}}", "{{if 1}}xy"),
        ("{{if 1}}\n    # T\n    {{user}}\n      z\n{{/if}}|", "# T\nAlice\n  z|"),
        ("{{#if 1}}\n  a\n{{/if}}|", "\n  a\n|"),
        ("{{if 1}}{{.a = 1}}\n b{{/if}}", "b"),
        ("x{{if 1}}{{newline}}{{/if}}y", "xy"),
        ("{{ if 1 }} a {{ else }} b {{ /if }}", "a"),
        ("{{if 1}}a", "{{if 1}}a"),
        ("a{{/if}}{{else}}", "a{{/if}}"),
    ],
)
def test_conditions(text: str, expected: str) -> None:
    assert _expand(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{setvar::n::007}}{{getvar::n}}", "7"),
        ("{{setvar::n::1e3}}{{getvar::n}} {{setvar::n::0x1F}}{{getvar::n}}", "1000 31"),
        ("{{setvar::n::0.1}}{{addvar::n::0.2}}{{getvar::n}}", "0.30000000000000004"),
        ("{{addvar::n::1e21}}{{getvar::n}} {{addvar::s::x}}{{getvar::s}}", "1e+21 x"),
        ("{{setvar::s::ab}}{{incvar::s}} {{incvar::m}} {{decvar::k}}", "ab1 1 -1"),
        ("{{setvar::Name::x}}{{getvar::name}}|{{GETVAR::Name}}", "|x"),
        ("{{setglobalvar::g::1}}{{incglobalvar::g}}{{decglobalvar::g}}{{hasglobalvar::g}}{{deleteglobalvar::g}}"
         "{{hasglobalvar::g}}", "21truefalse"),
        ("{{setvar::l::[1,2]}}{{incvar::l}} {{getvarkey::l::2}} {{getvarkey::l::9}}|", "[1,2,1] 1 |"),
        ("{{setvarkey::o::k::v}}{{getvar::o}} {{getvarkey::o::k}}", '{"k":"v"} v'),
        ("{{setvarkey::o::1::v}}{{getvar::o}}", '[null,"v"]'),
        ("{{setvar::t::text}}{{setvarkey::t::a::b}}{{getvarkey::t::a}}", "text"),
        ("{{.a = 1}}{{.a++}}{{.a--}}{{.a += 5}}{{.a -= 2}}{{.a}}", "214"),
        ("{{.a-=1}}{{.a}} {{.my-var = x}}{{.my-var}}", "-1 x"),
        ("{{.t = x}}{{.t -= 1}}{{.t -= y}}{{.t -= }}{{.t}}", "x-1"),
        ("{{setvar::::v}}{{incvar::}}[{{getvar::}}]", "{{setvar::::v}}{{incvar::}}[]"),
        ("{{setvarindex::l::1::v}}{{getvarindex::l::0}}", "null"),
        ("{{.a ?? d}}{{.a = 0}}{{.a ?? d}}{{.a || e}}", "d0e"),
        ("{{.a ??= {{user}}}}{{.a ||= x}}{{.a}}", "AliceAliceAlice"),
        ("{{.a = 1}}{{.a || {{.b = 1}}}}{{hasvar::b}}", "1false"),
        ("{{.a = 5}}{{.a == 5}}{{.a == 5.0}}{{.a != x}}{{.a >= 5}}{{.a <= 4}}{{.s = b}}{{.s == b}}{{.s > 1}}",
         "truefalsetruetruefalsetruefalse"),
        ("{{.a = x}}{{ $a = y }}{{ .a }}{{$a}}", "xy"),
        ("{{.a ! b}} {{.}} {{.a++ 1}}", "{{.a ! b}} {{.}} {{.a++ 1}}"),
        ("{{.m = \\{\\{user\\}\\}}}{{.m}}", "{{user}}"),
    ],
)  # fmt: skip
def test_variables(text: str, expected: str) -> None:
    assert _expand(text) == expected


def test_text_in_a_condition_without_a_condition_is_read() -> None:
    assert _expand("{{if }}{{user}}{{/if}}") == "{{if }}" + _expand("{{user}}") + "{{/if}}"


def test_variables_are_read_back_as_json_keeps_them() -> None:
    environment = _environment(local={"n": 2, "list": [1, 2.0], "flag": True, "none": None})
    text = Macros(environment)("{{incvar::n}}{{.x = 5}}{{.h = 1e308}}{{.h += 1e308}}{{.list}}{{.flag}}{{.none}}{{.h}}")
    assert text == "3[1,2]trueInfinity"
    assert environment.local["n"] == 3
    assert environment.local["x"] == "5"
    assert environment.local["h"] == "Infinity"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1 + 0.2, "0.30000000000000004"), (1e21, "1e+21"), (1e20, "100000000000000000000"), (8.0, "8"), (-0.0, "0"),
        (1e-6, "0.000001"), (1.5e-7, "1.5e-7"), (123456.789, "123456.789"), (2**53, "9007199254740992"),
        (1.7976931348623157e308, "1.7976931348623157e+308"), (5e-324, "5e-324"), (-1.25, "-1.25"), (math.nan, "NaN"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_javascript_does(number: float, text: str) -> None:
    assert number_text(number) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [("", 0), (" 7\n", 7), ("1_000", None), ("0b101", 5), ("-0x1", None), (".5", 0.5), ("5.", 5), ("1e", None),
     ("-Infinity", -math.inf), ("nan", None), ("٣", None), ("1 2", None)],
)  # fmt: skip
def test_numbers_are_read_as_javascript_does(text: str, number: float | None) -> None:
    assert to_number(text) == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{time}} {{date}} {{weekday}}", "2:05 PM March 7, 2025 Friday"),
        ("{{time_UTC+2}} {{time::UTC-15}} {{time::utc+90}} {{time::x}}|", "4:05 PM 11:05 PM 2:05 PM 2:05 PM|"),
        ("{{datetimeformat DD.MM.YYYY HH:mm:ss}}", "07.03.2025 14:05:09"),
        ("{{datetimeformat::dddd, MMMM Do [at] h A}}", "Friday, March 7th at 2 PM"),
        ("{{datetimeformat ddd dd d E MMM M D H m s SSS Z ZZ X}}",
         "Fri Fr 5 5 Mar 3 7 14 5 9 123 +00:00 +0000 1741356309"),
        ("{{datetimeformat LT LTS L LL LLL LLLL l}}",
         "2:05 PM 2:05:09 PM 03/07/2025 March 7, 2025 March 7, 2025 2:05 PM Friday, March 7, 2025 2:05 PM 3/7/2025"),
        ("{{datetimeformat DDD Q W w gggg GGGG kk a \\Y [Y}}", "66 1 10 10 2025 2025 14 pm Y [2025"),
        ("{{timeDiff::2023-01-01 12:00:00::2023-01-01 15:00:00}}", "3 hours ago"),
        ("{{timeDiff::2023-01-03::2023-01-01T00:00:00Z}}", "in 2 days"),
        ("{{timeDiff::March 7, 2025::March 7, 2024}}", "in a year"),
        ("{{timeDiff::nonsense::2023-01-01}}", "Invalid date"),
        ("{{idle_duration}} {{idleDuration}}", "just now just now"),
    ],
)  # fmt: skip
def test_dates(text: str, expected: str) -> None:
    assert _expand(text) == expected


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "a few seconds"), (44, "a few seconds"), (45, "a minute"), (89, "a minute"), (90, "2 minutes"),
     (44 * 60, "44 minutes"), (45 * 60, "an hour"), (3 * 3600, "3 hours"), (22 * 3600, "a day"), (36 * 3600, "2 days"),
     (25 * 86400, "25 days"), (26 * 86400, "a month"), (60 * 86400, "2 months"), (320 * 86400, "a year"),
     (730 * 86400, "2 years")],
)  # fmt: skip
def test_idle_time_in_words(seconds: int, words: str) -> None:
    chat = Chat(last_time=_NOW - timedelta(seconds=seconds))
    assert _expand("{{idle_duration}}", chat=chat) == words


def test_time_is_shown_in_the_zone_given() -> None:
    text = "{{isodate}} {{isotime}} {{datetimeformat Z}}"
    assert _expand(text, timezone="Asia/Shanghai") == "2025-03-07 22:05 +08:00"
    assert _expand(text, timezone="no/such/zone") == "2025-03-07 14:05 +00:00"


def test_clock_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        MacroEnvironment(now=_NOW.replace(tzinfo=None))


def test_names_in_a_group() -> None:
    text = "{{group}}|{{charIfNotGroup}}|{{groupNotMuted}}|{{notChar}}"
    group = _expand(text, group=("Bot", "Ann", "Ben"), group_muted=("Ben",))
    assert group == "Bot, Ann, Ben|Bot, Ann, Ben|Bot, Ann|Ann, Ben, Alice"
    assert _expand(text) == "Bot|Bot|Bot|Alice"


def test_chat_macros() -> None:
    text = "{{lastMessage}}|{{lastMessageId}}|{{lastUserMessage}}|{{lastCharMessage}}|{{firstIncludedMessageId}}"
    assert _expand(text, chat=_CHAT) == "note|3|hi {{user}}|I am $1|1"
    assert _expand(text) == "||||"
    text = "{{lastSwipeId}}|{{currentSwipeId}}|{{allChatRange}}"
    assert _expand(text, chat=_CHAT) == "3|2|0-3"
    assert _expand(text) == "||"


def test_values_are_not_read_again() -> None:
    local = {"v": "{{user}} $& $1", "b": "}}"}
    assert _expand("{{getvar::v}} {{.v}} {{reverse::{{getvar::b}}a}}", local=local) == "{{user}} $& $1 " * 2 + "a}}"
    assert _expand("{{user}}", user="{{char}}$1\\1") == "{{char}}$1\\1"
    assert _expand("{{input}}{{model}}", input="{{setvar::a::1}}", model="<USER>", local=local) == (
        "{{setvar::a::1}}<USER>"
    )
    assert "a" not in local


def test_card_texts_are_expanded_but_never_inside_of_themselves() -> None:
    card = CardFields(
        description=" {{char}} of {{scenario}} \r\n",
        scenario="a {{description}} b",
        first_mes="Hi {{user}}",
        alternate_greetings=("Yo {{user}}",),
        mes_example="{{user}}: a\n<start>\n{{char}}: b",
        character_version="1.2",
    )
    assert _expand("{{description}}", card=card) == "Bot of a  b"
    assert _expand("{{charFirstMessage}} {{greeting::1}} {{greeting::2}}{{greeting::x}}", card=card) == (
        "Hi Alice Yo Alice {{greeting::x}}"
    )
    assert _expand("{{mesExamples}}", card=card) == "<START>\nAlice: a\n<START>\nBot: b\n"
    assert _expand("{{mesExamplesRaw}}|{{charVersion}}{{char_version}}", card=card) == (
        "Alice: a\n<start>\nBot: b|1.21.2"
    )
    assert _expand("{{persona}}", persona="{{persona}}{{user}}") == "Alice"


def test_original_is_there_once_and_only_in_overrides() -> None:
    assert _expand("{{original}}{{original}}", original="{{user}}") == "{{user}}"
    assert _expand("{{original}}") == "{{original}}"


def test_state_macros() -> None:
    text = "{{maxPrompt}} {{maxContext}} {{maxResponse}} {{lastGenerationType}} {{outlet::o}}{{outlet::p}} {{mine}}"
    given: dict[str, Any] = {"max_context": 100, "max_response": 30, "generation_type": "swipe"}
    assert _expand(text, **given, outlets={"o": "O"}, extra={"Mine": "M"}) == "70 100 30 swipe O M"
    assert _expand("{{outlet::o}}", outlets=lambda name: name * 2) == "oo"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{random::a::}}", {"a", ""}),
        ("{{random a, b ,}}", {"a", "b", ""}),
        ("{{random:a::b,c}}", {"a", "b,c"}),
        ("{{random:a\\,b,c}}", {"a,b", "c"}),
        ("{{random:{{setvar::x::y,z}}{{getvar::x}}}}", {"y", "z"}),
        ("{{roll d2}}", {"1", "2"}),
        ("{{roll:2d1+3}} {{roll::1d1-2}}", {"5 -1"}),
        ("[{{roll:0d6}}{{roll:2}}]", {"[1]", "[2]"}),
        ("[{{roll:d}}{{roll:1d}}{{roll:²}}{{roll:1d99999999999}}]", {"[]"}),
        ("[{{random}}]", {"[]"}),
    ],
)
def test_chance_draws_from_the_source_given(text: str, expected: set[str]) -> None:
    assert {_expand(text, draw=random.Random(seed).random) for seed in range(60)} == expected
    assert _expand(text, draw=random.Random(1).random) == _expand(text, draw=random.Random(1).random)


def test_pick_is_stable_for_text_and_place_and_differs_between_chats() -> None:
    text = "{{pick::a::b::c}}" * 20
    first = _expand(text, pick_seed="one")
    assert first == _expand(text, pick_seed="one")
    assert first != _expand(text, pick_seed="two")
    assert len(set(first)) == 3


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("{{reverse::" * 9 + "a" + "}}" * 9, MacroLimits(depth=8)),
        ("{{if 1}}" * 9 + "{{/if}}" * 9, MacroLimits(depth=8)),
        ("{{.a = xx}}" + "{{.a = {{.a}}{{.a}}}}" * 60, MacroLimits()),
        ("{{newline::999999999999}}", MacroLimits()),
        ("{{user}}" * 11, MacroLimits(evaluations=10)),
        ("{{roll:99999d2}}", MacroLimits()),
        ("{{setvarkey::a::999999999::x}}", MacroLimits()),
    ],
)
def test_limits_are_a_clear_error(text: str, limits: MacroLimits) -> None:
    with pytest.raises(MacroLimit) as failure:
        _expand(text, limits=limits)
    assert failure.value.code == "macro_limit"
    assert not failure.value.retryable


def test_card_texts_that_multiply_end_at_the_limit() -> None:
    card = CardFields(description="{{scenario}}" * 900, scenario="{{personality}}" * 900, personality="{{persona}}" * 9)
    with pytest.raises(MacroLimit):
        _expand("{{description}}", card=card, persona="x")


@pytest.mark.parametrize("pattern", ["z", "zz"])
def test_a_time_has_no_name_of_its_zone(pattern: str) -> None:
    assert _expand(f"[{{{{datetimeformat::{pattern}}}}}]") == "[]"


def test_prompts_of_the_application_are_known() -> None:
    text = "{{authorsNote}}|{{systemPrompt}}|{{charAuthorsNote}}|{{defaultAuthorsNote}}|{{defaultSystemPrompt}}"
    given = {"authors_note": "N {{user}}", "card": CardFields(system_prompt="S {{user}}")}
    assert _expand(text, **given) == "N {{user}}|S Alice|||"
    assert _expand("{{chatStart}}{{instructOutput}}[]") == "[]"


def test_an_alternative_that_is_being_made_is_no_last_message() -> None:
    chat = Chat((MacroMessage("a"), MacroMessage("old", swipes=2, swipe=2)))
    text = "{{lastMessage}} {{lastCharMessage}} {{lastMessageId}} {{allChatRange}} {{lastSwipeId}} {{currentSwipeId}}"
    assert _expand(text, chat=chat) == "a a 0 0-1 2 3"


def test_everybody_but_the_character_is_told_by_its_own_name() -> None:
    assert _expand("{{notChar}}", char="Di", character="Diana", group=("Diana", "Eve")) == "Eve, Alice"


@pytest.mark.parametrize("field", ["description", "scenario", "mes_example"])
def test_a_field_is_nothing_inside_of_itself(field: str) -> None:
    own = {"mes_example": "mesExamplesRaw"}.get(field, field)
    text = f" x {{{{{own}}}}} {{{{user}}}} "
    environment = _environment(card=CardFields(**{field: text}))
    assert Macros(environment).field(field, text) == "x  Alice"


def test_space_beside_a_macro_that_gives_nothing_stays() -> None:
    assert Macros(_environment()).field("description", " {{noop}} x ") == " x"
