"""Answers that keep to a JSON Schema: the instruction, the check, one request to repair what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from innkeeper.nodes.errors import InnkeeperError, NodeError, NodeInputError
from innkeeper.nodes.json_values import dump_json
from innkeeper.nodes.library.llm import asking
from innkeeper.nodes.library.llm.parameters import Asking, next_key, object_of
from innkeeper.nodes.node import ChatResponse, Inputs, NodeContext
from innkeeper.nodes.services.structured.schema import check_bounds, check_size

SLOT = "responseSchema"
INVALID = "invalid_structured_output"
MAX_ANSWER_CHARS = 1_000_000
MAX_KEPT_CHARS = 4_000
"""Of the model's own text, in the details of the error."""
TIMEOUT_S = 10.0

_CHECK = "innkeeper.nodes.services.structured.validation:check_schema"
_READ = "innkeeper.nodes.services.structured.validation:read_answer"
_EXAMPLE = '{"type": "object", "properties": {"name": {"type": "string"}}}'
_CUT = frozenset({"length", "content_filter", "interrupted"})
_INSTRUCTED = frozenset({"system", "developer"})
_BUSY = "scripts_busy"
_TRIES = 10
"""For a process that is free; the service waits a minute each time."""
_MAX_REPEATED_CHARS = 32_000
_MAX_ERRORS_TOLD = 5

Schema = dict[str, Any]


@dataclass(frozen=True)
class Structured:
    """An answer and the data in it; with a repair, the answer to that request and the tokens of both."""

    response: ChatResponse
    data: dict[str, Any]


async def schema_of(inputs: Inputs, context: NodeContext) -> Schema | None:
    """The schema that the answer has to keep to; None when there is none.

    Raises:
        NodeInputError: It is no JSON Schema, is too large or leads out of itself.
    """
    check_size(inputs.get(SLOT), SLOT)
    schema = object_of(inputs.get(SLOT), SLOT, _EXAMPLE)
    if not schema:
        return None
    check_bounds(schema, SLOT)
    try:
        await context.services.scripts.call(_CHECK, {"schema": schema, "slot": SLOT}, timeout_s=TIMEOUT_S)
    except NodeInputError:
        raise
    except InnkeeperError as error:
        if error.retryable:
            raise
        raise NodeInputError(f"{SLOT!r} cannot be read: {error.message}") from error
    return schema


def with_schema(asked: Asking, schema: Schema) -> Asking:
    """The request, for an answer that keeps to the schema: told to the model, and to a channel that can see to it."""
    messages = instructed(asked.request.messages, schema)
    return replace(asked, request=replace(asked.request, messages=messages, response_schema=schema))


def instructed(messages: list[dict[str, Any]], schema: Schema) -> list[dict[str, Any]]:
    """The messages with the instruction at the end of the system prompt, or as one."""
    text = f"Answer with one JSON object and nothing else. It must keep to this JSON Schema:\n{dump_json(schema)}"
    first = messages[0] if messages else {}
    if first.get("role") in _INSTRUCTED and isinstance(first.get("content"), str):
        return [{**first, "content": f"{first['content']}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


async def structured(response: ChatResponse, asked: Asking, schema: Schema, context: NodeContext) -> Structured:
    """The data in an answer. One that does not fit is sent back once, with what is wrong.

    Raises:
        NodeError: `invalid_structured_output`: neither fits. `details` hold `errors`, the beginning of the `text`, and
            its length in `chars`.
        ProviderError, NodeMustWait, ...: The request to repair failed, as `nodes.node.Llm`.
    """
    read = await _read(response, schema, context)
    if "errors" in read and response.finish_reason not in _CUT:
        second = await asking.chat(_repair(asked, response, read["errors"]), context)
        context.warn("structured_output_asked_again", f"the answer did not fit the schema: {_list(read['errors'])}")
        response = replace(second, usage=added_usage(response.usage, second.usage))
        read = await _read(response, schema, context)
    if "errors" in read:
        raise _invalid(response, read["errors"])
    if read["is_repaired"]:
        context.warn("json_repaired", "the answer was no valid JSON; its mistakes were repaired")
    return Structured(response, read["data"])


async def _read(response: ChatResponse, schema: Schema, context: NodeContext) -> dict[str, Any]:
    if len(response.text) > MAX_ANSWER_CHARS:
        return {"errors": [f"the answer has more than {MAX_ANSWER_CHARS} characters"]}
    arguments = {"text": response.text, "schema": schema, "is_cut": response.finish_reason in _CUT}
    # The answer is paid: it must not be lost for a process that is busy, or for a schema that takes too long.
    tries = 1
    while True:
        try:
            return dict(await context.services.scripts.call(_READ, arguments, timeout_s=TIMEOUT_S))
        except InnkeeperError as error:
            if error.code == _BUSY and tries < _TRIES:
                tries += 1
                continue
            if error.retryable:
                raise
            raise _invalid(response, [f"it cannot be held against the schema: {error.message}"]) from error


def _repair(asked: Asking, response: ChatResponse, errors: list[str]) -> Asking:
    wrong = [{"role": "assistant", "content": response.text[:_MAX_REPEATED_CHARS]}] if response.text.strip() else []
    complaints = "\n".join(f"- {error}" for error in errors)
    told = f"That does not keep to the JSON Schema:\n{complaints}\nAnswer with the whole corrected JSON object only."
    request = asked.request
    return replace(
        asked,
        request=replace(
            request,
            messages=[*request.messages, *wrong, {"role": "user", "content": told}],
            idempotency_key=next_key(request.idempotency_key, "repair"),
        ),
    )


def _invalid(response: ChatResponse, errors: list[str]) -> NodeError:
    is_cut = response.finish_reason == "length"
    reason = "it is cut: raise 'max_tokens'" if is_cut else "see 'details.errors', and 'details.text' for the answer"
    details = {
        "errors": errors,
        "text": response.text[:MAX_KEPT_CHARS],
        "chars": len(response.text),
        "finish_reason": response.finish_reason,
        "usage": dict(response.usage or {}),
    }
    message = f"the answer does not keep to {SLOT!r}; {reason}"
    return NodeError(message, code=INVALID, details=details, retryable=False)


def _list(errors: list[str]) -> str:
    return "; ".join(errors[:_MAX_ERRORS_TOLD])


def added_usage(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Counts of two requests together; None when nothing is known of one of them.

    Example:
        >>> added_usage({"total_tokens": 2, "details": {"a": 1}}, {"total_tokens": 3, "details": {"a": 1, "b": 4}})
        {'total_tokens': 5, 'details': {'a': 2, 'b': 4}}
    """
    if first is None or second is None:
        return None
    return {key: _sum(first.get(key), second.get(key)) for key in {**first, **second}}


def _sum(first: Any, second: Any) -> Any:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return dict(added_usage(first, second) or {})
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first + second
    return second if first is None else first
