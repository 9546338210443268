"""Nodes that write a line to a file each time they are executed: `run path attempt process milliseconds`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from innkeeper import Chunk, Input, NodeContext, NodeDefinition, NodeError, Output, Outputs
from innkeeper.nodes.definition import Retry


def _trace(file: str, context: NodeContext) -> None:
    """One write call, so that lines of different processes do not mix."""
    now_ms = int(time.time() * 1000)
    line = f"{context.prompt_id} {context.node_id} {context.attempt} {os.getpid()} {now_ms}\n"
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, line.encode())
    os.close(handle)


async def _step(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    _trace(inputs["file"], context)
    if inputs["warn"]:
        context.warn("odd", "it was asked to warn")
    await asyncio.sleep(inputs["seconds"])
    if inputs["fail"]:
        raise NodeError("it was asked to fail", code="asked", retryable=False)
    return {"text": f"{inputs['text']}[{context.node_id}]"}


async def _words(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Chunk | Outputs]:
    _trace(inputs["file"], context)
    words = [f"{inputs['prefix']}{number} " for number in range(inputs["count"])]
    for word in words:
        await asyncio.sleep(inputs["pause"])
        yield Chunk("text_chunk", word)
    yield Outputs(text="".join(words))


async def _round(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    _trace(inputs["file"], context)
    await asyncio.sleep(0.1)
    number = inputs["n"] + 1
    return {"n": number, "most": inputs["most"], "more": number < inputs["most"], "text": f"{inputs['text']}{number},"}


RETRY = Retry(maximum_attempts=100, initial_seconds=0.1, maximum_seconds=1.0)
FILE = {"file": Input("STRING", required=True)}
STEP = NodeDefinition(
    type="Step",
    category="test",
    display_name="Step",
    description="Waits, and adds its path to a text. It can warn or fail.",
    inputs={
        **FILE,
        "text": Input("STRING", config={"default": ""}),
        "seconds": Input("FLOAT", config={"default": 0.2}),
        "warn": Input("BOOLEAN", config={"default": False}),
        "fail": Input("BOOLEAN", config={"default": False}),
    },
    outputs={"text": Output("STRING")},
    execute=_step,
    retry=RETRY,
)

definitions = [
    STEP,
    replace(STEP, type="SureStep", deterministic=True),
    NodeDefinition(
        type="Words",
        category="test",
        display_name="Words",
        description="Streams numbered words at a pace, in seconds between two.",
        inputs={
            **FILE,
            "count": Input("INTEGER", config={"default": 10}),
            "pause": Input("FLOAT", config={"default": 0.05}),
            "prefix": Input("STRING", config={"default": "w"}),
        },
        outputs={"stream": Output("STRING", is_stream=True), "text": Output("STRING")},
        execute=_words,
        retry=RETRY,
    ),
    NodeDefinition(
        type="Round",
        category="test",
        display_name="Round",
        description="Counts up to a number; `more` says whether it is reached.",
        inputs={
            **FILE,
            "n": Input("INTEGER", config={"default": 0}),
            "most": Input("INTEGER", config={"default": 1}),
            "text": Input("STRING", config={"default": ""}),
        },
        outputs={
            "n": Output("INTEGER"),
            "most": Output("INTEGER"),
            "more": Output("BOOLEAN"),
            "text": Output("STRING"),
        },
        execute=_round,
        retry=RETRY,
    ),
]
