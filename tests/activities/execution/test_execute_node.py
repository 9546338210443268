"""Running nodes on the real server beside a gateway that answers as each test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from innkeeper.activities.execution import heartbeat_pace
from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.nodes.call import NodeCall, NodeResult
from innkeeper.nodes.definition import Input, Mode
from innkeeper.nodes.errors import NodeError, NodeMustWait, ProviderError
from innkeeper.nodes.node import Chunk, NodeContext, Outputs, SecretRef
from innkeeper.workflows.plan import Feed, PlannedInput, PlannedOutput
from tests.activities.fake_gateway import FakeGateway, until
from tests.activities.toy_stack import USER, Stack, Toys, batch, stream

CANARY = "canary-0123456789-abcdef"


@pytest.fixture(autouse=True)
def toy_nodes(toys: Toys) -> None:
    async def echo(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        return {"out": inputs.get("in", context.node_id)}

    async def fail_once(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        if context.attempt == 1:
            raise NodeError("not yet")
        return {"out": f"attempt {context.attempt}"}

    async def hang_once(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        if context.attempt == 1:
            await asyncio.sleep(60)
        return {"out": f"attempt {context.attempt}"}

    async def talk(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        for word in ("one ", "two ", "three"):
            yield Chunk("text_chunk", word)
            await asyncio.sleep(0)
        yield Outputs({"out": 7})

    for execute in (echo, fail_once, hang_once, talk):
        toys.add(execute.__name__, execute)


def attempt_of(stack: Stack, number: int, details: list[Any] | None = None) -> ActivityEnvironment:
    """An attempt as the worker would be given it by the server, without a server."""
    env = ActivityEnvironment(stack.client)
    env.info = replace(env.info, attempt=number, heartbeat_details=details or [])
    return env


def call(type: str, **fields: Any) -> dict[str, Any]:
    return NodeCall(**{"run": "r", "path": "n", "type": f"toy:{type}", "inputs": {}, **fields}).to_wire()


async def all_bytes(handle: WorkflowHandle[Any, Any]) -> bytes:
    """The whole history, payloads included."""
    history = await handle.fetch_history()
    return b"".join(event.SerializeToString() for event in history.events)


# --- order of events ----------------------------------------------------------------------------------------------


async def test_first_attempt_does_not_wait_for_the_answer_to_open(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    gateway.holds = lambda message: True
    async with stack.worker():
        handle = await stack.start(batch("a", "echo"))
        await until(lambda: bool(gateway.sent("complete", "a")))
        assert gateway.sent("open", "a")[0]["reply"] is False
        assert (await handle.query("status"))["nodes"]["a"]["status"] == "running"
        await gateway.release()
        result = await handle.result()
    assert result["nodes"]["a"]["output"] == {"out": "a"}
    assert gateway.kinds("a") == ["open", "complete"]
    assert toys.calls == {"a": [1]}


async def test_a_stream_sends_open_chunks_complete_in_order(stack: Stack, gateway: FakeGateway) -> None:
    async with stack.worker():
        table = await stack.run(stream("t", "talk"))
    assert gateway.kinds("t") == ["open", "chunk", "chunk", "chunk", "complete"]
    assert [message["i"] for message in gateway.sent("chunk")] == [0, 1, 2]
    assert [message["chunk"]["content"] for message in gateway.sent("chunk")] == ["one ", "two ", "three"]
    assert all(message["epoch"] == [1, 0] for message in gateway.messages)
    complete = gateway.sent("complete")[0]
    assert complete["end"] is True
    assert complete["outputs"] == table["t"]["output"] == {"out": 7, "live": {"text": "one two three", "chunks": 3}}


async def test_a_stream_with_a_finish_chunk_of_its_own_needs_no_end_frame(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def finishing(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        yield Chunk("text_chunk", "hi")
        yield Chunk("finish_reason_chunk", "stop")

    toys.add("finishing", finishing)
    async with stack.worker():
        await stack.run(stream("t", "finishing"))
    assert gateway.sent("complete")[0]["end"] is False


async def test_a_chunk_behind_the_finish_chunk_needs_no_second_end(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def chatty(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        yield Chunk("finish_reason_chunk", "stop")
        yield Chunk("usage_chunk", {"total_tokens": 3})

    toys.add("chatty", chatty)
    async with stack.worker():
        table = await stack.run(stream("t", "chatty"))
    assert table["t"]["output"]["live"] == {"text": "", "chunks": 2}


async def test_batch_nodes_send_no_end_frame_and_no_chunk(stack: Stack, gateway: FakeGateway) -> None:
    async with stack.worker():
        await stack.run(batch("a", "echo"))
    assert gateway.sent("complete")[0]["end"] is False
    assert not gateway.sent("chunk")


async def test_progress_reaches_the_log_at_most_ten_times_a_second_and_at_the_end(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def busy(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        for value in range(1001):
            context.progress(value, 1000)
        return {"out": 1}

    toys.add("busy", busy)
    async with stack.worker():
        await stack.run(batch("b", "busy"))
    assert [message["value"] for message in gateway.sent("progress")] == [0, 1000]


async def test_odd_progress_and_odd_log_lines_neither_fail_a_node_nor_reach_the_log(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def odd(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        values: list[Any] = [float("nan"), float("inf"), None, "half", 10**400, object()]
        for value in values:
            context.progress(value, 1.0)
            context.progress(1.0, value)
            context.logger.info(value)
        return {"out": 1}

    toys.add("odd", odd)
    async with stack.worker():
        table = await stack.run(batch("o", "odd"))
    assert table["o"]["status"] == "complete"
    assert gateway.kinds("o") == ["open", "complete"]


async def test_large_outputs_are_logged_and_returned_by_reference(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def big(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        return {"out": "x" * 50_000}

    toys.add("big", big)
    async with stack.worker():
        table = await stack.run(batch("b", "big"))
    logged = gateway.sent("complete")[0]["outputs"]
    assert logged == table["b"]["output"]
    assert logged["out"]["size"] == 50_002
    assert await stack.values.resolve(logged["out"]) == "x" * 50_000


async def test_collected_chunks_travel_when_somebody_wants_them(stack: Stack, gateway: FakeGateway) -> None:
    async with stack.worker():
        table = await stack.run(stream("t", "talk", collect_chunks=True))
    items = table["t"]["output"]["live"]["items"]
    assert [item["content"] for item in items] == ["one ", "two ", "three"]


async def test_many_nodes_at_once_each_tell_their_own_story(stack: Stack, gateway: FakeGateway) -> None:
    names = [f"t{number}" for number in range(40)]
    async with stack.worker():
        table = await stack.run(*(stream(name, "talk") for name in names))
    assert all(entry["status"] == "complete" for entry in table.values())
    assert all(gateway.kinds(name) == ["open", "chunk", "chunk", "chunk", "complete"] for name in names)


# --- later attempts and the fence ---------------------------------------------------------------------------------


async def test_second_attempt_waits_for_the_answer_before_it_executes(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    gateway.holds = lambda message: message.get("reply", False)
    async with stack.worker():
        handle = await stack.start(batch("a", "fail_once"))
        await until(lambda: len(gateway.sent("open")) == 2)
        await asyncio.sleep(0.2)
        assert toys.calls["a"] == [1]
        await gateway.release()
        result = await handle.result()
    assert [message["epoch"] for message in gateway.sent("open")] == [[1, 0], [2, 0]]
    assert toys.calls["a"] == [1, 2]
    assert result["nodes"]["a"]["output"] == {"out": "attempt 2"}
    assert result["nodes"]["a"]["attempts"] == 2


async def test_second_attempt_numbers_its_chunks_anew(stack: Stack, gateway: FakeGateway, toys: Toys) -> None:
    async def stumbling(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        yield Chunk("text_chunk", f"try {context.attempt}")
        if context.attempt == 1:
            raise NodeError("broken off")

    toys.add("stumbling", stumbling)
    async with stack.worker():
        table = await stack.run(stream("s", "stumbling"))
    sent = [(message["epoch"], message["i"], message["chunk"]["content"]) for message in gateway.sent("chunk")]
    assert sent == [([1, 0], 0, "try 1"), ([2, 0], 0, "try 2")]
    assert table["s"]["output"]["live"]["text"] == "try 2"


async def test_a_finished_node_returns_what_is_logged_without_executing(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    gateway.answer = lambda message: {"s": "finished", "outputs": {"out": "from the log"}}
    async with stack.worker():
        table = await stack.run(batch("a", "fail_once"))
    assert table["a"]["status"] == "complete"
    assert table["a"]["output"] == {"out": "from the log"}
    assert toys.calls["a"] == [1]
    assert not gateway.sent("complete")


async def test_a_node_that_was_logged_by_its_last_allowed_attempt_is_complete(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, toys: Toys
) -> None:
    """The worker died between the log and Temporal: the log is the commit point, whatever attempts are left."""
    gateway.answer = lambda message: {"s": "finished", "outputs": {"out": "from the log"}}
    execute = stack.execute(link).execute_node
    result = await attempt_of(stack, 2).run(execute, call("echo", max_failures=1))
    assert result["outputs"] == {"out": "from the log"}
    assert not toys.calls


@pytest.mark.parametrize(("max_failures", "deaths", "times"), [(4, 8, "8 times"), (2, 4, "4 times"), (1, 1, "1 time")])
async def test_a_node_whose_worker_died_too_often_is_not_tried_again_and_says_how_often(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, toys: Toys, max_failures: int, deaths: int, times: str
) -> None:
    """Deaths are mostly the fault of another node in that worker; one allowed attempt is never begun twice."""
    execute = stack.execute(link).execute_node
    with pytest.raises(ApplicationError, match=f"'n' is not tried again: {times} the worker") as given_up:
        await attempt_of(stack, deaths + 1).run(execute, call("echo", max_failures=max_failures))
    assert (given_up.value.type, given_up.value.non_retryable) == ("worker_died", True)
    assert not toys.calls
    # Neither a failure that was told nor a wait is a death: one more attempt is left here.
    for told in ({"waits": 1, "failures": 0}, *([{"waits": 0, "failures": 1}] if max_failures > 1 else [])):
        result = await attempt_of(stack, deaths + 1, [told]).run(execute, call("echo", max_failures=max_failures))
        assert result == NodeResult({"out": "n"}, deaths + 1).to_wire()


async def test_a_node_whose_last_error_was_lost_with_its_worker_is_not_tried_again(
    stack: Stack, link: GatewayLink, toys: Toys
) -> None:
    execute = stack.execute(link).execute_node
    with pytest.raises(ApplicationError, match="after 2 failed attempts") as given_up:
        await attempt_of(stack, 3, [{"waits": 0, "failures": 2}]).run(execute, call("echo", max_failures=2))
    assert given_up.value.type == "attempts_exhausted"
    assert not toys.calls


async def test_a_node_over_its_limit_ends_with_its_own_number(stack: Stack, gateway: FakeGateway, toys: Toys) -> None:
    async def ignores(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        end = asyncio.get_running_loop().time() + 8
        while (left := end - asyncio.get_running_loop().time()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(left)
        return {"out": 1}

    async def wraps(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OSError("connection lost") from None
        return {}

    toys.add("ignores", ignores)
    toys.add("wraps", wraps)
    async with stack.worker():
        table = await stack.run(
            batch("h", "hang_once", timeout_s=0.3, max_attempts=1),
            batch("again", "hang_once", timeout_s=0.3),
            batch("wraps", "wraps", timeout_s=0.3, max_attempts=1),
            batch("i", "ignores", timeout_s=0.3, total_timeout_s=60, max_attempts=1),
        )
    assert table["h"]["error"]["code"] == table["i"]["error"]["code"] == "timeout"
    assert table["wraps"]["error"]["message"] == "node 'wraps' worked for more than 0.3 s"
    assert table["h"]["error"]["message"] == "node 'h' worked for more than 0.3 s"
    assert table["i"]["error"]["message"].startswith("node 'i' worked for more than 0.3 s")
    assert (table["again"]["status"], table["again"]["attempts"]) == ("complete", 2)
    assert gateway.sent("retry", "again")[0]["code"] == "timeout"


async def test_a_node_that_runs_out_of_time_over_several_attempts_names_its_limit(stack: Stack, toys: Toys) -> None:
    async def hangs(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    toys.add("hangs", hangs)
    async with stack.worker():
        table = await stack.run(batch("h", "hangs", timeout_s=0.4, total_timeout_s=1.0, max_attempts=9))
    assert table["h"]["error"]["code"] == "timeout"
    assert "0.4 s" in table["h"]["error"]["message"]


async def test_a_node_scheduled_anew_continues_its_epochs(
    stack: Stack, gateway: FakeGateway, link: GatewayLink
) -> None:
    execute = stack.execute(link).execute_node
    await attempt_of(stack, 1).run(execute, call("echo", base_attempt=3))
    assert (gateway.sent("open")[0]["epoch"], gateway.sent("open")[0]["reply"]) == ([4, 0], True)


async def test_a_fenced_node_is_cancelled_at_once_and_nothing_is_counted(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    stopped = asyncio.Event()

    async def stubborn(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        try:
            await asyncio.sleep(60 if context.attempt == 1 else 0)
        except asyncio.CancelledError:
            stopped.set()
            raise
        return {"out": "done"}

    toys.add("stubborn", stubborn)
    async with stack.worker():
        handle = await stack.start(batch("a", "stubborn", max_attempts=1))
        await until(lambda: "a" in toys.calls)
        await gateway.fence(NodeAttempt(handle.id, "a", (1, 0)))
        async with asyncio.timeout(30):  # it would go on for a minute
            await stopped.wait()
        result = await handle.result()
    assert result["nodes"]["a"]["status"] == "complete"
    assert toys.calls["a"] == [1, 2]
    assert [message["epoch"] for message in gateway.sent("complete")] == [[2, 0]]


async def test_fenced_while_complete_waits_the_attempt_does_not_count(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    gateway.holds = lambda message: message["t"] == "complete"
    async with stack.worker():
        handle = await stack.start(batch("a", "echo", max_attempts=1))
        await until(lambda: bool(gateway.sent("complete")))
        gateway.answer = lambda message: {"s": "finished", "outputs": {"out": "of another worker"}}
        await gateway.fence(NodeAttempt(handle.id, "a", (1, 0)))
        await gateway.release()
        result = await handle.result()
    assert result["nodes"]["a"]["output"] == {"out": "of another worker"}
    assert toys.calls["a"] == [1]


async def test_an_attempt_fenced_at_its_open_touches_nothing_and_is_not_counted(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    answers = {2: {"s": "fenced"}, 3: {"s": "ok", "next": 0}}
    gateway.answer = lambda message: answers[message["epoch"][0]]
    async with stack.worker():
        table = await stack.run(batch("a", "fail_once", max_attempts=2))
    assert table["a"]["output"] == {"out": "attempt 3"}
    assert toys.calls["a"] == [1, 3]


async def test_failures_and_waits_are_counted_apart(stack: Stack, gateway: FakeGateway, toys: Toys) -> None:
    async def moody(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        if context.attempt % 2:
            raise NodeMustWait("no channel free", delay_s=0.02)
        raise NodeError(f"failure in attempt {context.attempt}")

    toys.add("moody", moody)
    async with stack.worker():
        table = await stack.run(batch("m", "moody", max_attempts=3))
    assert toys.calls["m"] == [1, 2, 3, 4, 5, 6]
    assert table["m"]["error"]["message"] == "failure in attempt 6"


async def test_a_provider_that_asks_for_a_pause_gets_it(stack: Stack, gateway: FakeGateway, toys: Toys) -> None:
    times: list[float] = []

    async def busy(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            raise ProviderError("come back later", code="overloaded", retryable=True, retry_after=0.4)
        return {"out": 1}

    toys.add("busy", busy)
    async with stack.worker():
        table = await stack.run(batch("b", "busy", initial_s=0.01))
    assert table["b"]["status"] == "complete"
    assert times[1] - times[0] > 0.35


async def test_warnings_are_told_with_the_outputs_without_secrets_and_only_of_the_attempt_that_gave_them(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def warns(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        key = await context.services.secrets.reveal(inputs["key"])
        context.warn("odd", f"attempt {context.attempt} looked at {key}")
        context.warnings.append({"message": "x" * 1_000_000, "own": 1})  # type: ignore[dict-item]
        context.warnings.append("no warning")  # type: ignore[arg-type]
        if context.attempt == 1:
            raise NodeError("not yet")
        return {"out": 1}

    toys.add("warns", warns, {"key": Input("STRING", secret=True)})
    secret = {"key": PlannedInput(value=stack.store.put(CANARY, USER).to_json(), has_value=True)}
    async with stack.worker():
        table = await stack.run(batch("w", "warns", inputs=secret), batch("quiet", "echo"))
    expected = [{"code": "odd", "message": "attempt 2 looked at ***"}, {"code": "warning", "message": "x" * 500}]
    assert table["w"]["warnings"] == gateway.sent("complete", "w")[0]["warnings"] == expected
    assert "warnings" not in table["quiet"]
    assert "warnings" not in gateway.sent("complete", "quiet")[0]


async def test_every_attempt_that_another_one_follows_says_why_and_when(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def moody(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        if context.attempt == 1:
            raise NodeMustWait("no channel free", delay_s=0.3)
        if context.attempt == 2:
            raise ProviderError("sk-canary0123456789 is over its limit", code="overloaded", retryable=True)
        raise NodeError("for good", retryable=False)

    toys.add("moody", moody)
    began = datetime.now(UTC)
    async with stack.worker():
        await stack.run(batch("m", "moody"))
    assert gateway.kinds("m") == ["open", "retry", "open", "retry", "open"]
    first, second = gateway.sent("retry", "m")
    assert (first["kind"], first["code"], first["message"]) == ("wait", "waiting", "no channel free")
    assert (second["kind"], second["code"], second["message"]) == ("retry", "overloaded", "*** is over its limit")
    assert [message["epoch"] for message in (first, second)] == [[1, 0], [2, 0]]
    assert timedelta(seconds=0.3) <= datetime.fromisoformat(first["retryAt"]) - began < timedelta(seconds=30)


async def test_an_attempt_that_never_began_in_the_log_announces_nothing(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame of an epoch that was never opened would end the worker's connection."""
    monkeypatch.setattr("innkeeper.activities.execution.stream.OPEN_PATIENCE_S", 0.05)
    execute = stack.execute(link).execute_node
    with pytest.raises(ApplicationError, match="has not begun"):
        await attempt_of(stack, 1).run(execute, call("echo", stream_inputs={"in": ["another"]}))
    link.fact("r", "n", "NODE_SKIPPED", {})
    await until(lambda: bool(gateway.sent("fact")))
    assert gateway.kinds("n") == ["fact"]


