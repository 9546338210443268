"""core:ApplyRegex."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.processors.apply_regex import definition
from innkeeper.nodes.tavern import regex_rules
from innkeeper.nodes.tavern.environment import BadPattern, FormatError, PatternTimeout
from innkeeper.nodes.tavern.js_regex import engine
from innkeeper.nodes.tavern.regex_scripts import MAX_SCRIPTS, MAX_TEXT
from innkeeper.nodes.testing import run_node


def applied(text: Any, inline: Any = None, loaded: Any = None) -> str:
    result: str = run_node(definition, {"inputText": text, "inlineRegexRules": inline, "regexRules": loaded})[
        "outputText"
    ]
    return result


def rule(pattern: str, replacement: str, flags: str = "", **more: Any) -> dict[str, Any]:
    return {"name": "r", "pattern": pattern, "replacement": replacement, "flags": flags, **more}


@pytest.mark.parametrize(
    ("pattern", "flags", "replacement", "expected"),
    [
        ("b", "", "[$&]", "a[b]cabc"),
        ("b", "g", "[$&]", "a[b]ca[b]c"),
        ("b", "", "($`|$')", "a(a|cabc)cabc"),
        ("(a)(b)", "", "$2$1", "bacabc"),
        ("(a)", "", "$01$10$2$0$$1", "aa0$2$0$1bcabc"),
        ("(?<x>a)|b", "g", "<$<x>$<no>>", "<a><>c<a><>c"),
        ("(a)", "", "$<x>", "$<x>bcabc"),
        ("(?<x>a)", "", "$<x", "$<xbcabc"),
        ("A", "gi", "$", "$bc$bc"),
        ("b", "y", "x", "abcabc"),
        ("[ab]", "gy", "x", "xxcabc"),
    ],
)
def test_replacement_is_javascripts(pattern: str, flags: str, replacement: str, expected: str) -> None:
    assert applied("abcabc", [rule(pattern, replacement, flags)]) == expected


def test_text_before_and_after_a_match_counts_characters_above_ffff_once() -> None:
    assert applied("😀b😀c", [rule("b", "[$`$']")]) == "😀[😀😀c]😀c"


def test_rules_apply_in_order_inline_first() -> None:
    loaded = [rule("b", "c", name="second")]
    assert applied("a", [rule("a", "b", name="first")], loaded) == "c"


def test_first_rule_of_a_name_counts_even_when_disabled() -> None:
    assert applied("a", [rule("a", "x", enabled=False)], [rule("a", "y"), rule("a", "z", name="other")]) == "z"


def test_invalid_rule_is_left_out_and_does_not_take_its_name() -> None:
    assert applied("a", ["no", None, {"name": "r", "pattern": "a"}, rule("", "x")], [rule("a", "y")]) == "y"


@pytest.mark.parametrize("rules", [None, [], "text", {"a": 1}, [rule("a", "x", enabled=False)]])
def test_without_rules_the_text_passes(rules: Any) -> None:
    assert applied("a", rules) == "a"


@pytest.mark.parametrize("bad", [rule("(", "x"), rule("a", "x", "gg"), rule("a", "x", "q")])
def test_bad_pattern_or_flags_fail_the_node_and_name_the_rule(bad: dict[str, Any]) -> None:
    with pytest.raises(BadPattern, match="regex rule 'r': "):
        applied("a", [bad])


def test_text_must_be_a_text() -> None:
    with pytest.raises(NodeInputError, match="found a number"):
        applied(1)


def test_pattern_without_end_fails_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regex_rules, "engine", lambda total_s: engine(limit_s=0.05))
    with pytest.raises(PatternTimeout, match="regex rule 'r': "):
        applied("a" * 60 + "bc", [rule("(?:a|a)*c", "x")])


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("a" * (MAX_TEXT + 1), [rule("a", "x")]),
        ("a" * 2_000, [rule("a", "$`$&$'", "g")]),
        ("a", [rule("a", "x", name=str(number)) for number in range(MAX_SCRIPTS + 1)]),
    ],
)
def test_too_much_of_anything_is_an_error(text: str, rules: Any) -> None:
    with pytest.raises(FormatError):
        applied(text, rules)


def script(find: str, new: str, **more: Any) -> dict[str, Any]:
    return {"scriptName": "s", "findRegex": find, "replaceString": new, "placement": [], **more}


def test_scripts_of_sillytavern_run_by_their_own_rules_wherever_they_are_meant_for() -> None:
    scripts = [
        script("/a/g", "[{{match}}$&]", promptOnly=True, minDepth=5),
        script("b", "{{user}}"),
        script("c", "x", disabled=True),
        script("", "x"),
    ]
    assert applied("aabc", None, scripts) == "[a$&][a$&]{{user}}c"


def test_disabled_inline_rule_hides_a_script_of_its_name() -> None:
    assert applied("a", [rule("x", "y", name="s", enabled=False)], [script("a", "b")]) == "a"


def test_bad_script_fails_the_node() -> None:
    with pytest.raises(BadPattern, match="regex rule 's'"):
        applied("a", [script("/(/", "x")])


def test_rule_that_is_left_out_is_a_warning() -> None:
    warnings: list[dict[str, str]] = []
    run_node(definition, {"inputText": "x", "regexRules": [{"pattern": "a"}]}, warnings=warnings)
    assert [warning["code"] for warning in warnings] == ["rule_left_out"]
