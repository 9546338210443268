"""Parameters for a model: single slots and the slot `parameters`, and what becomes of those that a model refuses."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import InnkeeperError, NodeInputError
from innkeeper.nodes.json_values import InvalidJson, TooDeep, is_number, read_json, text_or_empty
from innkeeper.nodes.library.utilities.text import is_truthy
from innkeeper.nodes.node import ChatRequest, Inputs
from innkeeper.nodes.tavern.documents import kind_of

PARAMETERS = Input(
    "STRING",
    display_name="Parameters",
    description="More parameters for the model, as JSON text or an object. They win over the single fields; null leaves"
    " a parameter out.",
    match_categories=("Json", "LlmConfig", "NoDefaultEdit"),
    config={"default": "{}", "languageHint": "json"},
)
STREAM = Input(
    "BOOLEAN",
    display_name="Stream",
    description="Give the answer in pieces, as it comes.",
    config={"default": False},
)

USAGE_IN_STREAM = "stream_options"
_NOT_PARAMETERS = frozenset({"model", "messages", "stream"})
_OTHER_NAMES = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "topP": "top_p",
}
_NEW_NAME = "max_completion_tokens"


# --- from slots -------------------------------------------------------------------------------------------------------


def number_of(inputs: Inputs, slot: str) -> int | float | None:
    """The number in a slot; None when there is none. Raises NodeInputError when it is something else."""
    value = inputs.get(slot)
    if value is None:
        return None
    if not is_number(value):
        raise NodeInputError(f"{slot!r} must be a number, found {kind_of(value)}")
    # JSON from a browser may say 512.0, which providers refuse where they want a whole number.
    return int(value) if value == int(value) else value


def object_of(value: Any, slot: str, example: str) -> dict[str, Any] | None:
    """The object in a slot, native or as JSON text; None when there is none.

    Raises:
        NodeInputError: It is something else, or holds what JSON has not.
    """
    if isinstance(value, str):
        value = _parsed(value, slot, example)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise NodeInputError(f"{slot!r} must be an object or its JSON text, found {kind_of(value)}")
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        raise NodeInputError(f"{slot!r} holds something that is not JSON (NaN, say)") from None
    return dict(value)


def _parsed(text: str, slot: str, example: str) -> Any:
    if not text.strip():
        return None
    try:
        return read_json(text)
    except TooDeep:
        raise NodeInputError(f"{slot!r} is nested too deeply") from None
    except InvalidJson as error:
        place = "" if error.position is None else f" at character {error.position[2]}"
        raise NodeInputError(f"{slot!r} is not valid JSON{place}; it looks like '{example}'") from None


@dataclass(frozen=True)
class Parameters:
    """What is sent to a model.

    Attributes:
        sent: None is not sent, and neither is what the channel would send in its place.
        unasked: Names of those that have the value their slot has from the start: nobody asked for them in so many
            words, and a model that refuses one is asked without it.
    """

    sent: Mapping[str, Any]
    unasked: frozenset[str]


def parameters_of(inputs: Inputs, slots: Mapping[str, Input], names: Iterable[str]) -> Parameters:
    """The single slots `names`, then what the slot `parameters` says, which wins. null takes a parameter away.

    With `stream` on, usage is asked for, which many servers else leave out of a stream.

    Raises:
        NodeInputError: A slot holds something else than its kind.
    """
    fields: dict[str, Any] = {name: number_of(inputs, name) for name in names if name in inputs}
    given = object_of(inputs.get("parameters"), "parameters", '{"stop": ["x"]}') or {}
    given = {name: value for name, value in given.items() if name not in _NOT_PARAMETERS}
    if given.get(_NEW_NAME) is not None:
        fields["max_tokens"] = None  # two limits contradict each other, and models refuse them together
    unasked = {name for name, value in fields.items() if name not in given and value == slots[name].config["default"]}
    if is_truthy(inputs.get("stream")) and USAGE_IN_STREAM not in given:
        fields[USAGE_IN_STREAM] = {"include_usage": True}
        unasked.add(USAGE_IN_STREAM)
    return Parameters({**fields, **given}, frozenset(unasked))


# --- refused by the model ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asking:
    """A request, and which of its parameters may be left out (`Parameters.unasked`)."""

    request: ChatRequest
    unasked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Changed:
    """What is asked in place of a refused request, and a sentence on what has changed; "" where nobody needs one."""

    asking: Asking
    message: str


def without_refused(asking: Asking, error: InnkeeperError) -> Changed | None:
    """The same request without the parameter that the model refuses; None when the error is about something else.

    A limit of tokens that somebody asked for gets the name that newer models have for it. Each step takes a name away,
    so that there are no more of them than parameters.
    """
    if error.code != "invalid_request_error":
        return None
    parameters = asking.request.parameters
    name = _refused_name(error, (*sorted(asking.unasked, reverse=True), "max_tokens"))
    if name in asking.unasked:
        rest = {**parameters, name: None}
        message = f"the model refuses the parameter {name!r}; it was asked without it. null in the slot leaves it out"
        left = Asking(_again(asking.request, rest, name), asking.unasked - {name})
        return Changed(left, "" if name == USAGE_IN_STREAM else message)
    if name == "max_tokens" and parameters.get(name) is not None and _names(_NEW_NAME, _words_of(error)):
        renamed = {**parameters, name: None, _NEW_NAME: parameters[name]}
        message = f"the model refuses the parameter {name!r}; it was asked with {_NEW_NAME!r} in its place"
        return Changed(replace(asking, request=_again(asking.request, renamed, name)), message)
    return None


def _refused_name(error: InnkeeperError, candidates: Iterable[str]) -> str | None:
    """`param` of the provider's error, or else the first candidate that its words name."""
    param = text_or_empty(error.details.get("param"))
    if param:
        return _OTHER_NAMES.get(param, param)
    words = _words_of(error)
    return next((name for name in candidates if _names(name, words)), None)


def _words_of(error: InnkeeperError) -> str:
    return text_or_empty(error.details.get("provider_message"))


def _names(name: str, words: str) -> bool:
    return re.search(rf"(?<!\w){name}(?!\w)", words) is not None


def _again(request: ChatRequest, parameters: Mapping[str, Any], step: str) -> ChatRequest:
    """Another request: under the same key a provider would give the answer of the first."""
    return replace(request, parameters=parameters, idempotency_key=next_key(request.idempotency_key, step))


def next_key(key: str | None, step: str) -> str | None:
    """The idempotency key of a further request of the same attempt; the same in each attempt."""
    return hashlib.sha256(f"{key}/{step}".encode()).hexdigest() if key else None