# --- errors -------------------------------------------------------------------------------------------------------


async def test_an_error_chunk_ends_the_node_with_that_error(stack: Stack, gateway: FakeGateway, toys: Toys) -> None:
    async def broken(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        yield Chunk("text_chunk", "so far")
        yield Chunk("error_chunk", "the model fell silent")
        yield Chunk("text_chunk", "nobody must see this")

    toys.add("broken", broken)
    async with stack.worker():
        table = await stack.run(stream("b", "broken", max_attempts=1))
    assert table["b"]["status"] == "error"
    assert table["b"]["error"]["message"] == "the model fell silent"
    assert [message["chunk"]["type"] for message in gateway.sent("chunk")] == ["text_chunk", "error_chunk"]
    assert gateway.kinds("b") == ["open", "chunk", "chunk"]


async def test_an_error_chunk_with_an_object_keeps_message_code_and_type(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    content = {"message": "no credit left", "code": "insufficient_quota", "type": "billing"}

    async def broken(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        yield Chunk("error_chunk", content)

    toys.add("broken", broken)
    async with stack.worker():
        table = await stack.run(stream("b", "broken", max_attempts=1))
    error = table["b"]["error"]
    assert (error["message"], error["code"]) == ("no credit left", "insufficient_quota")
    assert gateway.sent("chunk")[0]["chunk"]["content"] == content


async def test_half_a_character_in_an_error_becomes_a_replacement_character(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def half(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        raise NodeError("bad \ud83d", retryable=False, details={"x\ud83d": "\ud83d"})

    async def half_chunk(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        yield Chunk("error_chunk", {"message": "bad \ud83d", "code": "\ud83d"})

    toys.add("half", half)
    toys.add("half_chunk", half_chunk)
    async with stack.worker():
        table = await stack.run(batch("h", "half"), stream("c", "half_chunk"))
    assert [table[path]["error"]["message"] for path in "hc"] == ["bad \ufffd"] * 2
    assert table["h"]["error"]["details"] == {"x\ufffd": "\ufffd"}
    assert gateway.sent("chunk", "c")[0]["chunk"]["content"]["message"] == "bad \ufffd"


async def test_a_generator_is_closed_before_its_node_has_ended(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, toys: Toys
) -> None:
    """A provider's connection must not outlive the node that opened it."""
    closed: list[str] = []

    async def careful(last: Any, inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        try:
            yield Chunk("text_chunk", "x")
            yield last
        finally:
            await asyncio.sleep(0.05)
            closed.append(context.node_id)

    toys.add("careful", partial(careful, None))
    execute = stack.execute(link).execute_node

    async def run(path: str, last: Any) -> None:
        toys.definitions["toy:careful"] = replace(toys.definitions["toy:careful"], execute=partial(careful, last))
        await attempt_of(stack, 1).run(execute, call("careful", path=path))

    await run("outputs", Outputs({"out": 1}))
    assert closed == ["outputs"]
    with pytest.raises(ApplicationError):
        await run("error", Chunk("error_chunk", "no"))
    assert closed == ["outputs", "error"]


@pytest.mark.parametrize(
    ("gives", "code"),
    [
        ([1, 2], "invalid_output"),
        ({"out": {(1, 2): 2}}, "invalid_output"),
        ({"out": object()}, "invalid_output"),
        ({1: "a name that is no text"}, "invalid_output"),
        ({"half \ud83d": 1}, "invalid_output"),
    ],
    ids=["list", "key", "object", "name", "half"],
)
async def test_outputs_that_are_not_data_fail_at_once_and_say_so(
    stack: Stack, toys: Toys, gives: Any, code: str
) -> None:
    async def odd(inputs: dict[str, Any], context: NodeContext) -> Any:
        return gives

    toys.add("odd", odd)
    async with stack.worker():
        table = await stack.run(batch("o", "odd"))
    assert table["o"]["error"]["code"] == code
    assert toys.calls["o"] == [1]


ODD = {"text": "half \ud83d", "count": 10**30, "share": float("nan"), "keys": {1: "one"}}
MENDED = {"text": "half \ufffd", "count": 1e30, "share": None, "keys": {"1": "one"}}


@pytest.mark.parametrize("placement", ["activity", "inline"])
async def test_outputs_that_json_can_nearly_hold_are_changed_with_a_warning_and_go_on(
    stack: Stack, toys: Toys, placement: str
) -> None:
    seen: list[Any] = []

    async def odd(inputs: dict[str, Any], context: NodeContext) -> Any:
        return dict(ODD)

    async def reads(inputs: dict[str, Any], context: NodeContext) -> Any:
        seen.append(inputs["in"])
        return {}

    toys.add("odd", odd, outputs=ODD)
    toys.add("reads", reads)
    feeds: Any = {"inputs": {"in": PlannedInput((Feed("o", "text"),))}, "after": ("o",)}  # type: ignore[arg-type]
    slots: Any = dict.fromkeys(ODD, PlannedOutput())
    async with stack.worker():
        table = await stack.run(
            batch("o", "odd", outputs=slots, placement=placement), batch("r", "reads", placement=placement, **feeds)
        )
    assert table["o"]["output"] == MENDED
    assert seen == [MENDED["text"]]
    assert {warning["code"] for warning in table["o"]["warnings"]} == {"output_changed"}
    told = [warning["message"].split(":")[0] for warning in table["o"]["warnings"]]
    assert told == ["output 'text'", "output 'count'", "output 'share'", "output 'keys'"]


async def test_halves_of_a_character_meet_across_chunks_of_a_stream(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def talks(inputs: dict[str, Any], context: NodeContext) -> Any:
        for piece in ("a\ud83d", "\ude00", "b", "\ud83d"):
            yield Chunk("text_chunk", piece)
        yield Chunk("usage_chunk", {"tokens": 10**30})
        yield Chunk("text_chunk", "c\ud83d")
        yield Outputs({"more": 1})

    toys.add("talks", talks, outputs=("more",))
    async with stack.worker():
        table = await stack.run(stream("s", "talks"))
    chunks = [message["chunk"]["content"] for message in gateway.sent("chunk", "s")]
    assert chunks == ["a", "😀", "b", "\ufffd", {"tokens": 1e30}, "c", "\ufffd"]
    assert table["s"]["output"]["live"] == {"text": "a😀b\ufffdc\ufffd", "chunks": 7}
    assert [warning["code"] for warning in table["s"]["warnings"]] == ["chunk_changed"]


async def test_a_stream_that_yields_something_else_fails_and_says_so(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def odd(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        yield "plain text"

    toys.add("odd", odd)
    async with stack.worker():
        table = await stack.run(stream("o", "odd"))
    assert table["o"]["error"]["code"] == "invalid_output"
    assert "str" in table["o"]["error"]["message"]


async def test_a_chunk_that_is_not_data_fails_its_node_only(stack: Stack, gateway: FakeGateway, toys: Toys) -> None:
    async def odd(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        yield Chunk("custom", {"raw": object()})

    toys.add("odd", odd)
    async with stack.worker():
        table = await stack.run(stream("o", "odd"), stream("t", "talk"))
    assert {path: entry["status"] for path, entry in table.items()} == {"o": "error", "t": "complete"}
    assert table["o"]["error"]["code"] == "invalid_output"


async def test_a_node_type_this_worker_lacks_is_named(stack: Stack, gateway: FakeGateway) -> None:
    async with stack.worker():
        table = await stack.run(batch("a", "nowhere"))
    assert table["a"]["error"]["code"] == "unknown_node_type"
    assert "'toy:nowhere'" in table["a"]["error"]["message"]


# --- cancellation and shutdown ------------------------------------------------------------------------------------


async def test_interruption_stops_the_node_and_nothing_is_logged_as_complete(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async with stack.worker():
        handle = await stack.start(batch("a", "hang_once"))
        await until(lambda: "a" in toys.calls)
        await handle.cancel()
        async with asyncio.timeout(30):
            result = await handle.result()
    assert result["nodes"]["a"]["status"] == "interrupted"
    assert gateway.kinds("a") == ["open"]


@pytest.mark.parametrize("has_gateway", [True, False])
async def test_stream_beside_many_others_is_interrupted_in_time(
    stack: Stack, gateway: FakeGateway, toys: Toys, monkeypatch: pytest.MonkeyPatch, has_gateway: bool
) -> None:
    """Its heartbeats would come each 4 s. A gateway tells of the interruption; without one they come each second."""
    monkeypatch.setattr(heartbeat_pace, "HEARTBEATS_PER_S", 0.1)
    monkeypatch.setattr(heartbeat_pace, "MAX_INTERVAL_S", 4.0)
    if not has_gateway:
        await gateway.stop()
    async with stack.worker():
        if has_gateway:
            await until(lambda: bool(gateway.connections))
            await gateway.say(interrupted=[])
        handle = await stack.start(batch("a", "hang_once"))
        await until(lambda: "a" in toys.calls)
        begun = time.monotonic()
        if has_gateway:
            await gateway.say(interrupted=[handle.id])
        await handle.cancel()
        result = await handle.result()
    assert result["nodes"]["a"]["status"] == "interrupted"
    assert time.monotonic() - begun < 3.0  # 1 s, and what a busy machine takes


async def test_interrupted_while_complete_is_on_its_way_the_node_is_complete(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    gateway.holds = lambda message: message["t"] == "complete"
    async with stack.worker():
        handle = await stack.start(batch("a", "echo"))
        await until(lambda: bool(gateway.sent("complete")))
        await handle.cancel()
        await asyncio.sleep(2.2)  # the request reaches the activity with a heartbeat, at most 1 s later
        assert (await handle.query("status"))["status"] == "interrupting"
        await gateway.release()
        result = await handle.result()
    assert result["status"] == "interrupted"
    assert result["nodes"]["a"]["status"] == "complete"
    assert result["nodes"]["a"]["output"] == {"out": "a"}


async def test_a_cancelled_attempt_waits_for_the_acknowledgement_and_returns(
    stack: Stack, gateway: FakeGateway, link: GatewayLink
) -> None:
    gateway.holds = lambda message: message["t"] == "complete"
    env = attempt_of(stack, 1)
    running = asyncio.create_task(env.run(stack.execute(link).execute_node, call("echo")))
    await until(lambda: bool(gateway.sent("complete")))
    env.cancel()
    await asyncio.sleep(0.05)
    assert not running.done()
    await gateway.release()
    assert await running == NodeResult({"out": "n"}).to_wire()


async def test_a_stopping_worker_hands_its_node_to_another_without_counting(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async with stack.worker() as first:
        handle = await stack.start(batch("a", "hang_once", max_attempts=1))
        await until(lambda: "a" in toys.calls)
        async with stack.worker():
            async with asyncio.timeout(30):
                await first.shutdown()
                result = await handle.result()
    assert result["nodes"]["a"]["status"] == "complete"
    assert result["nodes"]["a"]["output"] == {"out": "attempt 2"}
    assert toys.calls["a"] == [1, 2]


async def test_a_stopping_worker_lets_nodes_finish_within_its_grace(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def short(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        await asyncio.sleep(0.3)
        return {"out": context.attempt}

    toys.add("short", short)
    async with stack.worker(grace_s=2) as first:
        handle = await stack.start(batch("a", "short"))
        await until(lambda: "a" in toys.calls)
        await first.shutdown()
        async with stack.worker():
            result = await handle.result()
    assert result["nodes"]["a"]["output"] == {"out": 1}


async def test_a_gateway_that_is_away_stops_no_run_and_the_result_says_so(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async with stack.worker(flush_timeout_s=0.2):
        await until(lambda: bool(gateway.connections))
        await gateway.stop()
        table = await stack.run(batch("a", "fail_once"), stream("t", "talk"))
        assert {path: entry["status"] for path, entry in table.items()} == {"a": "complete", "t": "complete"}
        assert all(entry["unlogged"] for entry in table.values())
        await gateway.start()
        await until(lambda: len(gateway.sent("complete")) == 2)
    assert gateway.kinds("t") == ["open", "chunk", "chunk", "chunk", "complete"]


async def test_a_gateway_that_restarts_in_a_stream_gets_every_chunk(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def slow(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        for number in range(20):
            yield Chunk("text_chunk", f"{number} ")
            await asyncio.sleep(0.02)

    toys.add("slow", slow)
    async with stack.worker():
        handle = await stack.start(stream("s", "slow"))
        await until(lambda: len(gateway.sent("chunk")) > 5)
        await gateway.stop()
        await asyncio.sleep(0.1)
        await gateway.start()
        result = await handle.result()
    assert [message["i"] for message in gateway.sent("chunk")] == list(range(20))
    assert "unlogged" not in result["nodes"]["s"]


# --- secrets ------------------------------------------------------------------------------------------------------


@pytest.fixture
def leaky(toys: Toys) -> None:
    """Nodes that put the secret they were given wherever a careless author might."""

    async def reveal(inputs: dict[str, Any], context: NodeContext) -> str:
        assert isinstance(inputs["key"], SecretRef)
        return await context.services.secrets.reveal(inputs["key"])

    async def in_error(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        key = await reveal(inputs, context)
        raise ProviderError(f"bad key {key}", retryable=True, details={"body": f"key={key}", "list": [key]})

    async def in_foreign_error(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        raise RuntimeError(f"GET https://model.example/?key={await reveal(inputs, context)} failed")

    async def in_wait(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        key = await reveal(inputs, context)
        raise NodeMustWait(f"limit of {key}", delay_s=0.02) if context.attempt == 1 else NodeError(key)

    async def in_chunk(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        key = await reveal(inputs, context)
        yield Chunk("error_chunk", {"message": f"bad key {key}", "code": f"code {key}"}, {"raw": {"key": key}})

    async def looks_like_key(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        raise NodeError("Incorrect API key provided: sk-canary0123456789. Bearer canary0123456789")

    slots = {"key": Input("STRING", secret=True)}
    for execute in (in_error, in_foreign_error, in_wait, in_chunk, looks_like_key):
        toys.add(execute.__name__, execute, slots)


@pytest.mark.usefixtures("leaky")
@pytest.mark.parametrize("type", ["in_error", "in_foreign_error", "in_wait", "in_chunk", "looks_like_key"])
async def test_a_revealed_secret_appears_nowhere(
    stack: Stack, gateway: FakeGateway, caplog: pytest.LogCaptureFixture, type: str
) -> None:
    reference = stack.store.put(CANARY, USER).to_json()
    inputs: Any = {"key": PlannedInput(value=reference, has_value=True)}
    make = stream if type == "in_chunk" else batch
    with caplog.at_level(logging.INFO):
        async with stack.worker():
            handle = await stack.start(make("leak", type, inputs=inputs, max_attempts=2))
            async with asyncio.timeout(30):
                result = await handle.result()
    assert result["nodes"]["leak"]["status"] == "error"
    assert result["nodes"]["leak"]["error"]["message"]
    places = {
        "history": await all_bytes(handle),
        "result": repr(result).encode(),
        "socket": repr(gateway.messages).encode(),
        "log": "\n".join(record.getMessage() for record in caplog.records).encode(),
        "files": b"".join(path.read_bytes() for path in stack.folder.rglob("*") if path.is_file()),
    }
    assert [place for place, data in places.items() if b"canary" in data] == []


@pytest.fixture
def generous(toys: Toys) -> None:
    """Nodes that succeed and give away the secret that they were shown."""

    async def out(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        key = await context.services.secrets.reveal(inputs["key"])
        return {"out": {"deep": [f"a {key} b", {key: 1}], "json": json.dumps({"key": key})}, "raw": key.encode()}

    async def log_lines(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        key = await context.services.secrets.reveal(inputs["key"])
        context.logger.warning("asked with %s", key, extra={"headers": {"X-Key": [key]}})
        return {"out": 1}

    async def live(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        yield Chunk("text_chunk", "before ")
        key = await context.services.secrets.reveal(inputs["key"])
        for piece in (key[:5], key[5:], f" {key} ", "canary-0"):  # the last one only begins like it
            yield Chunk("text_chunk", piece)
        yield Chunk("custom", {"key": key}, {"more": key})
        yield Outputs({"out": key})

    for execute in (out, log_lines, live):
        outputs = {"out": ("out", "raw"), "log_lines": ("out",), "live": ("out",)}[execute.__name__]
        toys.add(execute.__name__, execute, {"key": Input("STRING", secret=True)}, outputs=outputs)


@pytest.mark.usefixtures("generous")
@pytest.mark.parametrize("type", ["out", "log_lines", "live"])
async def test_a_secret_that_a_node_gives_away_is_masked_and_its_author_warned(
    stack: Stack, gateway: FakeGateway, caplog: pytest.LogCaptureFixture, type: str
) -> None:
    inputs: Any = {"key": PlannedInput(value=stack.store.put(CANARY, USER).to_json(), has_value=True)}
    with caplog.at_level(logging.INFO):
        async with stack.worker():
            handle = await stack.start((stream if type == "live" else batch)("n", type, inputs=inputs))
            async with asyncio.timeout(30):
                result = await handle.result()
    entry = result["nodes"]["n"]
    assert entry["status"] == "complete"
    places = {
        "history": await all_bytes(handle),
        "socket": repr(gateway.messages).encode(),
        "log": "\n".join(repr(vars(record)) for record in caplog.records).encode(),
        "files": b"".join(path.read_bytes() for path in stack.folder.rglob("*") if path.is_file()),
    }
    assert [place for place, data in places.items() if CANARY.encode() in data] == []
    (complete,) = gateway.sent("complete")
    warned = [warning["message"].split("'")[1] for warning in complete.get("warnings", ())]
    assert warned == {"out": ["raw", "out"], "log_lines": [], "live": ["out", "live"]}[type]
    if type == "live":
        told = "".join(sent["chunk"]["content"] for sent in gateway.sent("chunk") if sent["chunk"]["type"] != "custom")
        assert told == "before *** *** canary-0"
        assert entry["output"]["live"]["text"] == told


async def test_a_secret_setting_reaches_the_node_as_a_reference(stack: Stack, gateway: FakeGateway, toys: Toys) -> None:
    async def configured(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        key = context.config_values["key"]
        assert isinstance(key, SecretRef)
        revealed = await context.services.secrets.reveal(key)
        return {"out": [revealed == CANARY, isinstance(context.config_values["plain"], SecretRef)]}

    toys.add("configured", configured)
    definition = replace(toys.definitions["toy:configured"], config_schema={"key": Input("STRING", secret=True)})
    toys.definitions["toy:configured"] = definition
    reference = stack.store.put(CANARY, USER).to_json()
    async with stack.worker():
        table = await stack.run(batch("c", "configured", config={"key": reference, "plain": reference}))
    assert table["c"]["output"] == {"out": [True, False]}


async def test_a_secret_setting_of_a_mode_reaches_the_node_as_a_reference(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def configured(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        return {"out": isinstance(context.config_values["key"], SecretRef)}

    toys.add("configured", configured)
    definition = toys.definitions["toy:configured"]
    mode = Mode("own", "Own key", {}, definition.outputs, config_schema={"key": Input("STRING", secret=True)})
    toys.definitions["toy:configured"] = replace(definition, modes={"own": mode}, mode_config_key="mode")
    config = {"mode": "own", "key": stack.store.put(CANARY, USER).to_json()}
    async with stack.worker():
        table = await stack.run(batch("c", "configured", mode="own", config=config))
    assert table["c"]["output"] == {"out": True}


async def test_a_key_a_node_gives_on_leaves_as_a_reference(stack: Stack, gateway: FakeGateway, toys: Toys) -> None:
    async def settings(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        return {"out": {"api_key": CANARY, "model": "m"}}

    async def use(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        assert isinstance(inputs["in"]["api_key"], SecretRef)
        return {"out": await context.services.secrets.reveal(inputs["in"]["api_key"]) == CANARY}

    toys.add("settings", settings)
    toys.add("use", use, {"in": Input("OBJECT", secret_keys=("api_key",))})
    outputs: Any = {"out": PlannedOutput(seal=("api_key",))}
    inputs: Any = {"in": PlannedInput((Feed("s", "out"),))}  # type: ignore[arg-type]
    async with stack.worker():
        handle = await stack.start(
            batch("s", "settings", outputs=outputs), batch("u", "use", inputs=inputs, after=("s",))
        )
        result = await handle.result()
    assert result["nodes"]["u"]["output"] == {"out": True}
    assert set(result["nodes"]["s"]["output"]["out"]["api_key"]) == {"$secret"}
    assert b"canary" not in await all_bytes(handle) + repr(gateway.messages).encode()


async def test_what_a_stream_says_is_in_history_as_the_output_only(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    """Chunks go by the socket, never by heartbeat or history."""
    async with stack.worker():
        handle = await stack.start(stream("t", "talk"))
        await handle.result()
    history = await handle.fetch_history()
    activity = [
        event.SerializeToString()
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
    ]
    assert sum(data.count(b"one two three") for data in activity) == 1
    assert (await all_bytes(handle)).count(b"one two three") == 2  # and in the result of the run


async def test_log_lines_of_a_node_say_run_node_and_attempt(
    stack: Stack, toys: Toys, caplog: pytest.LogCaptureFixture
) -> None:
    async def warn(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        context.logger.warning("odd: %d", 5, extra={"mine": 1})
        return {"out": 1}

    toys.add("warn", warn)
    async with stack.worker():
        handle = await stack.start(batch("w", "warn"))
        await handle.result()
    (line,) = (record for record in caplog.records if record.getMessage() == "odd: 5")
    told = {name: vars(line)[name] for name in ("run", "node", "attempt", "mine")}
    assert told == {"run": handle.id, "node": "w", "attempt": 1, "mine": 1}


# --- faults of a node's code --------------------------------------------------------------------------------------


async def test_an_exception_is_told_with_its_place_and_the_log_has_the_whole_traceback(
    stack: Stack, toys: Toys, caplog: pytest.LogCaptureFixture
) -> None:
    async def faulty(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        key = await context.services.secrets.reveal(inputs["key"])
        try:
            return {"out": inputs["missing"]}
        except KeyError as error:
            raise RuntimeError(f"with {key}") from error

    toys.add("faulty", faulty, {"key": Input("STRING", secret=True)})
    inputs: Any = {"key": PlannedInput(value=stack.store.put(CANARY, USER).to_json(), has_value=True)}
    async with stack.worker():
        table = await stack.run(batch("n", "faulty", inputs=inputs, max_attempts=1))
    error = table["n"]["error"]
    assert error["message"] == "RuntimeError: with ***"
    assert re.fullmatch(r".*/test_execute_node\.py:\d+ in faulty", error["details"]["where"])
    assert [line for line in error["details"]["trace"] if not line.startswith(" ")] == ["KeyError", "RuntimeError"]
    (told,) = [record for record in caplog.records if record.getMessage() == "a node raised RuntimeError"]
    assert (told.node, told.attempt, told.where) == ("n", 1, error["details"]["where"])  # type: ignore[attr-defined]
    assert 'return {"out": inputs["missing"]}' in told.traceback  # type: ignore[attr-defined]
    assert "KeyError: 'missing'" in told.traceback  # type: ignore[attr-defined]
    assert CANARY not in told.traceback  # type: ignore[attr-defined]


@pytest.mark.parametrize("placement", ["activity", "inline"])
async def test_an_output_with_a_wrong_key_fails_once_and_names_the_slots(
    stack: Stack, toys: Toys, placement: Any
) -> None:
    async def typo(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        return {"oud": 1}

    toys.add("typo", typo)
    async with stack.worker():
        table = await stack.run(batch("n", "typo", placement=placement))
    assert table["n"]["error"]["code"] == "invalid_output"
    assert table["n"]["error"]["message"].startswith("the node gave output 'oud', which it does not declare; did you")
    assert toys.calls["n"] == [1]


async def test_a_missing_optional_output_is_a_warning_of_the_node(stack: Stack, toys: Toys) -> None:
    async def silent(inputs: dict[str, Any], context: NodeContext) -> None:
        return None

    toys.add("silent", silent)
    async with stack.worker():
        table = await stack.run(batch("n", "silent"))
    assert table["n"]["status"] == "complete"
    assert [warning["code"] for warning in table["n"]["warnings"]] == ["missing_output"]
