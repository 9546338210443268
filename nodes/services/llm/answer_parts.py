"""What readers of all protocols share: JSON of an event, counts of tokens, a whole answer out of pieces. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from innkeeper.nodes.json_values import whole_text
from innkeeper.nodes.node import ChatResponse
from innkeeper.nodes.services.llm.wire import About, Fault, Finish, Piece, Reasoning, Text, ToolCall, Usage
from innkeeper.nodes.services.llm.wire_json import parsed


def event_object(data: str) -> Mapping[str, Any]:
    """The JSON object of one event. Halves of a UTF-16 pair stay what they are: their other half may be the next event.

    Raises:
        ValueError: It is no JSON object, or nested too deeply.
    """
    value = parsed(data)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


def inner(data: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The object that these keys lead to; an empty one when there is none."""
    value: Any = data
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of a list; none when it is no list."""
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else iter(())


def listed_models(data: Any, name: str) -> list[Mapping[str, Any]]:
    """The entries of a list of models, which stands in the field `name`. Raises ValueError when there is none."""
    found = data.get(name) if isinstance(data, Mapping) else None
    if not isinstance(found, list):
        raise ValueError("it is no list of models")
    return list(objects(found))


def models_with_id(data: Any) -> tuple[Mapping[str, Any], ...]:
    """The models of an answer in OpenAI's form. Raises ValueError when it has none."""
    return tuple(model for model in listed_models(data, "data") if isinstance(model.get("id"), str))


def text_of(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def place_of(event: Mapping[str, Any], name: str) -> int:
    """The number of a part of the answer; -1 where none is told."""
    value = event.get(name)
    return value if isinstance(value, int) else -1


def usage_of(
    prompt: int | None,
    completion: int | None,
    *,
    total: int | None = None,
    cached: int | None = None,
    reasoning: int | None = None,
) -> Usage | None:
    """Counts in the form of `ChatResponse.usage`; None when nothing was told."""
    if prompt is None and completion is None:
        return None
    usage: dict[str, Any] = {}
    if prompt is not None:
        usage["prompt_tokens"] = prompt
    if completion is not None:
        usage["completion_tokens"] = completion
    usage["total_tokens"] = total if total is not None else (prompt or 0) + (completion or 0)
    if cached:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    if reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return Usage(usage)


def refusal(message: str) -> Fault:
    """The provider's filter, or the model, gives no answer."""
    return Fault({"error": {"code": "refusal", "message": message}})


def collected(
    pieces: Iterable[Piece],
    *,
    raw: Any,
    asked_model: str,
    extra: Mapping[str, Any] | None = None,
) -> ChatResponse | Fault:
    """The whole answer that pieces make, or the first fault.

    Args:
        extra: Further fields of the message in `choices`, which a later request may send back.
    """
    text: list[str] = []
    reasoning: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    about, usage, reason = About(), None, None
    for piece in pieces:
        match piece:
            case Fault():
                return piece
            case Text(found):
                text.append(found)
            case Reasoning(found):
                reasoning.append(found)
            case ToolCall():
                _add_call(calls, piece)
            case Usage(counts):
                usage = counts
            case About():
                about = About(piece.model or about.model, piece.response_id or about.response_id)
            case Finish(found):
                reason = found
    whole, thought = whole_text("".join(text)), whole_text("".join(reasoning))
    message: dict[str, Any] = {"role": "assistant", "content": whole}
    if calls:
        message["tool_calls"] = list(calls.values())
    if thought:
        message["reasoning_content"] = thought
    return ChatResponse(
        text=whole,
        model=about.model or asked_model,
        finish_reason=reason,
        usage=usage,
        response_id=about.response_id or None,
        choices=({"index": 0, "message": message | dict(extra or {}), "finish_reason": reason},),
        raw_response=raw if isinstance(raw, Mapping) else {"answers": raw},
        reasoning=thought,
        tool_calls=tuple(calls.values()),
    )


def _add_call(calls: dict[int, dict[str, Any]], piece: ToolCall) -> None:
    call = calls.setdefault(piece.index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call["id"] = call["id"] or piece.id
    call["function"]["name"] = call["function"]["name"] or piece.name
    call["function"]["arguments"] += piece.arguments
    call |= signature_field(piece.signature)


def signature_field(signature: str) -> dict[str, Any]:
    """The proof of a call, where Google's own OpenAI-compatible servers put it."""
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
