"""The WebSocket and SSE of clients on the real stack: every event once, in order, from any place."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from innkeeper.gateway.realtime import client_socket
from tests.gateway.realtime.talking import hear, hear_run, is_final, say, socket_to

Json = dict[str, Any]


def count_graph(upto: int = 3, pause: float = 0, kind: str = "Count") -> Json:
    inputs = {"upto": upto, "pause": pause} if kind == "Count" else {"seconds": 30}
    return {
        "nodes": [{"id": "n", "fullType": f"toys:{kind}", "inputs": inputs}],
        "edges": [],
        "interfaceOutputs": {"out": {"key": "out", "dataFlowType": "STRING", "isStream": True, "displayName": "Out"}},
        "outputInterfaceMappings": {"out": {"sourceNodeId": "n", "sourceSlotKey": "stream"}} if kind == "Count" else {},
    }


async def submit(http: httpx.AsyncClient, body: Json, wait: bool = True) -> str:
    answer = await http.post("/api/prompt", json={**body, "wait": 20 if wait else 0})
    return str(answer.json()["promptId"])


async def test_prompt_request_is_accepted_with_its_request_id_and_followed(shared: Any) -> None:
    async with socket_to(shared.ws_url) as socket:
        await socket.send(json.dumps({"type": "PROMPT_REQUEST", "payload": {**count_graph(), "requestId": "mine"}}))
        accepted = (await hear(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]
        assert accepted["requestId"] == "mine"
        events = await hear_run(socket, accepted["promptId"])
        update = await hear(socket, "SYSTEM_QUEUE_UPDATE")
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["EXECUTION_STATUS_UPDATE", "NODE_EXECUTING"]
    chunks = [event["payload"] for event in events if event["type"] == "NODE_YIELD"]
    assert [chunk["yieldedContent"]["content"] for chunk in chunks] == ["0 ", "1 ", "2 ", ""]
    assert [chunk["isLastChunk"] for chunk in chunks] == [False, False, False, True]
    assert kinds.count("WORKFLOW_INTERFACE_YIELD") == 4
    outputs = events[-2]["payload"]
    assert outputs["nodeId"] == "__WORKFLOW_INTERFACE_OUTPUTS__"
    assert outputs["output"]["out"]["type"] == "stream_placeholder"
    assert set(update["payload"]) == {"runningExecutions", "pendingExecutions"}


async def test_ping_is_answered_with_the_time_and_changes_nothing(shared: Any) -> None:
    """A page in a browser learns by it that the network is gone, and what time it is at the gateway."""
    async with socket_to(shared.ws_url) as socket:
        before = time.time() * 1000
        await say(socket, "PING")
        pong = await hear(socket, "PONG")
        assert (pong["seq"], pong["payload"]) == (None, {})
        assert before - 1 <= pong["ts"] <= time.time() * 1000 + 1


async def test_subscribe_gives_only_what_comes_after(shared: Any, http: httpx.AsyncClient) -> None:
    run = await submit(http, count_graph())
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", promptId=run)
        told = (await hear(socket, "SUBSCRIBED"))["payload"]
        everything = await hear_run(socket, run)
        assert told["lastSeq"] == len(everything)
        await say(socket, "SUBSCRIBE", promptId=run, after=4, logId=told["logId"])
        assert await hear_run(socket, run) == everything[4:]
        await say(socket, "SUBSCRIBE", promptId=run, after=4, logId="another log")
        assert await hear_run(socket, run) == everything


async def test_long_text_of_a_stream_has_its_address_also_in_live_frames(shared: Any, http: httpx.AsyncClient) -> None:
    graph = count_graph(30)
    graph["nodes"][0]["inputs"]["pad"] = 1000
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", promptId="of whatever run")
        await hear(socket, "error")
        await say(socket, "PROMPT_REQUEST", **graph)
        run = (await hear(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"]
        events = await hear_run(socket, run)
    output = next(event["payload"]["output"] for event in events if event["type"] == "NODE_COMPLETE")
    reference = output["stream"]["text"]
    assert (reference["url"], output["stream"]["chunks"]) == (f"/api/prompt/{run}/outputs/n/stream", 30)
    whole = (await http.get(reference["url"])).json()
    assert len(whole["text"]) == 30_000
    status = (await http.get(f"/api/prompt/{run}")).json()
    assert status["nodeStatus"]["n"]["output"]["stream"]["text"] == reference
    assert "differs" not in status


async def test_batch_subscription_gets_arrays(shared: Any, http: httpx.AsyncClient) -> None:
    run = await submit(http, count_graph(200))
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", promptId=run, batch=True)
        last = (await hear(socket, "SUBSCRIBED"))["payload"]["lastSeq"]
        events: list[Json] = []
        messages = 0
        while len(events) < last:
            frame = json.loads(await socket.recv())
            if isinstance(frame, list):
                events += frame
                messages += 1
    assert [event["seq"] for event in events] == list(range(1, last + 1))
    assert messages < last / 10


async def test_two_runs_on_one_socket_and_unsubscribe(shared: Any, http: httpx.AsyncClient) -> None:
    async with socket_to(shared.ws_url) as socket:
        first = await submit(http, count_graph(20, 0.02), wait=False)
        second = await submit(http, count_graph(), wait=False)
        await say(socket, "SUBSCRIBE", promptId=first)
        await say(socket, "SUBSCRIBE", promptId=second)
        await hear(socket, "SUBSCRIBED")
        await hear(socket, "SUBSCRIBED")
        await say(socket, "UNSUBSCRIBE", promptId=first)
        await hear_run(socket, second)
        await http.post("/api/prompt", json={**count_graph(), "wait": 10})
        await say(socket, "SUBSCRIBE", promptId=first)
        told = await hear(socket, "SUBSCRIBED")
        assert told["payload"]["promptId"] == first
        events = await hear_run(socket, first)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


async def test_interrupt_request_ends_the_run(shared: Any) -> None:
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "PROMPT_REQUEST", **count_graph(kind="Hold"))
        run = (await hear(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"]
        await hear(socket, "NODE_EXECUTING")
        await say(socket, "INTERRUPT_REQUEST", promptId=run)
        events = await hear_run(socket, run)
    assert events[-1]["payload"]["status"] == "interrupted"
    assert [event["type"] for event in events].count("NODE_INTERRUPTED") == 1
    assert not [event for event in events if event["payload"].get("nodeId") == "__WORKFLOW_INTERFACE_OUTPUTS__"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "malformed_json"),
        ('{"type": "SUBSCRIBE", "payload": ' + "[" * 500 + "]" * 500 + "}", "document_too_deep"),
        ("[]", "bad_request"),
        ('{"type": "no_such", "payload": {}}', "unknown_message_type"),
        ('{"type": "list_workflows"}', "unknown_message_type"),
        ('{"type": "SUBSCRIBE", "payload": {"promptId": "nope"}}', "run_not_found"),
        ('{"type": "SUBSCRIBE", "payload": {"promptId": "nope", "after": -1}}', "bad_request"),
        ('{"type": "INTERRUPT_REQUEST", "payload": {"promptId": "nope"}}', "run_not_found"),
        ('{"type": "PROMPT_REQUEST", "payload": {"nodes": "x", "requestId": "r"}}', "invalid_workflow"),
    ],
)
async def test_bad_message_is_answered_and_the_socket_stays_open(shared: Any, text: str, code: str) -> None:
    async with socket_to(shared.ws_url) as socket:
        await socket.send(text)
        error = (await hear(socket, "error"))["payload"]
        assert error["code"] == code
        assert error["message"]
        await say(socket, "button_click", nodeId="n", buttonName="b")
        await say(socket, "SUBSCRIBE", promptId="still there")
        assert (await hear(socket, "error"))["payload"]["promptId"] == "still there"


async def test_after_beyond_the_end_is_an_error(shared: Any, http: httpx.AsyncClient) -> None:
    run = await submit(http, count_graph())
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", promptId=run, after=10_000)
        assert (await hear(socket, "error"))["payload"]["code"] == "after_beyond_end"


async def test_client_that_floods_is_sent_away(shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_socket, "BURST_MESSAGES", 5)
    monkeypatch.setattr(client_socket, "MESSAGES_PER_S", 1.0)
    async with socket_to(shared.ws_url) as socket:
        for _ in range(10):
            await say(socket, "button_click", nodeId="n", buttonName="b")
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4429


async def test_subscribing_again_and_again_ends_what_came_before(shared: Any, http: httpx.AsyncClient) -> None:
    run = await submit(http, count_graph(2000))
    async with socket_to(shared.ws_url) as socket:
        for batch in (False, True, False, True, False):
            await say(socket, "SUBSCRIBE", promptId=run, batch=batch)
        frames: list[Json] = []
        async with asyncio.timeout(30):
            while not frames or not is_final(frames[-1]):
                found = json.loads(await socket.recv())
                frames += found if isinstance(found, list) else [found]
    begun = [index for index, frame in enumerate(frames) if frame["type"] == "SUBSCRIBED"]
    assert len(begun) == 5
    for start, end in zip(begun, [*begun[1:], len(frames)], strict=True):
        seqs = [frame["seq"] for frame in frames[start + 1 : end] if frame["seq"] is not None]
        assert seqs == list(range(1, len(seqs) + 1))


async def test_one_client_too_many_is_told_to_come_later(shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with socket_to(shared.ws_url) as one, socket_to(shared.ws_url) as other:
        monkeypatch.setattr(client_socket, "MAX_CLIENTS", 2)
        await say(other, "SUBSCRIBE", promptId="nope")
        await hear(other, "error")
        async with socket_to(shared.ws_url) as third:
            with pytest.raises(ConnectionClosed) as closed:
                await third.recv()
        await say(one, "SUBSCRIBE", promptId="nope")
        await hear(one, "error")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013


async def test_request_id_longer_than_a_name_is_not_echoed(shared: Any) -> None:
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", promptId="x" * 100_000, requestId="r" * 100_000)
        text = json.dumps(await hear(socket, "error"))
    assert len(text) < 500


# --- SSE ----------------------------------------------------------------------------------------------------------


def parse_sse(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if "id: " in block]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


async def test_sse_gives_all_events_and_ends_with_the_run(http: httpx.AsyncClient) -> None:
    run = await submit(http, count_graph(10, 0.01), wait=False)
    answer = await http.get(f"/api/prompt/{run}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = parse_sse(answer.text)
    frames = [json.loads(event["data"]) for event in events]
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert [event["event"] for event in events] == [frame["type"] for frame in frames]
    assert is_final(frames[-1])


async def test_sse_goes_on_behind_last_event_id(http: httpx.AsyncClient) -> None:
    run = await submit(http, count_graph())
    events = parse_sse((await http.get(f"/api/prompt/{run}/events")).text)
    url = f"/api/prompt/{run}/events"
    rest = await http.get(url, headers={"Last-Event-ID": events[2]["id"]})
    assert parse_sse(rest.text) == events[3:]
    assert parse_sse((await http.get(url, params={"after": 3})).text) == events[3:]
    other_log = await http.get(url, headers={"Last-Event-ID": "gone:3"})
    assert parse_sse(other_log.text) == events
    assert (await http.get(url, headers={"Last-Event-ID": events[-1]["id"]})).status_code == 204
    assert (await http.get(url, params={"after": 999})).status_code == 409
