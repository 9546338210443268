"""Nodes of a plugin in threads and processes: what they give, what they may use, and how they are ended."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from innkeeper.activities.placement.node_host import NodeHost, Place, place_of_node
from innkeeper.activities.placement.node_process import NodeProcesses
from innkeeper.activities.placement.node_threads import NodeThreads
from innkeeper.nodes.catalogue.manager import NodeManager
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.definition import NodeDefinition, Output
from innkeeper.nodes.errors import NodeError, NodeMustWait
from innkeeper.nodes.node import ChatRequest, Chunk, NodeContext, Outputs, SecretRef
from innkeeper.nodes.testing import MemorySecrets, ToyLlm, memory_services
from innkeeper.nodes.traces import RemoteFault

PLUGINS = Path(__file__).parents[2] / "plugins"
CATALOGUE = load_catalogue([PLUGINS / "blocking-nodes"], NodeManager())
BATCH = ["Shared", "Inline", "Thread", "Plain", "Process", "PlainProcess"]
STREAMS = ["SharedStream", "PlainStream", "ProcessStream", "PlainProcessStream"]
LIMIT_S = 1.5


class Hosted:
    """A host, and what it told."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.progress: list[tuple[float, float]] = []
        self.secrets = MemorySecrets()
        self.cancelled = False
        threads = NodeThreads(LIMIT_S, self.lost.append, standstill_s=0.5)
        self.host = NodeHost(threads, NodeProcesses())

    def context(self, **fields: Any) -> NodeContext:
        return NodeContext(
            "r",
            "g/n",
            memory_services(secrets=self.secrets),
            progress=lambda value, maximum: self.progress.append((value, maximum)),
            is_cancelled=lambda: self.cancelled,
            **fields,
        )

    def start(self, type: str, context: NodeContext | None = None, **inputs: Any) -> Any:
        definition = definition_of(type)
        assert definition.execute is not None
        given = {"kind": "", "seconds": 1.0, **inputs}
        return self.host.start(definition, definition.execute, given, context or self.context())


def spinning_threads() -> list[str]:
    """Threads of this process that are in a node that never ends."""
    frames = sys._current_frames()
    alive = [thread for thread in threading.enumerate() if thread.ident in frames]
    return [thread.name for thread in alive if frames[thread.ident or 0].f_code.co_name == "spin"]


def definition_of(type: str) -> NodeDefinition:
    found = CATALOGUE.get_node(f"blocking-nodes:{type}")
    assert found is not None
    return found


@pytest.fixture
async def hosted() -> AsyncIterator[Hosted]:
    hosted = Hosted()
    yield hosted
    await hosted.host.aclose()
    assert spinning_threads() == [], "each would take half of the time of this process, to its end"


@pytest.mark.parametrize(
    ("type", "place"),
    [
        ("Shared", "shared_thread"),
        ("Inline", "shared_thread"),
        ("Thread", "own_thread"),
        ("Plain", "own_thread"),
        ("Process", "process"),
        ("PlainProcess", "process"),
    ],
)
def test_where_a_node_runs_follows_its_placement_and_function(type: str, place: Place) -> None:
    definition = definition_of(type)
    assert definition.execute is not None
    assert place_of_node(definition, definition.execute) == place


def test_our_own_nodes_stay_on_the_workers_loop() -> None:
    for definition in CATALOGUE.get_definitions():
        if definition.namespace == "core" and definition.execute is not None:
            assert place_of_node(definition, definition.execute) == "loop"


# --- what they give -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", BATCH)
async def test_a_secret_can_be_revealed_everywhere(hosted: Hosted, type: str) -> None:
    key = hosted.secrets.hide("canary")
    assert await hosted.start(type, kind="reveal", key=key) == {"out": "canary"}


@pytest.mark.parametrize("type", BATCH)
async def test_errors_arrive_as_they_were_raised(hosted: Hosted, type: str) -> None:
    with pytest.raises(NodeError) as refused:
        await hosted.start(type, kind="refuse")
    assert (refused.value.code, refused.value.message, refused.value.retryable) == ("my_code", "no", False)
    assert refused.value.details["x"] == 1
    with pytest.raises(NodeMustWait) as waits:
        await hosted.start(type, kind="wait")
    assert waits.value.delay_s == 0.5
    with pytest.raises(NodeError, match=r"exit\(3\)|SystemExit"):
        await hosted.start(type, kind="exit")


