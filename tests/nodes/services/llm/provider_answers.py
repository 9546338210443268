"""Answers of providers in their own form, for the pure readers and for the servers that play providers.

Each scenario of a protocol is one answer, as a stream and as a whole. The forms are those of the providers'
documentation and of their clients' types.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    """One answer. `stream`: the whole body; `whole`: the JSON of the same without a stream."""

    stream: str
    whole: Any


def sse(events: Iterable[tuple[str, Any]]) -> str:
    return "".join(f"{f'event: {name}' + chr(10) if name else ''}data: {json.dumps(data)}\n\n" for name, data in events)


# --- Anthropic --------------------------------------------------------------------------------------------------------


def _claude(events: Iterable[JSON]) -> str:
    return sse((event["type"], event) for event in events)


def _claude_message(content: list[JSON], stop: str | None, usage: JSON, **more: Any) -> JSON:
    head = {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude-test-1"}
    return {**head, "content": content, "stop_reason": stop, "stop_sequence": None, "usage": usage, **more}


def _claude_start(usage: JSON) -> JSON:
    return {"type": "message_start", "message": _claude_message([], None, usage)}


def _block(index: int, start: JSON, *deltas: JSON) -> list[JSON]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _claude_end(stop: str, usage: JSON) -> list[JSON]:
    delta = {"stop_reason": stop, "stop_sequence": None}
    return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


_TEXT_START = {"type": "text", "text": ""}
_CACHED = {"input_tokens": 10, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 85}

ANTHROPIC = {
    "text": Recorded(
        _claude(
            [
                _claude_start({**_CACHED, "output_tokens": 1}),
                {"type": "ping"},
                *_block(
                    0, _TEXT_START, {"type": "text_delta", "text": "Grüß"}, {"type": "text_delta", "text": " dich 😀"}
                ),
                {"type": "event_of_next_year", "x": 1},
                *_claude_end("end_turn", {"output_tokens": 7}),
            ]
        ),
        _claude_message([{"type": "text", "text": "Grüß dich 😀"}], "end_turn", {**_CACHED, "output_tokens": 7}),
    ),
    "thinking": Recorded(
        _claude(
            [
                _claude_start({"input_tokens": 20, "output_tokens": 1}),
                *_block(
                    0,
                    {"type": "thinking", "thinking": "", "signature": ""},
                    {"type": "thinking_delta", "thinking": "Six times"},
                    {"type": "thinking_delta", "thinking": " seven."},
                    {"type": "signature_delta", "signature": "c2ln"},
                ),
                *_block(1, {"type": "redacted_thinking", "data": "aGlkZGVu"}),
                *_block(2, _TEXT_START, {"type": "text_delta", "text": "42"}),
                *_claude_end("end_turn", {"output_tokens": 30, "output_tokens_details": {"thinking_tokens": 25}}),
            ]
        ),
        _claude_message(
            [
                {"type": "thinking", "thinking": "Six times seven.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "aGlkZGVu"},
                {"type": "text", "text": "42"},
            ],
            "end_turn",
            {"input_tokens": 20, "output_tokens": 30, "output_tokens_details": {"thinking_tokens": 25}},
        ),
    ),
    "tools": Recorded(
        _claude(
            [
                _claude_start({"input_tokens": 50, "output_tokens": 1}),
                *_block(0, _TEXT_START, {"type": "text_delta", "text": "I look."}),
                *_block(
                    1,
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
                    {"type": "input_json_delta", "partial_json": ""},
                    {"type": "input_json_delta", "partial_json": '{"city": "Pa'},
                    {"type": "input_json_delta", "partial_json": 'ris"}'},
                ),
                *_block(2, {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}}),
                *_claude_end("tool_use", {"output_tokens": 40}),
            ]
        ),
        _claude_message(
            [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}},
                {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}},
            ],
            "tool_use",
            {"input_tokens": 50, "output_tokens": 40},
        ),
    ),
    "length": Recorded(
        _claude(
            [
                _claude_start({"input_tokens": 3, "output_tokens": 1}),
                *_block(0, _TEXT_START, {"type": "text_delta", "text": "One, two"}),
                *_claude_end("max_tokens", {"output_tokens": 2}),
            ]
        ),
        _claude_message([{"type": "text", "text": "One, two"}], "max_tokens", {"input_tokens": 3, "output_tokens": 2}),
    ),
}

# --- OpenAI Responses -------------------------------------------------------------------------------------------------


def _response(output: list[JSON], status: str = "completed", usage: JSON | None = None, **more: Any) -> JSON:
    head = {"id": "resp_1", "object": "response", "created_at": 1_760_000_000, "model": "gpt-test-1", "error": None}
    settings = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "incomplete_details": None}
    return {**head, **settings, "status": status, "output": output, "usage": usage, **more}


def _responses(events: Iterable[JSON]) -> str:
    return sse((event["type"], {**event, "sequence_number": number}) for number, event in enumerate(events))


def _response_usage(given: int, made: int, cached: int = 0, reasoning: int = 0) -> JSON:
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": given + made,
    }


def _text_item(text: str, status: str = "completed") -> JSON:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": [part]}


def _text_events(place: int, *deltas: str) -> list[JSON]:
    where = {"item_id": "msg_1", "output_index": place, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    empty = {**_text_item("", "in_progress"), "content": []}
    whole = "".join(deltas)
    return [
        {"type": "response.output_item.added", "output_index": place, "item": empty},
        {"type": "response.content_part.added", **where, "part": part},
        *({"type": "response.output_text.delta", **where, "delta": delta, "logprobs": []} for delta in deltas),
        {"type": "response.output_text.done", **where, "text": whole, "logprobs": []},
        {"type": "response.content_part.done", **where, "part": {**part, "text": whole}},
        {"type": "response.output_item.done", "output_index": place, "item": _text_item(whole)},
    ]


def _around(events: list[JSON], end: JSON, kind: str = "response.completed") -> str:
    begun = _response([], "in_progress")
    starts = [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]
    return _responses([*starts, *events, {"type": kind, "response": end}])


_REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Six times"}, {"type": "summary_text", "text": "seven."}],
    "encrypted_content": "ZW5j",
}
_FUNCTIONS: list[JSON] = [
    {
        "id": f"fc_{number}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{number}",
        "name": name,
        "arguments": arguments,
    }
    for number, (name, arguments) in enumerate((("weather", '{"city": "Paris"}'), ("clock", "{}")), 1)
]
_RESPONSES_TEXT = _response([_text_item("Grüß dich 😀")], usage=_response_usage(100, 7, cached=85))
_RESPONSES_THINKING = _response([_REASONING, _text_item("42")], usage=_response_usage(20, 30, reasoning=25))
_RESPONSES_TOOLS = _response([_text_item("I look."), *_FUNCTIONS], usage=_response_usage(50, 40))
_RESPONSES_LENGTH = _response(
    [_text_item("One, two", "incomplete")],
    "incomplete",
    _response_usage(3, 2),
    incomplete_details={"reason": "max_output_tokens"},
)


def _summary_events() -> list[JSON]:
    added: JSON = {"type": "response.output_item.added", "output_index": 0, "item": {**_REASONING, "summary": []}}
    events = [added]
    for number, text in enumerate(("Six times", "seven.")):
        where = {"item_id": "rs_1", "output_index": 0, "summary_index": number}
        part = {"type": "summary_text", "text": ""}
        events += [
            {"type": "response.reasoning_summary_part.added", **where, "part": part},
            {"type": "response.reasoning_summary_text.delta", **where, "delta": text},
            {"type": "response.reasoning_summary_text.done", **where, "text": text},
            {"type": "response.reasoning_summary_part.done", **where, "part": {**part, "text": text}},
        ]
    return [*events, {"type": "response.output_item.done", "output_index": 0, "item": _REASONING}]


def _function_events(place: int, item: JSON, *deltas: str) -> list[JSON]:
    where = {"item_id": item["id"], "output_index": place}
    empty = {**item, "arguments": "", "status": "in_progress"}
    done = {"type": "response.function_call_arguments.done", **where, "arguments": item["arguments"]}
    return [
        {"type": "response.output_item.added", "output_index": place, "item": empty},
        *({"type": "response.function_call_arguments.delta", **where, "delta": delta} for delta in deltas),
        {**done, "name": item["name"]},
        {"type": "response.output_item.done", "output_index": place, "item": item},
    ]


RESPONSES = {
    "text": Recorded(_around(_text_events(0, "Grüß", " dich 😀"), _RESPONSES_TEXT), _RESPONSES_TEXT),
    "thinking": Recorded(
        _around([*_summary_events(), *_text_events(1, "42")], _RESPONSES_THINKING), _RESPONSES_THINKING
    ),
    "tools": Recorded(
        _around(
            [
                *_text_events(0, "I look."),
                *_function_events(1, _FUNCTIONS[0], '{"city": "Pa', 'ris"}'),
                *_function_events(2, _FUNCTIONS[1]),
            ],
            _RESPONSES_TOOLS,
        ),
        _RESPONSES_TOOLS,
    ),
    "length": Recorded(
        _around(_text_events(0, "One, two"), _RESPONSES_LENGTH, "response.incomplete"), _RESPONSES_LENGTH
    ),
}

# --- Gemini -----------------------------------------------------------------------------------------------------------


def _gemini(parts: list[JSON], finish: str | None = None, usage: JSON | None = None) -> JSON:
    candidate: JSON = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    answer = {"candidates": [candidate], "modelVersion": "gemini-test-1", "responseId": "g1"}
    return {**answer, "usageMetadata": usage} if usage else answer


def _gemini_usage(given: int, made: int | None = None, **more: int) -> JSON:
    made_part = {} if made is None else {"candidatesTokenCount": made}
    total = given + (made or 0) + more.get("thoughtsTokenCount", 0)
    return {"promptTokenCount": given, **made_part, "totalTokenCount": total, **more}


_GEMINI_CALLS: list[JSON] = [
    {"functionCall": {"name": "weather", "args": {"city": "Paris"}, "id": "fc1"}, "thoughtSignature": "c2ln"},
    {"functionCall": {"name": "clock", "args": {}}},
]

GEMINI = {
    "text": Recorded(
        sse(
            [
                ("", _gemini([{"text": "Grüß"}], usage=_gemini_usage(100, cachedContentTokenCount=85))),
                ("", _gemini([{"text": " dich 😀"}], "STOP", _gemini_usage(100, 7, cachedContentTokenCount=85))),
            ]
        ),
        _gemini([{"text": "Grüß dich 😀"}], "STOP", _gemini_usage(100, 7, cachedContentTokenCount=85)),
    ),
    "thinking": Recorded(
        sse(
            [
                ("", _gemini([{"text": "Six times", "thought": True}])),
                ("", _gemini([{"text": " seven.", "thought": True}])),
                ("", _gemini([{"text": "42"}], "STOP", _gemini_usage(20, 5, thoughtsTokenCount=25))),
            ]
        ),
        _gemini(
            [{"text": "Six times seven.", "thought": True}, {"text": "42"}],
            "STOP",
            _gemini_usage(20, 5, thoughtsTokenCount=25),
        ),
    ),
    "tools": Recorded(
        sse(
            [
                ("", _gemini([{"text": "I look."}])),
                ("", _gemini([_GEMINI_CALLS[0]])),
                ("", _gemini([_GEMINI_CALLS[1]], "STOP", _gemini_usage(50, 40))),
            ]
        ),
        _gemini([{"text": "I look."}, *_GEMINI_CALLS], "STOP", _gemini_usage(50, 40)),
    ),
    "length": Recorded(
        sse([("", _gemini([{"text": "One, two"}], "MAX_TOKENS", _gemini_usage(3, 2)))]),
        _gemini([{"text": "One, two"}], "MAX_TOKENS", _gemini_usage(3, 2)),
    ),
}

# --- Ollama -----------------------------------------------------------------------------------------------------------


def _line(message: JSON, **more: Any) -> JSON:
    head = {"model": "llama-test", "created_at": "2026-01-01T00:00:00.1Z"}
    return {**head, "message": {"role": "assistant", "content": "", **message}, "done": False, **more}


def _ollama_end(message: JSON, given: int, made: int, reason: str = "stop") -> JSON:
    times = {"total_duration": 5_191_566_416, "load_duration": 2_154_458, "eval_duration": 383_809_000}
    counts = {"prompt_eval_count": given, "eval_count": made}
    return _line(message, done=True, done_reason=reason, **times, **counts)


def _lines(*lines: JSON) -> str:
    return "".join(f"{json.dumps(line)}\n" for line in lines)


_OLLAMA_CALLS: list[JSON] = [
    {"function": {"name": "weather", "arguments": {"city": "Paris"}}},
    {"function": {"name": "clock", "arguments": {}}},
]

OLLAMA = {
    "text": Recorded(
        _lines(_line({"content": "Grüß"}), _line({"content": " dich 😀"}), _ollama_end({}, 100, 7)),
        _ollama_end({"content": "Grüß dich 😀"}, 100, 7),
    ),
    "thinking": Recorded(
        _lines(
            _line({"thinking": "Six times"}),
            _line({"thinking": " seven."}),
            _line({"content": "42"}),
            _ollama_end({}, 20, 30),
        ),
        _ollama_end({"content": "42", "thinking": "Six times seven."}, 20, 30),
    ),
    "tools": Recorded(
        _lines(_line({"content": "I look."}), _line({"tool_calls": _OLLAMA_CALLS}), _ollama_end({}, 50, 40)),
        _ollama_end({"content": "I look.", "tool_calls": _OLLAMA_CALLS}, 50, 40),
    ),
    "length": Recorded(
        _lines(_line({"content": "One, two"}), _ollama_end({}, 3, 2, "length")),
        _ollama_end({"content": "One, two"}, 3, 2, "length"),
    ),
}

ANSWERS = {"anthropic": ANTHROPIC, "openai-responses": RESPONSES, "gemini": GEMINI, "ollama": OLLAMA}


# --- what they mean ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Meaning:
    """The same of every protocol, but for what a protocol does not tell."""

    text: str
    finish: str
    prompt: int
    completion: int
    reasoning: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    cached: int = 0
    thought_tokens: int = 0


MEANINGS = {
    "text": Meaning("Grüß dich 😀", "stop", 100, 7, cached=85),
    "thinking": Meaning("42", "stop", 20, 30, reasoning="Six times seven.", thought_tokens=25),
    "tools": Meaning("I look.", "tool_calls", 50, 40, calls=(("weather", {"city": "Paris"}), ("clock", {}))),
    "length": Meaning("One, two", "length", 3, 2),
}
SCENARIOS = tuple(MEANINGS)
