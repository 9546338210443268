"""Random faults under streaming runs, and the viewers that must not notice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.crash.chaos_proxy import Proxy
from tests.crash.slow_model import TEXT, WORDS, SlowModel
from tests.crash.viewer import Viewer

RETRY = {"maximumAttempts": 100, "initialSeconds": 0.1, "maximumSeconds": 1.0}
"""Enough that no node is given up, however often its worker dies."""
SUFFIXES = {"first": ".", "second": "!", "beside": "?"}
NODES = ("say", *SUFFIXES, "all")
Document = dict[str, Any]


class StreamViewer(Viewer):
    """Sees the stream outputs of the run too."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[str, str] = {}
        self.ended_outputs: list[str] = []

    def apply(self, event: dict[str, Any]) -> None:
        super().apply(event)
        kind, payload = event["type"], event["payload"]
        if kind == "WORKFLOW_INTERFACE_RESET":
            self.outputs.pop(payload["interfaceOutputKey"], None)
        elif kind == "WORKFLOW_INTERFACE_YIELD":
            key, chunk = payload["interfaceOutputKey"], payload["yieldedContent"]
            assert key not in self.ended_outputs, f"stream output {key!r} goes on after its last chunk"
            if chunk.get("type") == "text_chunk":
                self.outputs[key] = self.outputs.get(key, "") + chunk["content"]
            if payload["isLastChunk"]:
                self.ended_outputs.append(key)

    @property
    def is_done(self) -> bool:
        return self.status in ("complete", "error", "interrupted")


@dataclass(frozen=True)
class Story:
    """One run: its document, and the text that each node's stream must have."""

    document: Document
    texts: dict[str, str]


def story(chance: random.Random, model: SlowModel, number: int, seconds: float) -> Story:
    """say -> first -> second -> all (and the stream output `live`), say -> beside: of words, or of a model."""
    count = chance.randint(40, 120)
    pause = chance.uniform(0.5, 1.0) * seconds / count
    if number % 3 == 2:
        settings = {"base_url": model.url, "api_key": ""}
        say = _node("say", "core:OpenAI", {"api_settings": settings, "prompt": "Tell", "stream": True})
        words, slot = [WORDS[0], *(f" {word}" for word in WORDS[1:])], "stream_output"
    else:
        values = {"count": count, "pause": pause, "prefix": f"r{number}w"}
        say = _node("say", "crash-nodes:Words", values)
        words, slot = [f"r{number}w{index} " for index in range(count)], "stream"
    relays = [_node(name, "core:StreamSuffixRelay", {"suffix": suffix}) for name, suffix in SUFFIXES.items()]
    document = {
        "nodes": [say, *relays, _node("all", "core:StreamAggregator", {})],
        "edges": [
            _edge(f"say.{slot}", "first.inputStream"),
            _edge(f"say.{slot}", "beside.inputStream"),
            _edge("first.outputStream", "second.inputStream"),
            _edge("second.outputStream", "all.input_stream"),
        ],
        "interfaceOutputs": {
            "live": {"key": "live", "displayName": "Live", "dataFlowType": "STRING", "isStream": True},
            "text": {"key": "text", "displayName": "Text", "dataFlowType": "STRING"},
        },
        "outputInterfaceMappings": {
            "live": {"sourceNodeId": "second", "sourceSlotKey": "outputStream"},
            "text": {"sourceNodeId": "all", "sourceSlotKey": "aggregated_text"},
        },
    }
    texts = {
        "say": "".join(words),
        "first": "".join(f"{word}." for word in words),
        "second": "".join(f"{word}.!" for word in words),
        "beside": "".join(f"{word}?" for word in words),
    }
    assert slot == "stream" or texts["say"] == TEXT
    return Story(document, texts)


def _node(id: str, type: str, inputs: Document) -> Document:
    return {"id": id, "fullType": type, "inputs": inputs, "retry": RETRY}


def _edge(source: str, target: str) -> Document:
    (node, slot), (to, into) = source.split("."), target.split(".")
    ends = {"sourceNodeId": node, "sourceHandle": slot, "targetNodeId": to, "targetHandle": into}
    return {"id": f"{source}>{target}", **ends}


async def watch(client: GatewayClient, run: str, viewer: StreamViewer, chance: random.Random) -> None:
    """Watch a run to its end, leaving and coming back at random moments."""
    while not viewer.is_done:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0.3, 4.0)):
                async with aclosing(client.events(run, after=viewer.seq)) as events:
                    async for event in events:
                        viewer.apply(event)
        await asyncio.sleep(chance.uniform(0.0, 0.4))


@dataclass
class Faults:
    """Does damage to a stack for a while. `done` tells what and when, for the message of a failure."""

    stack: LocalStack
    proxy: Proxy
    chance: random.Random
    freeze_s: tuple[float, float] = (6.0, 12.0)
    every_s: tuple[float, float] = (0.7, 2.0)
    done: list[str] = field(default_factory=list)
    _begun: float = field(default_factory=time.monotonic)
    _frozen: dict[str, int] = field(default_factory=dict)

    async def rage(self, seconds: float) -> None:
        """One fault after the other; at the end nothing is frozen any more."""
        self._begun = time.monotonic()
        thawing: list[asyncio.Task[None]] = []
        try:
            for fault in self._shuffled((self._kill_worker, self._kill_gateway, self._cut)):
                await asyncio.sleep(self.chance.uniform(*self.every_s))
                if time.monotonic() - self._begun > seconds:
                    break
                if fault is None:
                    thawing.append(asyncio.create_task(self._freeze()))
                else:
                    fault()
            await asyncio.gather(*thawing)
        finally:
            for name in list(self._frozen):
                self._thaw(name)

    def _shuffled(self, faults: Sequence[Callable[[], None]]) -> Iterator[Callable[[], None] | None]:
        """Every kind of fault (None freezes a worker) once per round, so that a short time sees all of them."""
        while True:
            yield from self.chance.sample([*faults, None], len(faults) + 1)

    def _kill_worker(self) -> None:
        self._kill(self.chance.choice(self._workers()))

    def _kill_gateway(self) -> None:
        self._kill("gateway")

    def _kill(self, name: str) -> None:
        pid = self.stack.pids().get(name)
        if pid is not None:
            self._note(f"killed {name}")
            os.kill(pid, signal.SIGKILL)

    def _cut(self) -> None:
        self._note(f"cut {self.proxy.cut(self.chance, 0.5)} connections")

    async def _freeze(self) -> None:
        """Stop a worker for longer than its heartbeat timeout: its nodes begin again elsewhere, then it goes on."""
        name, seconds = self.chance.choice(self._workers()), self.chance.uniform(*self.freeze_s)
        pid = self.stack.pids().get(name)
        if pid is None or name in self._frozen:
            return
        self._note(f"froze {name} for {seconds:.1f} s")
        self._frozen[name] = pid
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._thaw(name)

    def _thaw(self, name: str) -> None:
        pid = self._frozen.pop(name, None)
        if pid is not None and self.stack.pids().get(name) == pid:
            self._note(f"thawed {name}")
            os.kill(pid, signal.SIGCONT)

    def _workers(self) -> list[str]:
        return [f"worker-{number}" for number in range(1, self.stack.options.workers + 1)]

    def _note(self, what: str) -> None:
        self.done.append(f"{time.monotonic() - self._begun:5.1f} s: {what}")