@pytest.mark.parametrize("type", ["Thread", "Process"])
async def test_a_foreign_exception_keeps_name_and_place(hosted: Hosted, type: str) -> None:
    with pytest.raises((KeyError, RemoteFault)) as caught:
        await hosted.start(type, kind="fault")
    assert [kind.__name__ for kind in caught.type.__mro__][:2] == ["KeyError", "LookupError"]
    if type == "Process":
        assert caught.value.where.startswith("blocking-nodes/nodes/block.py:")  # type: ignore[union-attr]
        assert "in act" in caught.value.where  # type: ignore[union-attr]


@pytest.mark.parametrize("type", ["Plain", "Process"])
async def test_what_a_node_tells_of_itself_arrives(hosted: Hosted, caplog: pytest.LogCaptureFixture, type: str) -> None:
    context = hosted.context()
    with caplog.at_level(logging.INFO, "innkeeper.node"):
        await hosted.start(type, context, kind="talk")
        await asyncio.sleep(0.1)
    assert context.warnings == [{"code": "odd", "message": "something"}]
    assert hosted.progress == [(1, 2)]
    assert "logged line" in caplog.text
    assert type != "Process" or "printed line" in caplog.text


@pytest.mark.parametrize("type", STREAMS)
async def test_streams_go_in_and_out_in_order(hosted: Hosted, type: str) -> None:
    async def source() -> AsyncIterator[Chunk]:
        for number in range(300):
            yield Chunk("text_chunk", f"c{number}")

    items = [item async for item in hosted.start(type, stream=source())]
    assert [item.content for item in items[:-1]] == [f"C{number}" for number in range(300)]
    assert items[-1] == Outputs({"out": 300})


@pytest.mark.parametrize("type", STREAMS)
async def test_who_takes_no_chunks_holds_up_the_node(hosted: Hosted, type: str) -> None:
    read = 0

    async def source() -> AsyncIterator[Chunk]:
        nonlocal read
        while True:
            read += 1
            yield Chunk("text_chunk", "x" * 10_000)

    async with aclosing(hosted.start(type, stream=source())) as items:
        await anext(items)
        await asyncio.sleep(0.3)
        before = read
        await asyncio.sleep(0.3)
        assert read == before < 2_000


