"""Which entries of a world book become active, where their texts go, and what the report says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.environment import BadPattern, PatternTimeout
from innkeeper.nodes.tavern.js_regex import engine
from innkeeper.nodes.tavern.world_info import (
    Activation,
    Books,
    Reason,
    Scan,
    ScanMessage,
    ScanTexts,
    Settings,
    Strategy,
    activate,
    read_book,
)
from tests.effort import examples

PLAIN = Settings(depth=2, recursive=False, match_whole_words=False)
RECURSIVE = replace(PLAIN, recursive=True)


def expand(text: str, *, original: str | None = None) -> str:
    return text.replace("{{user}}", "Alice").replace("{{char}}", "Bot").replace("{{nothing}}", "")


def drawing(*numbers: float) -> Callable[[], float]:
    left = iter(numbers)
    return lambda: next(left)


def entry(key: Any = (), content: str = "text", **fields: Any) -> dict[str, Any]:
    keys = [key] if isinstance(key, str) else list(key)
    return {"key": keys, "content": content, **fields}


def book(*entries: dict[str, Any], name: str = "lore") -> Any:
    return read_book({"entries": {str(uid): {"uid": uid, **one} for uid, one in enumerate(entries)}}, name)


def scan(*entries: dict[str, Any], chat: Any = ("hi",), draw: Any = None, **fields: Any) -> Scan:
    chosen: dict[str, Any] = {
        "settings": PLAIN,
        "max_context": 100_000,
        "books": Books(global_=(book(*entries),)),
        "expand": expand,
        "regexes": engine(),
    }
    return Scan(
        messages=tuple(map(ScanMessage, chat)),
        count_tokens=len,
        draw=draw or drawing(),
        **{**chosen, **fields},
    )


def active(activation: Activation) -> list[int]:
    return [one.entry.uid for one in activation.entries]


def reasons(activation: Activation) -> dict[int, Reason]:
    return {one.uid: one.reason for one in activation.report}


# --- keys and texts ---


def test_keys_are_expanded_and_blank_ones_never_match() -> None:
    outcome = activate(scan(entry("{{user}}"), entry("   "), entry("{{nothing}}"), chat=["alice waves"]))
    assert active(outcome) == [0]


@pytest.mark.parametrize(
    ("key", "text", "matches"),
    [
        ("灯塔", "海边的灯塔很高", True),
        ("cat", "concatenate", False),
        ("cat", "Cat_1", False),
        ("cat", "the cat", True),
        ("cat", "cat-like", True),
        ("ca", "ça ca", True),
        ("c++", "c++11", False),
        ("c++", "use c++.", True),
        ("red cat", "bored cats", True),
        ("über", "grüber", False),
        ("éa", "xéa", False),
        ("aa-a", "aa-aa-a", True),
    ],
)
def test_whole_words_end_at_anything_but_ascii_word_characters(key: str, text: str, matches: bool) -> None:
    outcome = activate(scan(entry(key, matchWholeWords=True), chat=[text]))
    assert bool(outcome.entries) is matches


def test_case_counts_when_the_entry_says_so() -> None:
    outcome = activate(scan(entry("Fog", caseSensitive=True), entry("Fog"), chat=["fog"]))
    assert active(outcome) == [1]


def test_key_does_not_reach_over_two_messages() -> None:
    assert not activate(scan(entry("red\nfox"), chat=["fox", "red"])).entries
    assert activate(scan(entry("red\nfox"), chat=["red\nfox"])).entries


def test_regex_key_sees_the_mark_before_each_message() -> None:
    chat = [ScanMessage("the fog", "Bot"), ScanMessage("fog?", "Alice")]
    question = scan(entry(r"/\x01Bot:[^\x01]*fog/"), entry("/^fog/"), entry("/FOG/i"))
    assert active(activate(replace(question, messages=tuple(chat)))) == [0, 2]


def test_regex_that_never_ends_matches_nothing_but_three_end_the_activation() -> None:
    class Slow:
        def compile(self, source: str, flags: str = "") -> Any:
            if "(" in source:
                raise BadPattern("bad")
            return self

        def test(self, text: str) -> bool:
            raise PatternTimeout("too slow")

    slow: Any = Slow()
    outcome = activate(scan(entry(["/a+/", "hi"]), entry("/b(/"), entry("/c/"), regexes=slow, chat=["hi /b(/"]))
    assert active(outcome) == [0, 1]
    with pytest.raises(PatternTimeout):
        activate(scan(entry(["/a/", "/b/", "/c/"]), regexes=slow))


def test_entry_sees_the_extra_texts_it_asks_for_and_injected_ones() -> None:
    texts = ScanTexts(scenario="a lighthouse", creator_notes="foghorn")
    question = scan(
        entry("lighthouse", matchScenario=True),
        entry("lighthouse"),
        entry("/foghorn/", matchCreatorNotes=True),
        entry("gull"),
        texts=texts,
        injected=("a gull cries",),
    )
    assert active(activate(question)) == [0, 2, 3]


def test_scan_depth_zero_sees_nothing_not_even_extra_texts() -> None:
    question = scan(entry("gull", scanDepth=0), entry("gull"), injected=("gull",))
    assert active(activate(question)) == [1]


def test_names_are_scanned_only_when_included() -> None:
    messages = (ScanMessage("hello", "Mira"),)
    question = replace(scan(entry("mira")), messages=messages)
    assert activate(question).entries
    assert not activate(replace(question, settings=replace(PLAIN, include_names=False))).entries


# --- why not ---


def test_report_names_the_reason_for_every_entry_once() -> None:
    question = scan(
        entry("hi"),
        entry("hi", disable=True),
        entry("hi", triggers=["swipe"]),
        entry("hi", characterFilter={"isExclude": False, "names": ["Mira"], "tags": []}),
        entry("hi", delay=5),
        entry("hi", delayUntilRecursion=True),
        entry("hi", content="@@dont_activate\nx"),
        entry(),
        entry("bye"),
        entry("hi", keysecondary=["sea"], selectiveLogic=3),
        entry("hi", group="g", groupOverride=True, order=9),
        entry("hi", group="g"),
        entry("hi", probability=10, order=1),
        entry("hi", content="@@activate\nx", order=0),
        entry(constant=True, order=0),
        entry("bye", order=0),
        draw=drawing(0.5),
        forced=frozenset({("lore", 15)}),
    )
    outcome = activate(question)
    assert reasons(outcome) == {
        0: Reason.KEY,
        1: Reason.DISABLED,
        2: Reason.TRIGGER,
        3: Reason.CHARACTER_FILTER,
        4: Reason.DELAY,
        5: Reason.DELAY_UNTIL_RECURSION,
        6: Reason.DECORATOR,
        7: Reason.NO_KEYS,
        8: Reason.NO_KEY_MATCH,
        9: Reason.SECONDARY_KEYS,
        10: Reason.KEY,
        11: Reason.GROUP,
        12: Reason.PROBABILITY,
        13: Reason.ACTIVATE_DECORATOR,
        14: Reason.CONSTANT,
        15: Reason.FORCED,
    }
    assert len(outcome.report) == 16
    by_uid = {one.uid: one.to_json() for one in outcome.report}
    assert by_uid[0] | {"tokens": 0} == {
        **{"book": "lore", "uid": 0, "title": "", "active": True, "reason": "key", "detail": "hi", "inserted": True},
        "tokens": 0,
    }
    assert by_uid[11]["detail"] == "g"


@pytest.mark.parametrize(
    ("character", "names", "tags", "exclude", "passes"),
    [
        ("Mira", ["Mira"], [], False, True),
        ("Mira", ["Tom"], [], False, False),
        ("Mira", ["Mira"], [], True, False),
        ("Mira", [], ["sea"], False, True),
        ("Mira", [], ["land"], False, False),
        ("Mira", [], ["sea"], True, False),
        ("Mira", ["Mira"], ["land"], False, False),
    ],
)
def test_character_filter(character: str, names: list[str], tags: list[str], exclude: bool, passes: bool) -> None:
    one = entry("hi", characterFilter={"isExclude": exclude, "names": names, "tags": tags})
    outcome = activate(scan(one, character_file=character, character_tags=("sea",)))
    assert bool(outcome.entries) is passes


def test_excluded_from_recursion_is_only_the_reason_when_a_key_would_match() -> None:
    question = scan(
        entry("hi", "the cave"),
        entry("cave", excludeRecursion=True),
        entry("gold", excludeRecursion=True),
        settings=RECURSIVE,
    )
    assert reasons(activate(question)) == {
        0: Reason.KEY,
        1: Reason.EXCLUDED_FROM_RECURSION,
        2: Reason.NO_KEY_MATCH,
    }


# --- recursion ---


def test_prevent_recursion_wakes_nothing() -> None:
    question = scan(entry("hi", "cave", preventRecursion=True), entry("cave"), settings=RECURSIVE)
    assert active(activate(question)) == [0]


def test_secondary_key_may_come_from_a_later_recursion_text() -> None:
    question = scan(
        entry("hi", "one", order=3),
        entry("one", "two", order=2),
        entry("hi", "both", keysecondary=["two"]),
        settings=RECURSIVE,
    )
    assert active(activate(question)) == [0, 1, 2]


def test_macro_keys_and_regex_keys_are_tested_in_every_pass() -> None:
    question = scan(
        entry("hi", "one", order=3),
        entry("one", "Alice and two", order=2),
        entry("{{user}}", "three", order=1),
        entry("/thr[e]+/", "four"),
        settings=RECURSIVE,
    )
    assert active(activate(question)) == [0, 1, 2, 3]


def test_single_delay_level_without_recursion_stays_inactive() -> None:
    assert not activate(scan(entry("hi", delayUntilRecursion=2), settings=RECURSIVE)).entries


def test_later_delay_levels_run_even_without_recursion() -> None:
    question = scan(entry("hi", delayUntilRecursion=1), entry("hi", delayUntilRecursion=3))
    assert active(activate(question)) == [0, 1]


def test_hidden_key_wakes_but_is_not_seen_in_the_prompt() -> None:
    def hide(text: str, *, original: str | None = None) -> str:
        return text.replace("{{hidden_key:cave}}", "")

    question = scan(entry("hi", "x{{hidden_key:cave}}"), entry("cave", "gold"), settings=RECURSIVE, expand=hide)
    assert activate(question).before == "gold\nx"


def test_long_chain_of_recursion_is_followed_without_looking_at_all_entries_again() -> None:
    chain = [entry(f"link{number}x", f"link{number + 1}x") for number in range(3000)]
    outcome = activate(scan(*chain, chat=["link0x"], settings=replace(RECURSIVE, budget=100)))
    assert len(outcome.entries) == 3000


def test_min_activations_stop_at_their_depth() -> None:
    deep = replace(PLAIN, depth=1, min_activations=1)
    chat = ["fog", "a", "b", "c"]
    assert active(activate(scan(entry("fog"), chat=chat, settings=deep))) == [0]
    shallow = replace(deep, min_activations_depth_max=2)
    assert not activate(scan(entry("fog"), chat=chat, settings=shallow)).entries


# --- groups ---


def test_group_roll_takes_weights_into_account_and_ignores_blocked_members() -> None:
    members = [entry("hi", group="g", groupWeight=weight) for weight in (10, 30, 60)]
    assert active(activate(scan(*members, draw=drawing(0.39)))) == [1]
    assert active(activate(scan(*members, entry("hi", group="g", disable=True), draw=drawing(0.41)))) == [2]


def test_group_with_an_active_entry_takes_no_more() -> None:
    question = scan(entry("hi", "cave", group="g"), entry("cave", group="g"), settings=RECURSIVE)
    outcome = activate(question)
    assert active(outcome) == [0]
    assert reasons(outcome)[1] is Reason.GROUP


def test_sticky_member_keeps_its_group() -> None:
    entries = [entry("fog", group="g", sticky=5), entry("hi", group="g", order=200)]
    first = activate(scan(*entries, chat=["fog"]))
    assert active(activate(scan(*entries, chat=["fog", "hi"], timed=first.timed))) == [0]


GROUPED = [entry("hi", group="g, h"), entry("hi", group="g,h"), entry("hi")]


def test_loser_of_two_groups_takes_another_with_it_only_as_in_sillytavern() -> None:
    assert active(activate(scan(*GROUPED, draw=drawing(0, 0)))) == [0, 2]
    assert active(activate(scan(*GROUPED, draw=drawing(0, 0), as_sillytavern=True))) == [0]


def test_scores_count_keys_as_written_only_as_in_sillytavern() -> None:
    members = [entry("{{char}}", group="g"), entry("", constant=True, group="g", order=1), entry("the", group="g")]
    scored = replace(PLAIN, use_group_scoring=True)
    assert active(activate(scan(*members, chat=["the Bot"], settings=scored, draw=drawing(0)))) == [0]
    wanted = scan(*members, chat=["the Bot"], settings=scored, draw=drawing(0), as_sillytavern=True)
    assert active(activate(wanted)) == [2]


def test_sticky_member_rests_while_its_cooldown_runs_only_as_in_sillytavern() -> None:
    one = entry("fog", group="g", sticky=3, cooldown=2)
    first = activate(scan(one, chat=["fog"]))
    later = {"chat": ["fog", "hi"], "timed": first.timed}
    assert active(activate(scan(one, **later))) == [0]
    assert active(activate(scan(one, **later, as_sillytavern=True))) == []


# --- budget ---


def budgeted(limit: int, **fields: Any) -> Settings:
    return replace(PLAIN, budget=100, budget_cap=limit, **fields)


def test_overflow_stops_the_others_and_says_so() -> None:
    entries = [entry("hi", "x" * size, order=order) for size, order in ((3, 3), (9, 2), (1, 1))]
    outcome = activate(scan(*entries, settings=budgeted(10)))
    assert (active(outcome), outcome.overflowed, outcome.budget, outcome.budget_used) == ([0], True, 10, 4)
    assert reasons(outcome)[2] is Reason.BUDGET


def test_option_skips_what_does_not_fit_and_goes_on() -> None:
    entries = [entry("hi", "x" * size, order=order) for size, order in ((3, 3), (9, 2), (1, 1))]
    outcome = activate(scan(*entries, settings=budgeted(10, skip_on_overflow=True)))
    assert active(outcome) == [0, 2]


def test_option_gives_constants_the_budget_first() -> None:
    entries = [entry("hi", "x" * 6, order=3), entry("", "y" * 6, constant=True, order=1)]
    assert active(activate(scan(*entries, settings=budgeted(10)))) == [0]
    assert active(activate(scan(*entries, settings=budgeted(10, constants_first=True)))) == [1]


def test_budget_rounds_half_up_and_is_never_nothing() -> None:
    assert activate(scan(settings=replace(PLAIN, budget=25), max_context=10)).budget == 3
    assert activate(scan(settings=replace(PLAIN, budget=0))).budget == 1


def test_tokens_are_counted_by_the_joined_text_near_the_limit() -> None:
    # Two lines of five tokens each are eleven with the tokens of doubt, but ten in truth.
    entries = [entry("hi", "abcd", order=2), entry("hi", "efgh", order=1)]
    assert active(activate(scan(*entries, settings=budgeted(11)))) == [0, 1]
    assert active(activate(scan(*entries, settings=budgeted(10)))) == [0]


# --- timed effects ---


def play(entries: list[dict[str, Any]], chats: list[list[str]], **fields: Any) -> list[list[int]]:
    timed: Any = {}
    turns = []
    for chat in chats:
        outcome = activate(scan(*entries, chat=chat, timed=timed, **fields))
        timed = json.loads(json.dumps(outcome.timed))
        turns.append(active(outcome))
    return turns


def test_cooldown_begins_anew_when_sticky_ends() -> None:
    chats = [["fog"], ["fog", "a"], ["fog", "a", "fog"], ["fog", "a", "b", "fog"], ["fog", "a", "b", "c", "fog"]]
    assert play([entry("fog", sticky=2, cooldown=2)], chats, settings=replace(PLAIN, depth=1)) == [
        [0],
        [0],
        [],
        [],
        [0],
    ]


def test_changed_entry_loses_its_effect() -> None:
    first = activate(scan(entry("fog", sticky=5), chat=["fog"]))
    changed = scan(entry("fog", "other text", sticky=5), chat=["a", "b"], timed=first.timed)
    assert not activate(changed).entries


def test_dry_run_neither_reads_nor_writes_effects() -> None:
    first = activate(scan(entry("fog", cooldown=5), chat=["fog"]))
    again = scan(entry("fog", cooldown=5), chat=["fog", "fog"], timed=first.timed)
    assert not activate(again).entries
    looked = activate(replace(again, dry_run=True))
    assert active(looked) == [0]
    assert looked.timed == first.timed


def test_effects_of_books_not_in_use_are_kept_until_they_end() -> None:
    effect = {"hash": "x", "start": 1, "end": 3, "protected": False}
    state = {"sticky": {"other.1": effect}, "cooldown": {}}
    assert activate(scan(chat=["a", "b"], timed=state)).timed == state
    assert activate(scan(chat=["a", "b", "c"], timed=state)).timed == {"sticky": {}, "cooldown": {}}


@pytest.mark.parametrize(
    "state", [{"sticky": 5}, {"sticky": {"lore.0": None}}, {"cooldown": {"lore.0": {"start": "x"}}}]
)
def test_broken_state_is_as_none(state: dict[str, Any]) -> None:
    outcome = activate(scan(entry("hi"), timed=state))
    assert active(outcome) == [0]
    assert outcome.timed == {"sticky": {}, "cooldown": {}}


def test_option_shares_the_cooldown_in_a_group() -> None:
    entries = [entry("fog", group="g", cooldown=5), entry("sea", group="g")]
    chats = [["fog"], ["fog", "sea"]]
    alone = replace(PLAIN, depth=1)
    assert play(entries, chats, settings=alone) == [[0], [1]]
    assert play(entries, chats, settings=replace(alone, shared_group_cooldown=True)) == [[0], []]


# --- insertion ---


def test_texts_of_one_depth_and_role_are_one_group_with_the_largest_order_last() -> None:
    outcome = activate(
        scan(
            entry("hi", "b", position=4, depth=2, order=20),
            entry("hi", "a", position=4, depth=2, order=10),
            entry("hi", "u", position=4, depth=2, role=1),
        )
    )
    groups = {(group.depth, group.role_name): group.text for group in outcome.depth}
    assert groups == {(2, "system"): "a\nb", (2, "user"): "u"}


def test_prompt_scripts_get_the_depth_and_may_empty_a_text() -> None:
    seen = []

    def script(content: str, depth: int | None) -> str:
        seen.append((content, depth))
        return "" if content == "gone" else content.upper()

    entries = [entry("hi", "a", position=4, depth=3, order=2), entry("hi", "gone", order=1)]
    outcome = activate(scan(*entries, prompt_scripts=script))
    assert seen == [("a", 3), ("gone", None)]
    assert (outcome.depth[0].text, outcome.before) == ("A", "")
    assert [(one.active, one.inserted) for one in outcome.report] == [(True, True), (True, False)]


def test_books_come_in_order_of_source_and_once() -> None:
    def one(name: str) -> Any:
        return book(entry("hi", name), name=name)

    books = Books(
        global_=(one("global"), one("twice")),
        chat=(one("chat"),),
        persona=(one("persona"),),
        character=(one("character"), one("twice")),
    )

    def names(strategy: Strategy) -> list[str]:
        outcome = activate(scan(books=books, settings=replace(PLAIN, character_strategy=strategy)))
        return [one.book for one in outcome.entries]

    assert names(Strategy.CHARACTER_FIRST) == ["chat", "persona", "character", "global", "twice"]
    assert names(Strategy.GLOBAL_FIRST) == ["chat", "persona", "global", "twice", "character"]


def test_another_book_of_the_same_name_is_used_too() -> None:
    books = Books(global_=(book(entry("hi", "a")),), character=(book(entry("hi", "b")),))
    outcome = activate(scan(books=books))
    assert [(one.book, one.content) for one in outcome.entries] == [("lore (2)", "b"), ("lore", "a")]


# --- V3 decorators ---


def test_v3_decorators_are_stripped_and_obeyed_only_by_option() -> None:
    content = "@@depth 3\n@@role assistant\n@@exclude_keys storm,wind\ntext"
    plain = activate(scan(entry("hi", content), chat=["hi storm"]))
    assert plain.before == "text"
    obeying = replace(PLAIN, v3_decorators=True)
    assert not activate(scan(entry("hi", content), chat=["hi storm"], settings=obeying)).entries
    group = activate(scan(entry("hi", content), settings=obeying)).depth[0]
    assert (group.depth, group.role_name, group.text) == (3, "assistant", "text")


@pytest.mark.parametrize(
    ("lines", "chat", "is_active"),
    [
        ("@@activate_only_after 2", ["hi"], False),
        ("@@activate_only_after 1", ["hi"], True),
        ("@@activate_only_every 2", ["hi"], False),
        ("@@additional_keys sea,fog", ["hi"], False),
        ("@@additional_keys sea,fog", ["hi fog"], True),
        ("@@additional_keys sea\n@@additional_keys fog", ["hi fog"], False),
        ("@@unheard_of\n@@@dont_activate", ["hi"], False),
        ("@@role nobody\n@@@dont_activate", ["hi"], False),
        ("@@role user\n@@@dont_activate", ["hi"], True),
        ("@@scan_depth 1", ["hi", "a"], False),
    ],
)
def test_v3_decorator(lines: str, chat: list[str], is_active: bool) -> None:
    question = scan(entry("hi", f"{lines}\ntext"), settings=replace(PLAIN, v3_decorators=True))
    messages = tuple(ScanMessage(text, role="assistant") for text in chat)
    assert bool(activate(replace(question, messages=messages)).entries) is is_active


def test_v3_entry_stays_or_rests_after_its_match() -> None:
    obeying = replace(PLAIN, depth=1, v3_decorators=True)
    entries = [entry("fog", "@@keep_activate_after_match\na"), entry("fog", "@@dont_activate_after_match\nb")]
    chats = [["fog"], ["fog", "x"], ["fog", "x", "fog"]]
    assert play(entries, chats, settings=obeying) == [[0, 1], [0], [0]]


# --- properties ---

WORDS = st.sampled_from(["fog", "sea", "Fog lamp", "gull", "/g[u]ll/", "{{user}}", "", " ", "灯"])
TEXTS = st.lists(st.sampled_from(["fog", "sea", "lamp", "gull", "Alice", "灯", "rock"]), max_size=4).map(" ".join)
ENTRIES = st.fixed_dictionaries(
    {"key": st.lists(WORDS, max_size=2), "content": TEXTS},
    optional={
        "keysecondary": st.lists(WORDS, max_size=2),
        "selectiveLogic": st.integers(0, 4),
        "constant": st.booleans(),
        "order": st.integers(0, 3),
        "position": st.integers(0, 8),
        "probability": st.integers(0, 100),
        "group": st.sampled_from(["", "g", "g, h", "7,g"]),
        "groupOverride": st.booleans(),
        "useGroupScoring": st.booleans(),
        "sticky": st.integers(0, 3),
        "cooldown": st.integers(0, 3),
        "delayUntilRecursion": st.integers(0, 2),
        "excludeRecursion": st.booleans(),
        "preventRecursion": st.booleans(),
        "scanDepth": st.integers(0, 3),
        "matchWholeWords": st.booleans(),
        "ignoreBudget": st.booleans(),
    },
)


@examples(120)
@given(
    st.lists(ENTRIES, max_size=8),
    st.lists(TEXTS, max_size=3),
    st.builds(
        Settings,
        depth=st.integers(0, 3),
        recursive=st.booleans(),
        min_activations=st.integers(0, 3),
        budget_cap=st.sampled_from([0, 12, 40]),
        skip_on_overflow=st.booleans(),
        match_whole_words=st.booleans(),
    ),
)
def test_activation_is_repeatable_and_reports_each_entry_once(
    entries: list[dict[str, Any]], chat: list[str], chosen: Settings
) -> None:
    outcomes = []
    for _ in range(2):
        numbers = iter(number * 0.37 % 1 for number in range(10_000))
        outcomes.append(activate(scan(*entries, chat=chat, settings=chosen, draw=numbers.__next__)))
    assert outcomes[0] == outcomes[1]
    assert sorted(one.uid for one in outcomes[0].report) == list(range(len(entries)))
    assert {one.uid for one in outcomes[0].report if one.active} == set(active(outcomes[0]))
    json.dumps([dict(outcomes[0].timed), [one.to_json() for one in outcomes[0].report]])


@pytest.mark.parametrize("content", ["late", "{{nothing}}"])
def test_a_pass_that_woke_nothing_is_followed_by_no_recursion(content: str) -> None:
    """Looking further back for more entries adds no text, so nothing that waits for recursion is reached."""
    settings = replace(RECURSIVE, min_activations=2)
    delayed = entry(constant=True, content=content, delayUntilRecursion=1)
    found = activate(scan(delayed, chat=("one", "two"), settings=settings))
    assert (found.entries, found.passes) == ((), 2)


def test_an_empty_text_costs_nothing() -> None:
    """An entry without text wakes nothing: the next one has the whole budget."""
    settings = replace(RECURSIVE, budget=100, min_activations=9)
    entries = (entry("hi", content="{{nothing}}"), entry("deep", content="wxyz"))
    found = activate(scan(*entries, chat=("deep", "x", "x", "hi"), settings=settings, max_context=7))
    assert [one.content for one in found.entries] == ["", "wxyz"]
    assert not found.overflowed
