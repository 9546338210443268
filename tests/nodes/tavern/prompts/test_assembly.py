"""Prompt assembly: rules that recorded cases do not show, and what must always hold."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.macros import MacroEnvironment, Macros
from innkeeper.nodes.tavern.presets import Preset, read_preset
from innkeeper.nodes.tavern.prompts.assembly import Assembly, Options, Parts, assemble
from innkeeper.nodes.tavern.prompts.examples import Line
from innkeeper.nodes.tavern.prompts.message import BEFORE_MAIN, IN_MAIN, ContextTooSmall, Message, Note, Sizer, Turn
from innkeeper.nodes.tavern.prompts.squash import squash
from tests.effort import examples

HISTORY = [Turn("assistant", "a1", "Bot", 0), Turn("user", "u2", "Ann", 1), Turn("assistant", "a3", "Bot", 2)]


def preset(order: str = "main chatHistory", prompts: list[dict[str, Any]] | None = None, **fields: Any) -> Preset:
    """A preset; an identifier with a leading `-` is switched off."""
    given = [{"identifier": "main", "content": "M", "system_prompt": True}, *(prompts or [])]
    entries = [{"identifier": name.lstrip("-"), "enabled": name[0] != "-"} for name in order.split()]
    raw = {"new_chat_prompt": "", "prompts": given, "prompt_order": [{"character_id": 100001, "order": entries}]}
    return read_preset({**raw, **fields})


def own(identifier: str, **fields: Any) -> dict[str, Any]:
    return {"identifier": identifier, "content": identifier.upper(), "system_prompt": False, **fields}


def run(chosen: Preset, options: Options | None = None, **parts: Any) -> Assembly:
    parts = {"history": HISTORY, **parts}
    expand = Macros(MacroEnvironment(user="Ann", char="Bot"))
    return assemble(chosen, Parts(**parts), options or Options(user="Ann"), expand=expand, count=len)


def texts(assembly: Assembly) -> str:
    return " ".join(f"{message.role[0]}:{message.content}" for message in assembly.messages)


# --- order, triggers, overrides ---


def test_prompt_with_another_trigger_is_not_sent() -> None:
    chosen = preset("main x", [own("x", injection_trigger=["continue"])])
    assert texts(run(chosen)) == "s:M"
    assert texts(run(chosen, Options(generation_type="continue"))) == "s:M s:X"


def test_parts_without_a_place_are_told_not_appended() -> None:
    assembly = run(preset("main -scenario"), history=[], description="D", scenario="S")
    assert texts(assembly) == "s:M"
    assert len(assembly.warnings) == 1
    assert "'charDescription'" in assembly.warnings[0]


def test_override_sees_the_text_it_replaces_once() -> None:
    chosen = preset("main jailbreak", [{"identifier": "jailbreak", "content": "J", "system_prompt": True}])
    assembly = run(chosen, history=[], main_override="<{{original}}|{{original}}>", jailbreak_override="P")
    assert texts(assembly) == "s:<M|> s:P"


def test_override_of_a_disabled_main_is_not_used() -> None:
    assert texts(run(preset("-main"), history=[], main_override="O")) == ""


def test_formats_wrap_world_info_and_fields() -> None:
    chosen = preset("worldInfoBefore scenario", wi_format="[{0}]", scenario_format="(place)")
    assert texts(run(chosen, world_before="W", scenario="S", history=[])) == "s:[W] s:(place)"
    assert texts(run(chosen, history=[])) == ""


def test_filled_marker_takes_the_role_of_its_entry() -> None:
    chosen = preset("charDescription", [{"identifier": "charDescription", "marker": True, "role": "user"}])
    assert texts(run(chosen, history=[], description="D")) == "u:D"


def test_notes_stand_around_the_main_prompt_even_when_it_is_off() -> None:
    notes = [Note("1_a", "before", BEFORE_MAIN), Note("2_b", "after", IN_MAIN, role="user")]
    assert texts(run(preset("-main"), history=[], notes=notes)) == "s:before u:after"
    assert texts(run(preset("nsfw"), history=[], notes=notes)) == "s:before u:after"


# --- inside the chat ---


def test_roles_of_one_depth_and_order() -> None:
    prompts = [own(role[0], role=role, injection_position=1, injection_depth=1) for role in ("system", "user")]
    prompts.append(own("z", role="assistant", injection_position=1, injection_depth=1))
    assert texts(run(preset("main chatHistory s u z", prompts))) == "s:M a:a1 u:u2 a:Z u:U s:S a:a3"


def test_notes_of_one_place_are_sorted_by_key_and_follow_prompts() -> None:
    prompts = [own("x", injection_position=1, injection_depth=0)]
    notes = [Note("b", "B", depth=0), Note("a", "A", depth=0), Note("Z", "Z", depth=0)]
    assembly = run(preset("chatHistory x", prompts), history=HISTORY[:1], notes=notes)
    assert texts(assembly) == "a:a1 s:X\nZ\nA\nB"
    assert assembly.messages[-1].source == "x+Z+a+b"


def test_depth_beyond_the_history_is_before_the_oldest_and_after_the_heading() -> None:
    prompts = [own("deep", injection_position=1, injection_depth=99), own("d", injection_position=1, injection_depth=3)]
    chosen = preset("chatHistory deep d", prompts, new_chat_prompt="NEW")
    assert texts(run(chosen)) == "s:NEW s:DEEP s:D a:a1 u:u2 a:a3"


def test_depth_defaults_to_four_and_order_to_hundred() -> None:
    prompts = [own("x", injection_position=1), own("y", injection_position=1, injection_order=99)]
    history = [Turn("user", str(number)) for number in range(5)]
    assert texts(run(preset("chatHistory x y", prompts), history=history)) == "u:0 s:Y s:X u:1 u:2 u:3 u:4"


def test_history_without_a_place_is_not_sent_nor_are_prompts_in_it() -> None:
    assembly = run(preset("main x", [own("x", injection_position=1)]))
    assert texts(assembly) == "s:M"
    assert any("chatHistory" in warning for warning in assembly.warnings)


# --- names ---


def test_names_as_fields_are_made_valid() -> None:
    history = [Turn("user", "hi", "Ann-Marie Ü" + "x" * 80)]
    message = run(preset(names_behavior=1), history=history).messages[-1]
    assert message.name == ("Ann_Marie__" + "x" * 80)[:64]
    assert message.content == "hi"


def test_names_as_prefix_spare_the_narrator() -> None:
    history = [Turn("user", "hi", "Ann"), Turn("system", "night", "Bot", is_narrator=True)]
    assert texts(run(preset("chatHistory", names_behavior=2), history=history)) == "u:Ann: hi s:night"


def test_default_names_show_only_other_speakers() -> None:
    history = [Turn("assistant", "x", "Zoe", show_name=True), Turn("user", "y", "Ann", show_name=True)]
    assert texts(run(preset("chatHistory"), history=history)) == "a:Zoe: x u:y"
    none = texts(run(preset("chatHistory", names_behavior=-1), history=history))
    assert none == "a:x u:y"


def test_group_chat_has_names_heading_and_nudge() -> None:
    chosen = preset("chatHistory", new_group_chat_prompt="G", group_nudge_prompt="as {{char}}")
    group = Options(user="Ann", group=("Bot", "Zoe"))
    assert texts(run(chosen, group, history=HISTORY[:2])) == "s:G a:Bot: a1 u:u2 s:as Bot"
    assert "as Bot" not in texts(run(chosen, replace(group, generation_type="impersonate"), history=[]))


# --- kinds of generation ---


def test_continue_moves_the_last_message_behind_everything_with_a_nudge() -> None:
    nudge = "go on: {{lastChatMessage}}"
    chosen = preset("main chatHistory jailbreak x", [own("x")], continue_nudge_prompt=nudge)
    options = Options(generation_type="continue", continued=" a3 ")
    assert texts(run(chosen, options)) == "s:M a:a1 u:u2 s:X a:a3 s:go on: a3"


def test_continue_without_a_last_message_has_no_nudge() -> None:
    assert texts(run(preset(), Options(generation_type="continue"), history=[])) == "s:M"


def test_continue_counts_depth_with_the_moved_message() -> None:
    prompts = [own("x", injection_position=1, injection_depth=1)]
    chosen = preset("chatHistory x", prompts, continue_nudge_prompt="N")
    options = Options(generation_type="continue", continued="a3")
    assert texts(run(chosen, options)) == "a:a1 u:u2 s:X a:a3 s:N"


def test_continue_prefill_takes_the_message_out_before_depth_is_counted() -> None:
    prompts = [own("x", injection_position=1, injection_depth=1)]
    chosen = preset("chatHistory x jailbreak", prompts, continue_prefill=True)
    assert texts(run(chosen, Options(generation_type="continue", continued="a3"))) == "a:a1 s:X u:u2 a:a3"


def test_impersonate_and_quiet_prompts_stand_last() -> None:
    chosen = preset("chatHistory nsfw x", [own("x")], impersonation_prompt="as {{user}}")
    options = Options(user="Ann", generation_type="impersonate")
    assert texts(run(chosen, options, history=[], quiet_prompt="Q")) == "s:X s:as Ann s:Q"


def test_send_if_empty_follows_an_answer() -> None:
    chosen = preset("chatHistory", send_if_empty="[{{user}}?]")
    assert texts(run(chosen)) == "a:a1 u:u2 a:a3 u:[{{user}}?]"
    assert texts(run(chosen, history=[])) == ""


def test_assistant_prefill_is_last_where_it_belongs() -> None:
    chosen = preset("main chatHistory x", [own("x")], assistant_prefill="Sure, {{user}}:")
    assert texts(run(chosen, history=[])) == "s:M s:X a:Sure, User:".replace("User", "Ann")
    openai = preset("main", assistant_prefill="Sure", chat_completion_source="openai")
    assert texts(run(openai, history=[])) == "s:M"
    assert texts(run(openai, Options(add_prefill=True), history=[])) == "s:M a:Sure"
    assert texts(run(chosen, Options(generation_type="quiet"), history=[])) == "s:M s:X"


def test_continued_message_gets_the_prefill_of_claude() -> None:
    fields = {"assistant_prefill": "P", "continue_prefill": True, "chat_completion_source": "claude"}
    assert texts(run(preset("chatHistory", **fields), Options(generation_type="continue"))) == "a:a1 u:u2 a:P\n\na3"


def test_user_prompt_of_the_preset_follows_the_history() -> None:
    assert texts(run(preset(user_prompt="Go on."), quiet_prompt="Q")) == "s:M a:a1 u:u2 a:a3 u:Go on. s:Q"


# --- macros ---


def test_variables_flow_from_early_prompts_to_later_ones_and_the_history() -> None:
    prompts = [own("x", content="{{setvar::v::1}}"), own("y", content="{{getvar::v}}{{setvar::v::2}}")]
    history = [Turn("user", "{{getvar::v}}"), Turn("assistant", "{{getvar::v}}", expand=False)]
    assert texts(
        run(preset("y x y2 chatHistory", [*prompts, own("y2", content="{{getvar::v}}")]), history=history)
    ) == ("s:1 u:1 a:{{getvar::v}}")


# --- budget ---

BLOCKS = [[Line("example_user", "q" * 10)], [Line("example_assistant", "r" * 5)]]


def room(tokens: int, order: str = "main dialogueExamples chatHistory", **fields: Any) -> Preset:
    fields = {"new_example_chat_prompt": "E", **fields}
    return preset(order, openai_max_context=tokens + 3, openai_max_tokens=0, **fields)


def test_what_must_be_sent_and_does_not_fit_is_an_error() -> None:
    assert texts(run(room(1), history=[])) == "s:M"
    with pytest.raises(ContextTooSmall) as caught:
        run(room(0), history=[])
    assert caught.value.code == "context_too_small"
    assert caught.value.details == {"needed": 4, "available": 3}


def test_heading_of_the_chat_must_fit_too() -> None:
    with pytest.raises(ContextTooSmall):
        run(room(2, new_chat_prompt="NEW"), history=[])


def test_history_goes_first_and_examples_by_whole_blocks() -> None:
    first = 10 + len("example_user") + 1
    second = 5 + len("example_assistant") + 1
    assert len(run(room(1 + 6 + first + second), examples=BLOCKS).messages) == 8
    cut = run(room(1 + 6 + first + second - 1), examples=BLOCKS)
    assert len(cut.messages) == 6
    assert [(item.source, item.index) for item in cut.cut] == [("dialogueExamples", 1)]


def test_examples_stop_at_the_first_that_does_not_fit() -> None:
    big_first = [[Line("example_user", "q" * 100)], BLOCKS[1]]
    assembly = run(room(60), examples=big_first)
    assert texts(assembly) == "s:M a:a1 u:u2 a:a3"
    assert [item.index for item in assembly.cut] == [0, 1]


def test_pinned_examples_take_their_room_first() -> None:
    assembly = run(room(1 + 23 + 2), Options(pin_examples=True), examples=BLOCKS[:1])
    assert texts(assembly) == "s:M s:E s:qqqqqqqqqq a:a3"
    assert [item.index for item in assembly.cut] == [0, 1]


def test_pinned_examples_leave_room_for_the_heading() -> None:
    chosen = room(1 + 23, new_chat_prompt="NEW")
    assert texts(run(chosen, Options(pin_examples=True), examples=BLOCKS[:1])) == "s:M s:NEW a:a1 u:u2 a:a3"


def test_overhead_counts_for_every_message() -> None:
    assert texts(run(room(1 + 2 + 2 + 2 * 3, "main chatHistory"), Options(message_overhead=2))) == "s:M u:u2 a:a3"


def test_empty_block_gets_its_heading_only_as_in_sillytavern() -> None:
    chosen = preset("dialogueExamples", new_example_chat_prompt="E")
    assert texts(run(chosen, examples=[[]])) == ""
    assert texts(run(chosen, Options(as_sillytavern=True), examples=[[]])) == "s:E"


# --- what always holds ---

TEXT = st.text("ab {}:\n", max_size=12)
ROLE = st.sampled_from(["system", "user", "assistant"])
TURNS = st.lists(st.builds(Turn, role=st.sampled_from(["user", "assistant"]), text=TEXT), max_size=8)
PROMPTS = st.lists(
    st.fixed_dictionaries(
        {
            "role": ROLE,
            "content": TEXT,
            "injection_position": st.integers(0, 1),
            "injection_depth": st.integers(0, 5),
            "injection_order": st.integers(99, 101),
        }
    ),
    max_size=5,
)


@examples(150)
@given(TURNS, PROMPTS, st.integers(0, 150), st.booleans(), st.booleans())
def test_tokens_stay_within_the_budget_and_messages_in_order(
    turns: list[Turn], prompts: list[dict[str, Any]], tokens: int, pin: bool, squashed: bool
) -> None:
    turns = [replace(turn, index=index) for index, turn in enumerate(turns)]
    given_prompts = [own(f"p{number}", **prompt) for number, prompt in enumerate(prompts)]
    order = " ".join(["main", *(prompt["identifier"] for prompt in given_prompts), "dialogueExamples", "chatHistory"])
    chosen = preset(
        order, given_prompts, openai_max_context=tokens, openai_max_tokens=5, squash_system_messages=squashed
    )
    options = Options(user="Ann", pin_examples=pin, message_overhead=3)
    try:
        assembly = run(chosen, options, history=turns, examples=BLOCKS)
    except ContextTooSmall:
        return
    assert sum(message.tokens for message in assembly.messages) + 3 <= assembly.used <= assembly.available
    sent = [message.index for message in assembly.messages if message.source == "chatHistory"]
    assert sent == sorted(sent)
    cut = {item.index for item in assembly.cut if item.source == "chatHistory"}
    assert not cut or max(cut) < min([index for index in sent if index is not None], default=len(turns))
    assert not any(message.is_empty for message in assembly.messages)


MESSAGES = st.lists(
    st.builds(
        Message,
        role=ROLE,
        content=TEXT,
        source=st.just("x"),
        name=st.sampled_from(["", "", "n"]),
        joins=st.booleans(),
    ),
    max_size=10,
)


@examples(150)
@given(MESSAGES)
def test_squash_is_idempotent_and_loses_no_text(messages: list[Message]) -> None:
    once = squash(messages, Sizer(len))
    assert squash(once, Sizer(len)) == once
    flat = "".join(message.content for message in once)
    assert re.sub(r"\n", "", flat) == re.sub(r"\n", "", "".join(message.content for message in messages))


def test_squash_joins_only_plain_system_neighbours() -> None:
    given = [Message("system", text, text) for text in ("a", "", "b")]
    given += [Message("system", "n", "n", name="x"), Message("system", "c", "c"), Message("user", "", "u")]
    given += [Message("system", "d", "d"), Message("system", "h", "h", joins=False), Message("system", "e", "e")]
    result = [message.content for message in squash(given, Sizer(len))]
    assert result == ["a\nb", "n", "c", "", "d", "h", "e"]


def test_notes_beside_main_have_an_order_of_their_own() -> None:
    keys = ("zz", "3_vectors", "DEPTH_PROMPT", "1_memory")
    notes = [Note(key, key, IN_MAIN, role="user") for key in keys]
    assert texts(run(preset("main"), notes=notes, history=[])) == "s:M u:1_memory s:3_vectors u:zz"


def test_a_message_to_continue_loses_its_name_field() -> None:
    chosen = preset("chatHistory", names_behavior=1, continue_nudge_prompt="go on")
    assembly = run(chosen, Options(generation_type="continue", continued="a3"))
    assert [bool(message.name) for message in assembly.messages] == [True, True, False, False]


def test_main_for_another_type_keeps_its_place_for_notes_and_override() -> None:
    chosen = preset(prompts=[])
    main = replace(chosen.prompts["main"], triggers=("continue",))
    chosen = replace(chosen, prompts={**chosen.prompts, "main": main})
    assert texts(run(chosen, history=[], notes=[Note("1_memory", "N", IN_MAIN)])) == "s:N"
    assert texts(run(chosen, history=[], main_override="O{{original}}")) == "s:O"


def test_notes_beside_a_main_prompt_in_the_chat_are_joined_with_it() -> None:
    chosen = preset()
    main = replace(chosen.prompts["main"], in_chat=True, depth=1, role="user")
    chosen = replace(chosen, prompts={**chosen.prompts, "main": main})
    notes = [Note("1_memory", "after", IN_MAIN), Note("2_floating_prompt", "before", BEFORE_MAIN)]
    assert texts(run(chosen, notes=notes)) == "a:a1 u:u2 u:before\nM\nafter a:a3"


def test_prompt_in_the_chat_without_a_role_is_lost_only_as_in_sillytavern() -> None:
    chosen = preset("main x chatHistory", [own("x", injection_position=1, injection_depth=0)])
    assert texts(run(chosen)).endswith("a:a3 s:X")
    assert texts(run(chosen, Options(user="Ann", as_sillytavern=True))).endswith("a:a3")


def test_examples_that_stand_last_hide_the_message_to_continue_only_as_in_sillytavern() -> None:
    chosen = preset("main chatHistory dialogueExamples", continue_nudge_prompt="go on")
    options = Options("continue", "Ann", continued="a3")
    assert texts(run(chosen, options)) == "s:M a:a1 u:u2 a:a3 s:go on"
    assert texts(run(chosen, replace(options, as_sillytavern=True))) == "s:M a:a1 u:u2"
