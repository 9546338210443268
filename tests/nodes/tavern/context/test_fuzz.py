"""Whatever is wired into the slots: an answer, or an error that says why."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.tavern.context.builder import build
from tests.effort import examples

MESSAGE_KEYS = ("role", "content", "mes", "name", "is_user")
PRESET_KEYS = ("prompts", "prompt_order", "order", "identifier", "enabled", "extensions", "data", "spec")
BOOK_KEYS = ("entries", "key", "position", "depth", "description", "timed", "sticky", "findRegex")
KEYS = st.sampled_from((*MESSAGE_KEYS, *PRESET_KEYS, *BOOK_KEYS))
LEAF = st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    LEAF | st.sampled_from(["", "user", "main", "{{char}}", "{{getvar::x}}", "<START>\n{{user}}: x", "/a/g"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)
OBJECT = st.dictionaries(KEYS, JSON, max_size=5)
SLOTS: dict[str, st.SearchStrategy[Any]] = {
    "presetData": OBJECT | st.just({"prompts": []}),
    "worldBookData": JSON | st.fixed_dictionaries({"entries": st.lists(OBJECT, max_size=3)}),
    "characterData": JSON | st.fixed_dictionaries({"spec": st.just("chara_card_v2"), "data": OBJECT}),
    "historyMessages": JSON | st.lists(OBJECT, max_size=3),
    **dict.fromkeys(("userName", "persona", "authorsNote", "regexScripts", "chatState", "variables"), JSON),
    "settings": JSON | st.just({"mode": "assemble"}),
    "maxContext": JSON,
}


@examples(200)
@given(st.fixed_dictionaries({}, optional=SLOTS))
def test_any_inputs_give_messages_or_a_reason(inputs: dict[str, Any]) -> None:
    with contextlib.suppress(InnkeeperError):
        result = build(inputs, "1", "2030-01-01T00:00:00+00:00")
        assert set(result) == {"finalMessages", "report", "chatState"}
        json.dumps(result, allow_nan=False)


@examples(150)
@given(st.sampled_from(sorted(SLOTS)), JSON, OBJECT)
def test_one_odd_slot_among_sound_ones(slot: str, value: Any, state: dict[str, Any]) -> None:
    inputs = {"presetData": {"prompts": []}, "historyMessages": [{"role": "user", "content": "x"}]}
    with contextlib.suppress(InnkeeperError):
        build({**inputs, "chatState": state, slot: value}, "1", "2030-01-01T00:00:00+00:00")