# --- threads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["spin", "child_task"])
async def test_a_node_that_keeps_the_thread_is_named_and_aborted_and_the_others_run_again(
    hosted: Hosted, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    context = hosted.context()
    other = asyncio.ensure_future(hosted.start("Shared", kind="wait_long", seconds=30))
    await asyncio.sleep(0.05)
    culprit = asyncio.ensure_future(hosted.start("Shared", context, kind=kind))
    begun = time.monotonic()
    with pytest.raises(NodeMustWait, match="another node"):
        await other
    assert time.monotonic() - begun < 5  # not the 30 s of its own
    assert (await hosted.start("Shared", kind="blob")) == {"out": b"stored"}  # in a fresh thread, at once
    (warning,) = context.warnings
    assert warning["code"] == "node_blocks"
    assert "blocking-nodes/nodes/block.py:" in warning["message"]
    assert "node 'g/n' of run r has kept its thread to itself" in caplog.text
    with pytest.raises(NodeError) as caught:
        await culprit
    assert (caught.value.code, caught.value.retryable) == ("node_blocked", True)
    assert "in spin" in caught.value.details["where"]
    await asyncio.sleep(2.5)
    assert hosted.lost == []  # the abort has freed the thread


@pytest.mark.parametrize("type", ["Plain", "Thread", "Shared"])
async def test_a_spinning_node_ends_within_two_seconds_when_it_is_cancelled(hosted: Hosted, type: str) -> None:
    running = asyncio.ensure_future(hosted.start(type, kind="spin"))
    await asyncio.sleep(0.2)
    begun = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - begun < 2.2


async def test_a_plain_function_that_looks_whether_it_is_cancelled_ends_by_itself(hosted: Hosted) -> None:
    running = asyncio.ensure_future(hosted.start("Plain", kind="polite"))
    await asyncio.sleep(0.2)
    hosted.cancelled = True
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_cancelled_node_inside_a_call_that_does_not_return_costs_the_process(hosted: Hosted) -> None:
    running = asyncio.ensure_future(hosted.start("Plain", kind="sleep", seconds=6))
    await asyncio.sleep(0.2)
    begun = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - begun < 2.3
    await asyncio.sleep(LIMIT_S + 1)
    assert len(hosted.lost) == 1
    assert "node 'g/n' of run r does not end: at blocking-nodes/nodes/block.py:" in hosted.lost[0]


async def test_the_code_of_an_attempt_that_has_ended_reaches_no_service(hosted: Hosted, tmp_path: Path) -> None:
    file = tmp_path / "outcome"
    context = hosted.context()
    node = definition_of("Plain")
    assert node.execute is not None
    late = {"kind": "late", "seconds": 0.5, "file": str(file)}
    running = asyncio.ensure_future(hosted.host.start(node, node.execute, late, context))  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    running.cancel()
    await asyncio.sleep(0.8)
    assert file.read_text().startswith("attempt_ended")


async def test_blocking_plain_functions_run_beside_each_other(hosted: Hosted) -> None:
    begun = time.monotonic()
    await asyncio.gather(*(hosted.start("Plain", kind="sleep", seconds=0.5) for _ in range(6)))
    assert time.monotonic() - begun < 2.5  # one after the other they would take 3 s


# --- processes ----------------------------------------------------------------------------------------------------


async def test_a_process_that_dies_is_an_error_of_its_node_alone(hosted: Hosted) -> None:
    with pytest.raises(NodeError) as caught:
        await hosted.start("Process", kind="die")
    assert (caught.value.code, caught.value.retryable) == ("process_died", True)
    assert "was ended by SIGKILL" in caught.value.message


async def test_memory_is_bounded(hosted: Hosted) -> None:
    with pytest.raises(RemoteFault) as caught:
        await hosted.start("Process", kind="grow")
    assert type(caught.value).__name__ == "MemoryError"


async def test_a_process_gets_no_secret_of_the_environment(hosted: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNKEEPER_WORKER_TOKEN", "canary")
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    found = (await hosted.start("Process", kind="environment"))["out"]
    assert "canary" not in found.values()
    assert not [name for name in found if name.startswith("INNKEEPER_")]


@pytest.mark.parametrize(("kind", "at_most_s"), [("wait_long", 1.0), ("spin", 1.0), ("deaf", 3.0)])
async def test_a_cancelled_process_is_gone(hosted: Hosted, tmp_path: Path, kind: str, at_most_s: float) -> None:
    file = tmp_path / "pids"
    running = asyncio.ensure_future(hosted.start("Process", kind=kind, seconds=30.0, file=str(file)))
    async with asyncio.timeout(10):
        while kind != "wait_long" and not (file.exists() and file.read_text().endswith("\n")):
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    begun = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - begun < at_most_s
    if kind != "wait_long":
        assert not Path(f"/proc/{file.read_text().strip()}").exists()


async def test_a_service_that_a_process_does_not_have_says_so(hosted: Hosted) -> None:
    with pytest.raises(NodeError, match=r"services.llm.chat is not there with placement 'process'"):
        await hosted.start("Process", kind="llm")


async def test_settings_and_bytes_reach_a_process_and_come_back(hosted: Hosted) -> None:
    context = hosted.context(attempt=2, config_values={"raw": b"\0\xff", "$": {"v": [SecretRef("a" * 64)]}})
    found = (await hosted.start("Process", context, kind="bytes"))["out"]
    assert found == [{"raw": b"\0\xff", "$": {"v": [SecretRef("a" * 64)]}}, 2, "g/n"]


class EndlessLlm(ToyLlm):
    """Gives one word, then none; `closed` is set when nobody reads its answer any more."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        try:
            yield Chunk("text_chunk", "one")
            await asyncio.Event().wait()
        finally:
            self.closed.set()


@pytest.mark.parametrize("kind", ["is cancelled", "returns", "drops it"])
async def test_the_answer_of_a_model_that_a_node_leaves_open_ends_with_the_node(hosted: Hosted, kind: str) -> None:
    llm = EndlessLlm()
    held: list[Any] = []

    async def read(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Chunk]:
        chunks = context.services.llm.stream(ChatRequest("http://model", "m", []))
        yield await anext(chunks)
        if kind != "drops it":
            held.append(chunks)  # as a traceback does
        del chunks
        if kind != "returns":
            await asyncio.sleep(60)

    definition = NodeDefinition(
        type="Read",
        category="test",
        display_name="Read",
        description="Reads one word of an answer.",
        outputs={"out": Output("STRING", is_stream=True)},
        execute=read,
        placement="thread",
    )
    context = NodeContext("r", "g/n", memory_services(llm=llm))
    items = hosted.host.start(definition, read, {}, context)
    assert isinstance(items, AsyncGenerator)
    assert (await anext(items)).content == "one"
    reading = asyncio.create_task(anext(items, None))
    await asyncio.sleep(0.1)
    if kind == "is cancelled":
        reading.cancel()
    async with asyncio.timeout(30):
        await llm.closed.wait()
    if kind == "drops it":
        assert not reading.done()  # the node goes on
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
