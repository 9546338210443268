"""Whatever a client sends over its WebSocket: it is taken or refused with a reason, and everybody else is served."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from tests.effort import examples, try_examples
from tests.odd_json import frames

NORMAL: list[Any] = [
    {"type": "SUBSCRIBE", "payload": {"promptId": "none", "after": 0, "logId": "x", "batch": True}, "requestId": "r"},
    {"type": "UNSUBSCRIBE", "payload": {"promptId": "none"}},
    {"type": "INTERRUPT_REQUEST", "payload": {"promptId": "none", "requestId": "r"}},
    {"type": "button_click", "payload": {"nodeId": "n", "buttonName": "b"}},
    {"type": "PROMPT_REQUEST", "payload": {"nodes": [{"id": "a", "fullType": "no:Such", "inputs": {}}], "edges": []}},
]


async def answers_to(url: str, sent: list[bytes]) -> list[Any]:
    """Everything the gateway says to a client that sends this and then asks for a run that is not there."""
    found: list[Any] = []
    async with connect(url, compression=None, proxy=None) as socket, asyncio.timeout(20):
        for data in sent:
            await socket.send(data)
        await socket.send(json.dumps({"type": "SUBSCRIBE", "payload": {"promptId": "none", "requestId": "last"}}))
        while not found or found[-1]["payload"].get("requestId") != "last":
            found.append(json.loads(await socket.recv()))
    return found


async def test_any_frame_is_answered_and_the_next_one_works(
    shared: Any, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()

    async def converse(sent: list[bytes]) -> None:
        found = await answers_to(shared.ws_url, sent)
        assert found[-1]["payload"]["code"] == "run_not_found"
        assert all(frame["payload"]["message"] for frame in found if frame["type"] == "error")
        assert "internal_error" not in [frame["payload"].get("code") for frame in found]

    @examples(160)
    @given(st.lists(frames(NORMAL), min_size=1, max_size=4))
    def check(sent: list[bytes]) -> None:
        asyncio.run_coroutine_threadsafe(converse(sent), loop).result(30)

    await try_examples(check)
    assert (await http.get("/readyz")).status_code == 200
    assert [record.message for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x00\xff\xfe", "malformed_json"),
        (b'{"type": "SUBSCRIBE", "payload": {"promptId": "\\ud800"}}', "run_not_found"),
        (b'{"type": "SUBSCRIBE", "payload": {"promptId": NaN}}', "malformed_json"),
        (b'{"type": "SUBSCRIBE", "payload": {"promptId": "none", "after": 1e400}}', "malformed_json"),
        (b'{"type": "SUBSCRIBE", "payload": {"promptId": "none", "after": 99999999999999999999}}', "bad_request"),
        (b'{"type": ' + b"[" * 500 + b"]" * 500 + b"}", "document_too_deep"),
        (b'{"type": ["SUBSCRIBE"]}', "bad_request"),
        (b'{"type": "SUBSCRIBE", "payload": []}', "bad_request"),
        (b"[]", "bad_request"),
        (b"", "malformed_json"),
    ],
)
async def test_wrong_frame_is_refused_with_its_reason(shared: Any, data: bytes, code: str) -> None:
    first, _ = await answers_to(shared.ws_url, [data])
    assert (first["type"], first["payload"]["code"]) == ("error", code)
