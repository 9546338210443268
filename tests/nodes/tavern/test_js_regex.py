"""JavaScript's regular expressions: answers are those of a JavaScript engine, unless a test says otherwise."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.environment import BadPattern, JsMatch, PatternTimeout
from innkeeper.nodes.tavern.js_regex import engine
from tests.effort import examples

ANSWERS = [
    ("a.c", "", "abc a\nc", "<abc> a\nc"),
    ("a.c", "s", "a\nc", "<a\nc>"),
    ("a.c", "", "a\u2028c", "a\u2028c"),
    ("^b", "m", "a\nb", "a\n<b>"),
    ("^b", "", "a\nb", "a\nb"),
    ("a$", "", "a\n", "a\n"),
    ("a$", "m", "a\nb", "<a>\nb"),
    ("^", "gm", "a\r\nb", "<>a\r<>\n<>b"),
    ("$", "g", "hi\n", "hi\n<>"),
    ("\\w+", "g", "café 魔法 x_1", "<caf>é 魔法 <x_1>"),
    ("\\d", "g", "1٣", "<1>٣"),
    ("\\s", "g", "a\xa0b\ufeffc\x85d", "a<\xa0>b<\ufeff>c\x85d"),
    ("caf\\b", "", "café", "<caf>é"),
    ("\\Bf", "g", "éf af f", "éf a<f> f"),
    ("\\W", "gu", "a😀-", "a<😀><->"),
    ("[^]", "g", "a\n", "<a><\n>"),
    ("[]", "", "a", "a"),
    ("a{,2}", "", "aa a{,2}", "aa <a{,2}>"),
    ("x{", "", "x{", "<x{>"),
    ("{", "", "{", "<{>"),
    ("}", "", "}", "<}>"),
    ("]", "", "]", "<]>"),
    ("\\u0041\\x41", "", "AA", "<AA>"),
    ("\\u{3}", "", "uuu", "<uuu>"),
    ("\\u{1F600}", "u", "😀", "<😀>"),
    ("\\p{L}", "g", "p{L}", "<p{L}>"),
    ("\\p{Lu}", "gu", "aÉ", "a<É>"),
    ("\\cJ", "", "\n", "<\n>"),
    ("\\c", "", "\\c", "<\\c>"),
    ("[\\c]", "g", "\\c", "<\\><c>"),
    ("\\0", "", "\x00", "<\x00>"),
    ("\\101\\8", "", "A8", "<A8>"),
    ("\\-\\/\\:", "", "-/:", "<-/:>"),
    ("[[]", "", "[", "<[>"),
    ("[a&&b]", "g", "a&b", "<a><&><b>"),
    ("[+--]", "g", "+,-.", "<+><,><->."),
    ("[\\d-x]", "g", "1-xy", "<1><-><x>y"),
    ("[\\b]", "", "\x08", "<\x08>"),
    ("(?<n>a)\\k<n>", "", "aa", "<aa|a>"),
    ("\\k<n>", "", "k<n>", "<k<n>>"),
    ("(?<year>\\d{4})-(?<m>\\d\\d)", "g", "2024-05 1999-12", "<2024-05|2024|05> <1999-12|1999|12>"),
    ("(a)|(b)", "g", "ab", "<a|a|~><b|~|b>"),
    ("(?:(a)|b)\\1", "g", "aab", "<aa|a><b|~>"),
    ("\\1(a)", "g", "aa", "<a|a><a|a>"),
    ("(a\\1)", "g", "aa", "<a|a><a|a>"),
    ("(?=(a))\\1b", "", "aab", "a<ab|a>"),
    ("(?<=\\$)\\d+", "g", "$15 20", "$<15> 20"),
    ("(?<=(\\d+)(\\d+))$", "", "1053", "1053<|1|053>"),
    ("(?<=\\1(a))b", "", "aab", "aa<b|a>"),
    ("(?<!a|bc)x", "g", "ax bcx x", "ax bcx <x>"),
    ("b*", "g", "abc", "<>a<b><>c<>"),
    ("", "g", "ab", "<>a<>b<>"),
    ("a|", "g", "ba", "<>b<a><>"),
    ("😀", "g", "a😀😀", "a<😀><😀>"),
    ("[😀]", "g", "😀", "<\ufffd><\ufffd>"),
    ("^.$", "", "😀", "😀"),
    ("^.$", "u", "😀", "<😀>"),
    (".", "g", "😀", "<\ufffd><\ufffd>"),
    ("\\ud83d", "", "😀", "<\ufffd>\ufffd"),
    ("\\ud83d", "u", "😀", "😀"),
    ("\\ud83d\\ude00", "u", "😀", "<😀>"),
    ("é", "gi", "éÉ", "<é><É>"),
    ("[à-þ]", "gi", "É×", "<É>×"),
    ("\u017f", "i", "s", "s"),
    ("\u017f", "iu", "s", "<s>"),
    ("k", "gi", "K\u212a", "<K>\u212a"),
    ("k", "giu", "K\u212a", "<K><\u212a>"),
    ("ß", "gi", "ẞSS", "ẞSS"),
    ("ß", "giu", "ẞSS", "<ẞ>SS"),
    ("i", "gi", "\u0130\u0131I", "\u0130\u0131<I>"),
    ("σ", "gi", "Σς", "<Σ><ς>"),
    ("[^a]", "gi", "Ab", "A<b>"),
    ("(É)\\1", "i", "Éé", "<Éé|É>"),
    ("\\w", "giu", "\u017f", "<\u017f>"),
    ("a", "y", "ba", "ba"),
    ("a", "gy", "aaba", "<a><a>ba"),
    ("(?=a)*b", "", "b", "<b>"),
    ("a??b", "g", "ab b", "<ab> <b>"),
    ("(a{1,2}?)(a*)", "", "aaa", "<aaa|a|aa>"),
    ("[^\\S\\n]+", "g", "a \n\tb", "a< >\n<\t>b"),
    ("<think>[\\s\\S]*?<\\/think>\\s*", "g", "x<think>a\nb</think>\n y", "x<<think>a\nb</think>\n >y"),
    ("(?:.|\\s)+?x", "", "a\nx", "<a\nx>"),
    ("(?!)", "", "a", "a"),
    ("(?:)", "g", "a", "<>a<>"),
    ("[\\p{L}--[a-z]]", "gv", "aÉ", "a<É>"),
    ("[\\w&&[^\\d]]", "gv", "a1", "<a>1"),
    ("[\\q{abc|d}x]", "gv", "abcdx", "<abc><d><x>"),
    ("\\p{Script=Greek}", "gu", "aλ", "a<λ>"),
]

REFUSED = [
    ("[a--b]", ""),
    ("(", ""),
    (")", ""),
    ("[", ""),
    ("a**", ""),
    ("a++", ""),
    ("*a", ""),
    ("(?>a)", ""),
    ("(?i)a", ""),
    ("(?P<n>a)", ""),
    ("{1}", ""),
    ("a{2,1}", ""),
    ("\\", ""),
    ("[b-a]", ""),
    ("(?<n>a)(?<n>b)", ""),
    ("(?<1>a)", ""),
    ("(?<n>a)\\k<m>", ""),
    ("(?<n>a)\\k", ""),
    ("\\1", "u"),
    ("\\-", "u"),
    ("{", "u"),
    ("]", "u"),
    ("\\u{110000}", "u"),
    ("\\p{Nope}", "u"),
    ("\\p{Latin}", "u"),
    ("[\\d-x]", "u"),
    ("\\c", "u"),
    ("(?=a)*", "u"),
    ("(?<=a)*", ""),
    ("a", "gg"),
    ("a", "x"),
    ("a", "uv"),
    ("[a&&&b]", "v"),
    ("[(]", "v"),
    ("\\01", "u"),
    ("\\u12", "u"),
    ("^*", ""),
    ("\\b+", ""),
]


def shown(match: JsMatch) -> str:
    return "<" + "|".join("~" if group is None else group for group in match.groups) + ">"


def matches_of(source: str, flags: str, text: str) -> list[JsMatch]:
    seen: list[JsMatch] = []

    def keep(match: JsMatch) -> str:
        seen.append(match)
        return ""

    engine().compile(source, flags).replace(text, keep)
    return seen


@pytest.mark.parametrize(("source", "flags", "text", "expected"), ANSWERS)
def test_pattern_matches_as_in_javascript(source: str, flags: str, text: str, expected: str) -> None:
    pattern = engine().compile(source, flags)
    assert pattern.replace(text, shown) == expected
    assert pattern.test(text) == bool(matches_of(source, flags, text))


@pytest.mark.parametrize(("source", "flags"), REFUSED)
def test_pattern_that_javascript_refuses_is_a_bad_pattern(source: str, flags: str) -> None:
    with pytest.raises(BadPattern, match="not a JavaScript regular expression"):
        engine().compile(source, flags)


def test_bad_pattern_says_where_and_does_not_quote_the_pattern() -> None:
    with pytest.raises(BadPattern) as caught:
        engine().compile("secret(oh", "")
    assert caught.value.details["position"] == 7
    assert "secret" not in caught.value.message


def test_match_gives_named_groups_and_the_index_in_characters() -> None:
    seen = matches_of(r"(?<word>[a-z]+)|(?<digit>\d)", "g", "😀 ab😀1")
    assert [(match.index, dict(match.named)) for match in seen] == [
        (2, {"word": "ab", "digit": None}),
        (5, {"word": None, "digit": "1"}),
    ]


def test_replacement_may_hold_characters_of_two_units() -> None:
    assert engine().compile("b", "g").replace("😀b😀", lambda match: "🎲") == "😀🎲😀"


def test_half_a_character_that_is_left_alone_becomes_the_replacement_character() -> None:
    assert engine().compile("[😀]").replace("😀", lambda match: "") == "\ufffd"


def test_group_keeps_its_text_when_a_later_round_of_the_loop_does_not_reach_it() -> None:
    # A JavaScript engine forgets it ("~"); documented.
    assert engine().compile("(?:(a)|b)*").replace("ab", shown) == "<ab|a>"


@pytest.mark.parametrize(
    ("source", "text"),
    [(r"(?:a|a)*c", "a" * 60 + "bc"), (r".*.*.*Q", "x" * 20_000 + "\nQ")],
)
def test_pattern_without_end_is_stopped_at_its_limit(source: str, text: str) -> None:
    start = time.monotonic()
    with pytest.raises(PatternTimeout) as caught:
        engine(limit_s=0.05).compile(source).replace(text, shown)
    assert time.monotonic() - start < 10  # without a limit: for ever
    assert caught.value.details["seconds"] >= 0.05
    assert not caught.value.retryable


def test_harmless_pattern_on_a_long_text_is_within_the_limit() -> None:
    text = "y \n" * 300_000
    assert not engine().compile(r"(?:.|\s)+?x").test(text)
    assert engine().compile(r"(?:.|\s)+?X").test(text + "X")


def test_engine_stops_when_its_total_is_used_up() -> None:
    regexes = engine(limit_s=0.05, total_s=0.08)
    hard = regexes.compile(r"(?:a|a)*c")
    for _ in range(3):
        with pytest.raises(PatternTimeout):
            hard.test("a" * 60 + "bc")
    with pytest.raises(PatternTimeout, match="all patterns together"):
        regexes.compile("x").test("x")


def test_time_of_the_replacement_is_not_counted() -> None:
    def slow(match: JsMatch) -> str:
        time.sleep(0.03)
        return "b"

    assert engine(limit_s=0.05).compile("a", "g").replace("aaa", slow) == "bbb"


def test_match_of_all_that_follows_at_every_place_is_stopped() -> None:
    with pytest.raises(PatternTimeout):
        engine(limit_s=0.1).compile(r"(?=([^]*))", "g").replace("word\n" * 200_000, lambda match: "")


@pytest.mark.parametrize("source", ["(" * 200 + ")" * 200, "a" * 70_000, "()" * 2_000, "[" * 5_000])
def test_oversized_pattern_is_refused(source: str) -> None:
    with pytest.raises(BadPattern):
        engine().compile(source, "v" if source.startswith("[") else "")


PIECES = st.sampled_from([*"ab1()[]{}|*+?.^$\\/-,:=!<>n😀éſ", "(?:", "(?<n>", "(?<=", "\\d", "\\b", "\\u{61}", "\\1"])


@examples(200)
@given(
    st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=10),
    st.sets(st.sampled_from("dgimsuvy")).map("".join) | st.text(max_size=2),
    st.text(alphabet="ab1 \n😀éS", max_size=12),
)
def test_any_pattern_is_refused_or_answers(source: str, flags: str, text: str) -> None:
    regexes = engine(limit_s=0.2)
    try:
        result = regexes.compile(source, flags).replace(text, lambda match: match.groups[0] or "")
    except (BadPattern, PatternTimeout):
        return
    # Every match was put back; only half characters may have been told apart.
    assert result == text
