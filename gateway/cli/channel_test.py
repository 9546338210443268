"""`innkeeper channels test`: the smallest question to one channel, by a run, so by the workers' own path: their guard,
keys, proxy and protocols."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from innkeeper.gateway.cli.run_command import UsageError
from innkeeper.gateway.client import GatewayClient
from innkeeper.nodes.services.channels import PINNED

ANSWER = "answer"
NOT_TRIED = "not tried"
YES, NO = "yes", "no"
QUESTION = "Say hello in three words."
_TOOL = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Writes a word down.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
_SCHEMA = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}


@dataclass
class Heard:
    """What one question has shown.

    Attributes:
        first_ms, whole_ms: From the start of the node to the first piece of its answer, and to its end.
        pieces: Of text.
    """

    run: str = ""
    first_ms: int | None = None
    whole_ms: int | None = None
    pieces: int = 0
    has_reasoning: bool = False
    outputs: Mapping[str, Any] = field(default_factory=dict)
    end: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] | None = None

    def add(self, event: Mapping[str, Any], elapsed_ms: int) -> None:
        """One event of the run, which came so long after its node had begun."""
        payload = event["payload"]
        if event["type"] == "NODE_YIELD" and isinstance(chunk := payload.get("yieldedContent"), Mapping):
            self._add_chunk(chunk, elapsed_ms)
        elif event["type"] == "NODE_COMPLETE" and payload["nodeId"] == ANSWER:
            self.whole_ms, self.outputs = elapsed_ms, payload.get("output") or {}
        elif event["type"] == "NODE_ERROR":
            self.error = payload.get("errorDetails")
        elif event["type"] == "NODE_RETRY":
            self.error = {"code": payload.get("code"), "message": payload.get("message")}

    def _add_chunk(self, chunk: Mapping[str, Any], elapsed_ms: int) -> None:
        kind = chunk.get("type")
        if kind == "finish_reason_chunk" and isinstance(content := chunk.get("content"), Mapping):
            self.end = content
            return
        self.pieces += kind == "text_chunk"
        self.has_reasoning |= kind == "reasoning_chunk"
        if self.first_ms is None and kind in ("text_chunk", "reasoning_chunk", "tool_call_chunk"):
            self.first_ms = elapsed_ms

    @property
    def is_answered(self) -> bool:
        return self.whole_ms is not None


async def check_channel(
    client: GatewayClient, name: str, *, model: str, tries_all: bool, limit_s: float
) -> dict[str, Any]:
    """Ask the channel, and say what came of it, as JSON.

    Raises:
        UsageError: There is no such channel, it is disabled, or the model has to be named.
    """
    model = model or await _usual_model(client, name)
    heard = await _ask(client, _document(name, model, {}), limit_s)
    tools = json = None
    if tries_all and heard.is_answered:
        given = {"parameters": {"tools": [_TOOL], "tool_choice": "required"}}
        tools = await _ask(client, _document(name, model, given, "Note the word inn."), limit_s)
        json = await _ask(
            client, _document(name, model, {"responseSchema": _SCHEMA}, "Give the word inn as JSON."), limit_s
        )
    return {
        "channel": name,
        "model": model,
        "ok": heard.is_answered,
        "answeredBy": heard.end.get("model") or None,
        "firstMs": heard.first_ms,
        "wholeMs": heard.whole_ms,
        "finishReason": heard.end.get("finish_reason"),
        "usage": heard.end.get("usage"),
        "cost": _cost(heard.usage),
        "capabilities": _capabilities(heard, tools, json),
        "error": None if heard.is_answered else heard.error,
        "runs": [found.run for found in (heard, tools, json) if found],
    }


def _capabilities(heard: Heard, tools: Heard | None, json: Heard | None) -> dict[str, str]:
    if not heard.is_answered:
        return dict.fromkeys(("stream", "usage", "reasoning", "toolCalls", "jsonSchema"), NOT_TRIED)
    return {
        "stream": YES if heard.pieces > 1 else "in one piece",
        "usage": YES if heard.end.get("usage") else NO,
        # Many think only when they have to, or tell nothing of it.
        "reasoning": YES if heard.has_reasoning else "not seen",
        "toolCalls": NOT_TRIED if tools is None else _seen(tools, bool(tools.end.get("tool_calls"))),
        "jsonSchema": NOT_TRIED if json is None else _seen(json, isinstance(json.outputs.get("data"), Mapping)),
    }


def _seen(heard: Heard, is_there: bool) -> str:
    if heard.is_answered:
        return YES if is_there else NO
    return f"{NO} ({(heard.error or {}).get('code') or 'no answer'})"


def _cost(usage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the run cost; None when no price is known."""
    if not usage or usage.get("cost") is None:
        return None
    return {"amount": usage["cost"], "currency": usage.get("currency")}


async def _usual_model(client: GatewayClient, name: str) -> str:
    channels = {channel["id"]: channel for channel in await client.channels.find()}
    if name not in channels:
        raise UsageError(f"there is no channel {name!r}: channels are {', '.join(channels) or 'none'}")
    if channels[name]["disabled"]:
        raise UsageError(f"the channel {name!r} is disabled: take 'disabled' away to try it")
    known = [*channels[name]["defaultFor"], *channels[name]["supportedModels"], *await client.channels.models(name)]
    if not known:
        raise UsageError(f"the channel {name!r} names no model: say which with --model")
    return str(known[0])


def _document(name: str, model: str, more: Mapping[str, Any], question: str = QUESTION) -> dict[str, Any]:
    inputs = {
        "activated_model_id": f"{PINNED}{name}/{model}",
        "messages": [{"role": "user", "content": question}],
        "stream": True,
        # What nobody asks for no model refuses.
        **dict.fromkeys(("temperature", "max_tokens", "top_p")),
        **more,
    }
    node = {"id": ANSWER, "type": "core:GenericLlmRequest", "inputValues": inputs, "retry": {"maximumAttempts": 1}}
    return {"name": f"test of channel {name}", "nodes": [node], "edges": []}


async def _ask(client: GatewayClient, document: Mapping[str, Any], limit_s: float) -> Heard:
    heard = Heard(await client.submit(document))
    events = client.events(heard.run)
    began = time.monotonic()
    try:
        async with asyncio.timeout(limit_s):
            async for event in events:
                if event["type"] == "NODE_EXECUTING":
                    began = time.monotonic()
                heard.add(event, int((time.monotonic() - began) * 1000))
    except TimeoutError:
        await client.cancel(heard.run)
        last = (heard.error or {}).get("message")
        message = f"no answer within {limit_s:.0f} s" + (f"; last: {last}" if last else "")
        heard.error = {"code": "timeout_error", "message": message}
    except asyncio.CancelledError:
        await client.cancel(heard.run)
        raise
    finally:
        await events.aclose()
    heard.usage = (await client.status(heard.run)).get("usage")
    return heard
