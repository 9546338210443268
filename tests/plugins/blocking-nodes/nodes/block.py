"""Nodes that block, each where it was told to run. What they do is chosen by the input `kind`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from innkeeper import Chunk, Input, NodeContext, NodeDefinition, NodeError, NodeMustWait, Output, Outputs
from innkeeper.nodes.definition import Retry

INPUTS = {
    "kind": Input("STRING", config={"default": ""}),
    "seconds": Input("FLOAT", config={"default": 1.0}),
    "key": Input("STRING", secret=True),
    "file": Input("STRING", config={"default": ""}),
}


def spin() -> None:
    while True:
        pass


def act(inputs: dict[str, Any], context: NodeContext) -> Any:
    """What needs no loop. Gives the value of the output."""
    kind = inputs["kind"]
    if inputs.get("file"):
        with Path(inputs["file"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
    if kind == "spin_once" and context.attempt == 1:
        spin()
    actions: dict[str, Any] = {
        "spin": spin,
        "sleep": lambda: time.sleep(inputs["seconds"]),
        "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "exit": lambda: sys.exit(3),
        "grow": lambda: bytearray(4_000_000_000),
        "deaf": lambda: deaf(inputs["seconds"]),
    }
    if kind in actions:
        actions[kind]()
    if kind == "fault":
        return {}["missing"]
    if kind == "refuse":
        raise NodeError("no", code="my_code", retryable=False, details={"x": 1})
    if kind == "wait":
        raise NodeMustWait("later", delay_s=0.5)
    if kind == "talk":
        print("printed line")
        context.logger.info("logged line")
        context.warn("odd", "something")
        context.progress(1, 2)
    if kind == "environment":
        return dict(os.environ)
    if kind == "bytes":
        return [context.config_values, context.attempt, context.node_id]
    return threading.current_thread().name


def deaf(seconds: float) -> None:
    """Does not hear that it is to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(seconds)


async def waiting(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    if inputs["kind"] == "wait_long":
        await asyncio.sleep(inputs["seconds"])
    if inputs["kind"] == "child_task":
        await asyncio.create_task(asyncio.sleep(0, spin()))
    if inputs["kind"] == "reveal":
        return {"out": await context.services.secrets.reveal(inputs["key"])}
    if inputs["kind"] == "blob":
        return {"out": await context.services.blobs.get(await context.services.blobs.put(b"stored"))}
    if inputs["kind"] == "llm":
        await context.services.llm.chat(None)  # type: ignore[arg-type]
    return {"out": act(inputs, context)}


def outcome_of_late_call(context: NodeContext) -> str:
    try:
        return str(context.services.blobs.put(b"late").result())  # type: ignore[attr-defined]
    except NodeError as error:
        return error.code


def plain(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    if inputs["kind"] == "reveal":
        return {"out": context.services.secrets.reveal(inputs["key"]).result()}  # type: ignore[attr-defined]
    if inputs["kind"] == "late":
        time.sleep(inputs["seconds"])
        Path(inputs["file"]).write_text(outcome_of_late_call(context))
    while inputs["kind"] == "polite" and not context.is_cancelled():
        time.sleep(0.02)
    return {"out": act(inputs, context)}


async def stream(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
    count = 0
    async for chunk in inputs["stream"]:
        count += 1
        yield Chunk("text_chunk", chunk.content.upper())
    act({**inputs, "kind": inputs.get("kind", "")}, context)
    yield Outputs({"out": count})


def plain_stream(inputs: dict[str, Any], context: NodeContext) -> Iterator[Any]:
    count = 0
    for chunk in inputs["stream"]:
        count += 1
        yield Chunk("text_chunk", chunk.content.upper())
    yield Outputs({"out": count})


WAITING = NodeDefinition(
    type="Shared",
    category="test",
    display_name="Blocks",
    description="A node that blocks.",
    inputs=INPUTS,
    outputs={"out": Output("WILDCARD")},
    execute=waiting,
    retry=Retry(initial_seconds=0.1, maximum_attempts=2),
)
STREAM = replace(
    WAITING,
    type="SharedStream",
    inputs={"stream": Input("STRING", is_stream=True), "kind": INPUTS["kind"]},
    outputs={"out": Output("INTEGER"), "live": Output("STRING", is_stream=True)},
    execute=stream,
)

definitions = [
    WAITING,
    replace(WAITING, type="Inline", placement="inline"),
    replace(WAITING, type="Thread", placement="thread"),
    replace(WAITING, type="Plain", execute=plain),
    replace(WAITING, type="Process", placement="process", memory_mb=1024),
    replace(WAITING, type="PlainProcess", placement="process", execute=plain, memory_mb=1024),
    STREAM,
    replace(STREAM, type="PlainStream", execute=plain_stream),
    replace(STREAM, type="ProcessStream", placement="process"),
    replace(STREAM, type="PlainProcessStream", placement="process", execute=plain_stream),
]
