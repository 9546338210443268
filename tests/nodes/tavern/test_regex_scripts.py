"""Regex scripts: reading them as they come, and running the right ones in the right way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.environment import BadPattern, FormatError, PatternTimeout
from innkeeper.nodes.tavern.js_regex import engine
from innkeeper.nodes.tavern.regex_scripts import (
    AI_OUTPUT,
    MAX_SCRIPTS,
    MAX_TEXT,
    PLACEMENTS,
    SLASH_COMMAND,
    WORLD_INFO,
    Applied,
    RegexScript,
    ScriptReport,
    apply_scripts,
    compile_find,
    read_scripts,
)
from tests.effort import examples

HARD = "/(?:a|a)*c/"
ENDLESS = "a" * 60 + "bc"


def expand(text: str, *, original: str | None = None) -> str:
    return text.replace("{{user}}", "Al.ice").replace("{{char}}", "Bot")


def script(find: str, new: str = "X", **more: Any) -> RegexScript:
    return RegexScript(name="s", find=find, replace=new, **{"placement": (AI_OUTPUT,), **more})


def run(text: str, *scripts: RegexScript, **more: Any) -> Applied:
    call = {"placement": AI_OUTPUT, "stage": "stored", "regexes": engine(limit_s=0.1), "expand": expand, **more}
    return apply_scripts(text, scripts, **call)


@pytest.mark.parametrize(
    ("find", "text", "expected"),
    [
        ("/a/b/g", "a/b a/b", "X X"),
        (" /a/g", "a /a/g", "aX"),
        ("/cat/", "cat /cat/", "X /cat/"),
        ("/cat/g!!", "cat cat", "X X"),
        ("\n/a/g", "a a", "X X"),
        ("///", "a/b", "aXb"),
        ("/cat/I", "/cat/I", "X"),
        ("/a\\nb/", "a\nb", "X"),
        ("/a/b c", "/a/b c", "X"),
    ],
)
def test_pattern_text_is_read_as_sillytavern_does(find: str, text: str, expected: str) -> None:
    assert run(text, script(find)).text == expected


def test_accepted_flag_that_javascript_does_not_have_is_a_compile_error() -> None:
    with pytest.raises(BadPattern):
        compile_find("/a/x", engine())


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("[$1]", "[ab]"),
        ("[$01$2$99]", "[abc]"),
        ("$$1", "$ab"),
        ("[$&$`$'$]", "[$&$`$'$]"),
        ("{{MATCH}}{{match}}", "abcabc"),
        ("{{match}}1", "abc1"),
        ("$<n>$<no>$<>", "c$<>"),
        ("$" + "9" * 5_000, ""),
        (r"\n", r"\n"),
        ("{{user}}", "Al.ice"),
    ],
)
def test_replacement_is_filled(new: str, expected: str) -> None:
    assert run("abc", script("(ab)(?<n>c)", new)).text == expected


def test_trim_strings_leave_captures_but_not_literal_text() -> None:
    trimming = script("(.+)", "<$1> {{match}}", trim=("<", "", "{{user}}"))
    assert run("<a<Al.iceb", trimming).text == "<ab> ab"


def test_captured_macros_are_expanded_only_when_allowed() -> None:
    naming = script("/say (.*)/", "{{char}}: $1 ({{match}})")
    assert run("say {{user}}", naming).text == "Bot: Al.ice (say Al.ice)"
    assert run("say {{user}}", naming, expand_captures=False).text == "Bot: {{user}} (say {{user}})"


def test_text_that_looks_like_the_stand_in_of_a_capture_does_no_harm() -> None:
    odd = "\ue0f07\ue0f1"
    assert run(odd, script("/.+/", "$0", trim=()), expand_captures=False).text == odd


@pytest.mark.parametrize(
    ("substitute", "text", "expected"),
    [(0, "Al.ice {{user}}", "Al.ice X"), (1, "Alxice", "X"), (2, "Alxice Al.ice", "Alxice X")],
)
def test_macros_in_the_pattern(substitute: Any, text: str, expected: str) -> None:
    assert run(text, script("/{{user}}/g", substitute=substitute)).text == expected


def test_unknown_macro_in_an_escaped_pattern_stays_pattern() -> None:
    assert run("a", script("/a{{0,1}}|a/", substitute=2)).text == "X"


@pytest.mark.parametrize(
    ("flags", "stages"),
    [
        ({}, ["stored"]),
        ({"markdown_only": True}, ["display"]),
        ({"prompt_only": True}, ["prompt"]),
        ({"markdown_only": True, "prompt_only": True}, ["display", "prompt"]),
    ],
)
def test_stage_decides_whether_a_script_runs(flags: dict[str, Any], stages: list[str]) -> None:
    ran = [
        stage for stage in ("stored", "display", "prompt") if run("a", script("a", **flags), stage=stage).text == "X"
    ]
    assert ran == stages


@pytest.mark.parametrize(
    ("limits", "depths"),
    [((None, None), [0, 1, 2]), ((1, None), [1, 2]), ((None, 1), [0, 1]), ((-1, -1), [0, 1, 2]), ((-5, 0), [0])],
)
def test_depth_limits_are_inclusive(limits: tuple[Any, Any], depths: list[int]) -> None:
    limited = script("a", min_depth=limits[0], max_depth=limits[1])
    assert [depth for depth in range(3) if run("a", limited, depth=depth).text == "X"] == depths
    assert run("a", limited).text == "X"


@pytest.mark.parametrize(
    ("given", "more", "reason"),
    [
        (script("a", disabled=True), {}, "disabled"),
        (script(""), {}, "no pattern"),
        (script("a", placement=(WORLD_INFO,)), {}, "not for placement 2"),
        (script("a"), {"stage": "prompt"}, "not for stage prompt"),
        (script("a"), {"is_edit": True}, "not for edits"),
        (script("a", max_depth=0), {"depth": 1}, "depth outside its limits"),
    ],
)
def test_report_says_why_a_script_was_skipped(given: RegexScript, more: dict[str, Any], reason: str) -> None:
    applied = run("a", given, **more)
    assert applied.text == "a"
    assert applied.report == (ScriptReport(0, "s", "skipped", reason, text_length=1),)


def test_empty_text_stays_empty() -> None:
    assert run("", script("/^/")).text == ""


def test_edits_run_scripts_that_ask_for_it() -> None:
    assert run("a", script("a", run_on_edit=True), is_edit=True).text == "X"


def test_output_of_one_script_feeds_the_next() -> None:
    applied = run("aa", script("/a/g", "b"), script("/b/g", "c"))
    assert applied.text == "cc"
    assert [report.matches for report in applied.report] == [2, 2]


def test_bad_pattern_is_reported_with_its_place_and_the_rest_runs() -> None:
    applied = run("a(", script("/a(/"), script("a"))
    assert applied.text == "X("
    assert (applied.report[0].outcome, applied.report[0].position) == ("failed", 2)
    assert applied.report[0].to_json()["name"] == "s"


def test_pattern_without_end_leaves_the_text_and_the_rest_runs() -> None:
    applied = run(ENDLESS, script(HARD), script("b"))
    assert applied.text == ENDLESS.replace("b", "X")
    assert applied.report[0].outcome == "failed"
    assert (applied.report[0].seconds or 0) >= 0.1
    assert applied.report[0].text_length == len(ENDLESS)


def test_pattern_without_end_fails_when_asked_to() -> None:
    with pytest.raises(PatternTimeout, match="regex script 's'"):
        run(ENDLESS, script(HARD), fail_on_timeout=True)


def test_text_cannot_grow_without_bound() -> None:
    doubling = script("/[^]*/", "$0$0")
    applied = run("a" * 1_000, *[doubling] * 20)
    assert len(applied.text) <= MAX_TEXT
    assert applied.report[-1].outcome == "failed"


def test_oversized_text_is_left_alone() -> None:
    applied = run("a" * (MAX_TEXT + 1), script("a"))
    assert (applied.report[0].outcome, len(applied.text)) == ("skipped", MAX_TEXT + 1)


def test_reader_takes_every_field() -> None:
    raw = {
        "id": "i",
        "scriptName": "n",
        "findRegex": "/a/",
        "replaceString": "b",
        "trimStrings": ["x"],
        "placement": [1, 2],
        "disabled": True,
        "markdownOnly": True,
        "promptOnly": True,
        "runOnEdit": True,
        "substituteRegex": 2,
        "minDepth": 0,
        "maxDepth": 4,
    }
    expected = RegexScript("i", "n", "/a/", "b", ("x",), (1, 2), True, True, True, True, 2, 0, 4)
    assert read_scripts(raw) == ((expected,), ())


@pytest.mark.parametrize(
    ("placement", "expected", "is_display"),
    [
        ([0], PLACEMENTS, True),
        ([0, 2], (2,), True),
        ([4], (SLASH_COMMAND,), False),
        (2, (2,), False),
        (None, (), False),
    ],
)
def test_old_placements_are_understood(placement: Any, expected: tuple[int, ...], is_display: bool) -> None:
    (found,), _ = read_scripts({"findRegex": "a", "placement": placement})
    assert (found.placement, found.markdown_only, found.prompt_only) == (expected, is_display, is_display)


@pytest.mark.parametrize(("value", "expected"), [(True, 1), (False, 0), (2, 2), ("2", 2), (7, 0), (None, 0), ([], 0)])
def test_substitute_of_old_files_is_a_boolean(value: Any, expected: int) -> None:
    assert read_scripts({"findRegex": "a", "substituteRegex": value})[0][0].substitute == expected


@pytest.mark.parametrize("value", [None, "", "x", True, float("nan"), [], 1e12])
def test_odd_depth_is_no_limit(value: Any) -> None:
    (found,), _ = read_scripts({"findRegex": "a", "minDepth": value, "maxDepth": value})
    assert (found.min_depth, found.max_depth) == (None, None)


ONE = {"scriptName": "n", "findRegex": "a", "placement": [2]}


@pytest.mark.parametrize(
    "raw",
    [
        ONE,
        [ONE],
        '[{"scriptName": "n", "findRegex": "a", "placement": [2]}]',
        {"spec": "chara_card_v2", "data": {"name": "x", "extensions": {"regex_scripts": [ONE]}}},
        {"prompts": [], "extensions": {"regex_scripts": [ONE]}},
        {"regex_scripts": [ONE]},
    ],
)
def test_scripts_are_found_where_files_hold_them(raw: Any) -> None:
    assert [found.name for found in read_scripts(raw)[0]] == ["n"]


def test_what_is_no_script_is_left_out_with_a_warning() -> None:
    scripts, warnings = read_scripts([1, ONE, {"scriptName": "cut", "findRegex": "/a\nb/"}])
    assert len(scripts) == 2
    assert warnings == (
        "regex script 0 is no object and is left out",
        "regex script 2 (cut): a line break cuts its pattern; what follows is lost",
        "regex script 2 (cut): it has no placement and never runs",
    )


@pytest.mark.parametrize("raw", [1, "{", {"name": "x"}, [ONE] * (MAX_SCRIPTS + 1)])
def test_what_holds_no_scripts_is_an_error(raw: Any) -> None:
    with pytest.raises(FormatError):
        read_scripts(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
)
FIELDS = ("id", "scriptName", "findRegex", "replaceString", "trimStrings", "placement", "substituteRegex", "minDepth")


@examples(150)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.text(max_size=10))
def test_any_object_can_be_read_and_run(raw: dict[str, Any], text: str) -> None:
    scripts, _ = read_scripts({"findRegex": "a", **raw})
    assert isinstance(run(text, *scripts).text, str)
