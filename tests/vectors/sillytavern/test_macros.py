"""Recorded macro results, of the newer engine and of the older one."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

import pytest

from innkeeper.nodes.tavern.macros import CardFields, Chat, MacroEnvironment, MacroMessage, Macros
from innkeeper.nodes.tavern.macros.engine import Engine
from tests.vectors.sillytavern.deviations_macros import DEVIATIONS
from tests.vectors.sillytavern.recorded import Case, load, name_of

_DRAWS = 400


def _card(card: dict[str, Any]) -> CardFields:
    known = {name: value for name, value in card.items() if name in CardFields.__dataclass_fields__}
    known["alternate_greetings"] = tuple(known.get("alternate_greetings") or ())
    return CardFields(**known)


def _message(message: dict[str, Any]) -> MacroMessage:
    swipes = message.get("swipes") or ()
    return MacroMessage(
        message["mes"],
        bool(message.get("is_user")),
        bool(message.get("is_system")),
        len(swipes),
        int(message.get("swipe_id") or 0),
    )


def _environment(given: dict[str, Any], seed: int = 0) -> MacroEnvironment:
    return MacroEnvironment(
        user=given["user"],
        char=given["char"],
        persona=given.get("persona", ""),
        group=tuple(given.get("group") or ()),
        card=_card(given.get("card") or {}),
        chat=Chat(tuple(_message(message) for message in given.get("chat") or ())),
        input=given.get("send_textarea", given.get("text_input", "")),
        now=datetime.fromisoformat(given["now"].replace("Z", "+00:00")),
        timezone=given["timezone"],
        draw=random.Random(seed).random,
        pick_seed=str(given.get("chat_id_hash", "")),
        local=dict(given.get("local") or {}),
        global_=dict(given.get("global") or {}),
    )


def _expand(given: dict[str, Any], engine: Engine, seed: int = 0) -> dict[str, Any]:
    environment = _environment(given, seed)
    text = Macros(environment, engine=engine)(given["content"], original=given.get("original"))
    return {"text": text, "local_vars": environment.local, "global_vars": environment.global_}


@pytest.mark.parametrize("engine", ["new", "legacy"])
@pytest.mark.parametrize("case", load("macros"), ids=name_of)
def test_macros_give_the_recorded_text_and_variables(case: Case, engine: Engine) -> None:
    expected = case["expected"][engine]
    if ("macros", case["name"]) in DEVIATIONS or "{{pick" in case["input"]["content"].lower():
        # our picks differ from theirs, but are as stable and of the same items
        assert _expand(case["input"], engine) == _expand(case["input"], engine)
        assert set(_expand(case["input"], engine)["text"]) <= set(case["input"]["content"])
    elif "one_of" in expected:
        assert {_expand(case["input"], engine, seed)["text"] for seed in range(_DRAWS)} == set(expected["one_of"])
    else:
        assert _expand(case["input"], engine) == expected
