"""A worker that is only cut off, not dead, wakes up while another one does its work: nobody sees what it still says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.crash.chaos.viewers import StreamViewer
from tests.crash.slow_model import TEXT, WORDS, SlowModel

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]
PLUGINS = Path(__file__).parents[1] / "plugins"
BEFORE, AFTER = 8, 6
"""Words the first asker gets before it is stopped; words that wait for it when it wakes."""
ONE_ACTIVITY = {"INNKEEPER_MAX_ACTIVITIES": "1"}
"""A worker asks the server for no activity while it has one. So what a stopped worker has asked for cannot swallow the
next attempt, which would then be missed for another 5 s."""


class HeldModel(SlowModel):
    """Its first answer comes only as far as it is allowed.

    Attributes:
        sent: Words of the first answer that are on their way to whoever asked.
        left: Set when whoever asked first has hung up.
    """

    def __init__(self) -> None:
        super().__init__(delay_s=0.05)
        self.allowed = asyncio.Semaphore(0)
        self.sent = 0
        self.left = asyncio.Event()
        self._first: asyncio.StreamWriter | None = None

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._first is not None:
            await super().handle(reader, writer)
            return
        self._first = writer
        answering = asyncio.create_task(super().handle(reader, writer))
        # Who hangs up on words that it has not read resets the connection: that is an exception, and no end.
        while not reader.at_eof() and reader.exception() is None:
            await asyncio.sleep(0.02)
        self.left.set()
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)

    async def _send(self, writer: asyncio.StreamWriter, delta: dict[str, str], finish: str | None) -> None:
        is_first = writer is self._first
        if is_first:
            await self.allowed.acquire()
        await super()._send(writer, delta, finish)
        self.sent += is_first

    def allow(self, words: int) -> None:
        for _ in range(words):
            self.allowed.release()


@contextlib.asynccontextmanager
async def held_model() -> AsyncIterator[HeldModel]:
    model = HeldModel()
    server = await asyncio.start_server(model.handle, "127.0.0.1", 0)
    model.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield model
    finally:
        server.close()


def document(model: HeldModel, trace: Path) -> dict[str, Any]:
    say = {"id": "say", "fullType": "crash-nodes:AskTwice", "inputs": {"file": str(trace), "base_url": model.url}}
    relay = {"id": "relay", "fullType": "core:StreamSuffixRelay", "inputs": {"suffix": "."}}
    edge = {"sourceNodeId": "say", "sourceHandle": "stream", "targetNodeId": "relay", "targetHandle": "inputStream"}
    return {
        "nodes": [say, relay],
        "edges": [{"id": "e", **edge}],
        "interfaceOutputs": {"live": {"key": "live", "dataFlowType": "STRING", "isStream": True}},
        "outputInterfaceMappings": {"live": {"sourceNodeId": "relay", "sourceSlotKey": "outputStream"}},
    }


async def test_zombie_is_seen_by_nobody_and_asks_the_model_no_more(tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    options = StackOptions(tmp_path / "data", workers=2, plugins=(PLUGINS,), env=ONE_ACTIVITY)
    async with held_model() as model, LocalStack(options) as stack, GatewayClient(stack.url) as client:
        run = await client.submit(document(model, trace))
        viewer = StreamViewer()
        watching = asyncio.create_task(_watch(client, run, viewer))
        model.allow(BEFORE)
        await _until(watching, lambda: len(viewer.chunks.get("say", ())) == BEFORE)
        zombie = _begun(trace)[0]
        assert zombie in stack.pids().values()
        with contextlib.ExitStack() as asleep:
            _stop(zombie, asleep)
            model.allow(AFTER)  # they lie in its socket when it wakes, and it has no reason to stop
            await _until(watching, lambda: model.sent == BEFORE + AFTER)
            await _until(watching, lambda: viewer.executing["say"] == 2 and "say" in viewer.chunks)
            # Temporal tells an attempt that it is over when it sends a heartbeat, which may be before its first word.
            # Here only the log can tell it.
            _stop(stack.pids()["temporal"], asleep)
            os.killpg(zombie, signal.SIGCONT)
            async with asyncio.timeout(30):
                await model.left.wait()
            asked = model.requests
        model.allow(len(WORDS))
        await _until(watching, lambda: viewer.is_done)
        await watching
        assert zombie not in _begun(trace)[1:]
        assert (asked, model.requests) in ((2, 3), (3, 3)), "one answer for the zombie, two for its successor"
        assert await _fenced(stack.url) >= 1, "the zombie said nothing, so that nothing was tried"
        late = StreamViewer()
        await _watch(client, run, late)
        _check(viewer, late)
        assert (await client.status(run))["status"] == "complete"


def _stop(group: int, asleep: contextlib.ExitStack) -> None:
    """Stop a process of the stack, with its children, until `asleep` ends at the latest."""
    os.killpg(group, signal.SIGSTOP)
    asleep.callback(os.killpg, group, signal.SIGCONT)


def _check(viewer: StreamViewer, late: StreamViewer) -> None:
    """Both saw the second attempt's text and nothing else; the first viewer kept to the order while it watched."""
    relayed = "".join(f"{word}." for word in [WORDS[0], *(f" {word}" for word in WORDS[1:])])
    assert viewer.text("say") == late.text("say") == TEXT * 2
    assert viewer.text("relay") == late.text("relay") == relayed * 2
    assert viewer.outputs == late.outputs == {"live": relayed * 2}
    assert viewer.types == late.types
    assert viewer.types.count("NODE_STREAM_RESET") >= 1
    assert {node: viewer.terminal[node] for node in ("say", "relay")} == {"say": 1, "relay": 1}


async def _watch(client: GatewayClient, run: str, viewer: StreamViewer) -> None:
    async with asyncio.timeout(60):
        async for event in client.events(run):
            viewer.apply(event)


async def _until(watching: asyncio.Task[None], holds: Any) -> None:
    async with asyncio.timeout(30):
        while not holds():
            if watching.done():
                watching.result()
                assert holds(), "the run ended before"
            await asyncio.sleep(0.01)


def _begun(trace: Path) -> list[int]:
    """Process ids of the attempts so far, in order."""
    return [int(line.split()[3]) for line in trace.read_text().splitlines()]


async def _fenced(url: str) -> int:
    """How many messages of superseded attempts the gateway dropped."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        text = (await http.get("/metrics")).text
    found = re.search(r"^innkeeper_log_fenced_total (\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0
