"""Nodes that give away the key that they were shown, in every way in which a node can say anything."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.errors import NodeError, NodeInputError, NodeMustWait
from innkeeper.nodes.node import Chunk, HttpRequest, Inputs, NodeContext, Outputs

log = logging.getLogger("canary.plugin")


async def revealed(inputs: Inputs, context: NodeContext) -> str:
    """The key: of the slot, of the setting, or of the environment."""
    ref = inputs.get("key") or context.config_values.get("token")
    ref = ref or context.services.secrets.from_environment("OPENAI_API_KEY")
    if ref is None:
        raise NodeInputError("no key came")
    return await context.services.secrets.reveal(ref, host=inputs["host"])


def fail(key: str, how: str, attempt: int) -> None:
    """The ways that raise."""
    match how:
        case "error":
            raise NodeError(f"no luck with {key}", retryable=False)
        case "foreign_error":
            raise RuntimeError(f"GET https://x.example/?key={quote(key, safe='')} with {key!r}")
        case "chain":
            try:
                raise ValueError(key)
            except ValueError as error:
                raise NodeError(f"see the cause {error!r}", retryable=False) from error
        case "details":
            raise NodeError("no luck", details={"token": [key], key: 1, "json": json.dumps([key])}, retryable=False)
        case "code":
            raise NodeError("no luck", code=f"bad {key}", retryable=False)
        case "long_error":
            raise NodeError("x" * (10_000 - len(key) // 2) + key, retryable=False)
        case "wait" if attempt == 1:
            raise NodeMustWait(f"limit of {key}", delay_s=0.02)
        case "retry" if attempt == 1:
            raise NodeError(f"once more with {key}", details={"key": key})


def say(key: str, how: str, context: NodeContext) -> None:
    """The ways into a log, or beside the outputs."""
    match how:
        case "log":
            context.logger.info("asked with %s", key)
        case "log_extra":
            context.logger.info("asked", extra={"headers": {"X-Canary": [key]}, "url": quote(key)})
        case "own_log":
            log.warning("asked with %s", key, extra={"sent": {"X-Canary": key}})
        case "traceback":
            try:
                raise ValueError(key)
            except ValueError:
                log.exception("failed with %r", key)
        case "stdout":
            print("printed", key)
        case "stderr":
            print("printed", json.dumps({"key": key}), file=sys.stderr)
        case "warning":
            context.warn("odd", f"the key {key} is odd")
        case "long_warning":
            context.warn("odd", "x" * (500 - len(key) // 2) + key)
        case "progress":
            context.progress(key, key)  # type: ignore[arg-type]


async def given(key: str, how: str, inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """The ways into the outputs."""
    match how:
        case "text" | "cached":
            return {"told": f"<{key}>"}
        case "object":
            return {"told": {"list": [key], key: {key: 1}}}
        case "json_text":
            return {"told": json.dumps({"inner": json.dumps({"key": key})})}
        case "in_url":
            return {"told": f"https://x.example/?key={quote(key, safe='')}&again={quote(key)}"}
        case "large":
            return {"told": key + "x" * 9_000 + key}
        case "bytes":
            return {"told": b"\0" + key.encode() + b"\0"}
        case "slot_name":
            return {"told": 1, key: 2}
        case "echo":
            answer = await context.services.http.request(
                HttpRequest("GET", f"{inputs['url']}/web", headers={"Authorization": f"Bearer {key}", "X-Token": key})
            )
            return {"told": [answer.body.decode(), dict(answer.headers)]}
    return {"told": None}


async def leak(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    key, how = await revealed(inputs, context), inputs["how"]
    fail(key, how, context.attempt)
    say(key, how, context)
    return {"length": len(key), **await given(key, how, inputs, context)}


async def flow(inputs: Inputs, context: NodeContext) -> AsyncIterator[Any]:
    key, how = await revealed(inputs, context), inputs["how"]
    yield Chunk("text_chunk", "begin ")
    match how:
        case "two_chunks":
            yield Chunk("text_chunk", key[:9])
            yield Chunk("text_chunk", key[9:])
        case "single_letters":
            for letter in f"{key} {json.dumps(key)}":
                yield Chunk("text_chunk", letter)
        case "custom_chunk":
            yield Chunk("custom", {"deep": [key]}, {"more": key})
        case "tool_call":
            yield Chunk("tool_call_chunk", [{"function": {"arguments": json.dumps({"key": key})}}])
        case "finish_chunk":
            yield Chunk("text_chunk", key)
            yield Chunk("finish_reason_chunk", {"finish_reason": "stop", "accumulated_text": key})
        case "error_chunk":
            yield Chunk("error_chunk", {"message": f"bad key {key}", "code": f"code {key}"}, {"raw": {"key": key}})
    yield Outputs({"length": len(key), "told": key})


INPUTS = {
    "key": Input("STRING", secret=True),
    "host": Input("STRING"),
    "url": Input("STRING"),
    "how": Input("STRING"),
}
SETTINGS = {"token": Input("STRING", secret=True)}
OUTPUTS = {"length": Output("INTEGER"), "told": Output("WILDCARD")}

definitions = [
    NodeDefinition(
        type="Leak", category="Canary", display_name="Leak", description="Gives its key away.", execute=leak,
        inputs=INPUTS, outputs=OUTPUTS, config_schema=SETTINGS, dynamic_slots=True,
    ),
    NodeDefinition(
        type="Flow", category="Canary", display_name="Flow", description="Streams its key.", execute=flow,
        inputs=INPUTS, outputs={**OUTPUTS, "live": Output("STRING", is_stream=True)}, config_schema=SETTINGS,
    ),
]  # fmt: skip
