"""What one turn leaves for the next: timed effects of world info and variables, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from innkeeper.nodes.tavern.documents import kind_of
from innkeeper.nodes.tavern.environment import FormatError


@dataclass(frozen=True)
class ChatState:
    """State of one chat.

    Attributes:
        timed: As world info gave it.
        variables: Set by macros; they live with the chat. `global_variables` are those of `{{setglobalvar}}`.
        pick_seed: Keeps `{{pick}}` the same for the whole chat.
    """

    timed: Mapping[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    global_variables: dict[str, Any] = field(default_factory=dict)
    pick_seed: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "timed": dict(self.timed),
            "variables": self.variables,
            "globalVariables": self.global_variables,
            "pickSeed": self.pick_seed,
        }


def read_state(raw: Any, variables: Any, seed: str, stored: Mapping[str, Any]) -> ChatState:
    """The state of the last turn, with `variables` set over it; nothing is the state of a new chat.

    Args:
        stored: What a chat file kept of earlier turns. A state that was given counts instead of it: it is newer, and
            a variable that is gone from it was deleted.

    Raises:
        FormatError: One of them is no object.
    """
    state = {**stored, **_object(raw, "'chatState'")}
    pick_seed = state.get("pickSeed")
    return ChatState(
        _object(state.get("timed"), "'chatState.timed'"),
        {**_object(state.get("variables"), "'chatState.variables'"), **_object(variables, "'variables'")},
        _object(state.get("globalVariables"), "'chatState.globalVariables'"),
        pick_seed if isinstance(pick_seed, str) and pick_seed else seed,
    )


def _object(value: Any, place: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise FormatError(f"{place} must be an object, found {kind_of(value)}")
    return dict(value)
