"""What the sender of a webhook is told, on the real gateway with a real worker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.gateway.asking import until
from tests.gateway.conftest import Stack
from tests.gateway.hooking import Hook, hook, store, workflow

Json = dict[str, Any]
COUNT = workflow("hook-counts", "toys:Count", slot="upto", out="stream", isStream=True)
HOLD = workflow("hook-holds", "toys:Hold", slot="gate")
FAIL = workflow("hook-fails", "toys:Fail")
PICTURE = {
    "id": "picture",
    "name": "picture",
    "nodes": [{"id": "n", "type": "toys:Picture"}, {"id": "out", "type": "core:GroupOutput"}],
    "edges": [{"id": "e", "source": "n", "sourceHandle": "image", "target": "out", "targetHandle": "line"}],
    "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "BINARY"}},
}


SHARED = ("mapping", "filter")


async def awaited(http: httpx.AsyncClient, name: str, document: Json | None = None, **fields: Any) -> Hook:
    """A webhook that waits, or streams; `fields` of its answer, or those of `SHARED` of the trigger."""
    if document is not None:
        await store(http, document)
    answer = {key: value for key, value in fields.items() if key not in SHARED}
    part = {"webhook": {"answer": {"mode": "wait", "outputs": ["line"], **answer}}}
    more = {key: value for key, value in fields.items() if key in SHARED}
    if document is not None:
        more["workflow"] = document["id"]
        more.setdefault("mapping", {"what": {"expression": "body.text"}} if "interfaceInputs" in document else {})
    return await hook(http, name, "none", **part, **more)


@pytest.mark.parametrize(
    ("answer", "body", "content_type"),
    [
        ({}, b'"hi"', "application/json"),
        ({"outputs": []}, b'{"line":"hi"}', "application/json"),
        ({"contentType": "text/plain"}, b"hi", "text/plain"),
        ({"contentType": "text/html; charset=utf-8", "status": 201}, b"hi", "text/html"),
    ],
)
async def test_outputs_come_as_the_trigger_says(
    http: httpx.AsyncClient, shared: Stack, answer: Json, body: bytes, content_type: str
) -> None:
    made = await awaited(http, f"outputs {answer}", **answer)
    async with shared.http(event_hooks={}) as made.http:  # a status of the trigger's is in no document
        found = await made.deliver()
    assert (found.status_code, found.content) == (answer.get("status", 200), body)
    assert found.headers["content-type"].startswith(content_type)
    assert found.headers["content-security-policy"].startswith("sandbox")  # a page of a model runs no scripts here
    assert (await until(http, found.headers["innkeeper-run"], "complete"))["outputs"] == {"line": "hi"}


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_comes_without_one(http: httpx.AsyncClient, shared: Stack, status: int) -> None:
    made = await awaited(http, f"bodiless {status}", status=status)
    async with shared.http(event_hooks={}) as made.http:
        found = await made.deliver()
        assert (found.status_code, found.content) == (status, b"")
        await until(made.http, found.headers["innkeeper-run"], "complete")  # over the same connection


async def test_large_values_and_bytes_come_whole(http: httpx.AsyncClient) -> None:
    made = await awaited(http, "large output")
    text = "x" * 100_000
    assert (await made.deliver(json.dumps({"text": text}).encode())).json() == text
    made = await awaited(http, "bytes output", PICTURE, contentType="image/png")
    found = await made.deliver()
    assert (found.content, found.headers["content-type"]) == (b"<script>alert(1)</script>", "image/png")
    made = await awaited(http, "bytes in an object", PICTURE, outputs=[])
    assert (await made.deliver()).json()["line"]["url"].endswith("/line")


async def test_a_run_that_takes_longer_is_named_and_goes_on(http: httpx.AsyncClient, shared: Stack) -> None:
    made = await awaited(http, "slow", HOLD, seconds=1)
    gate = shared.data / "slow-gate"
    found = await made.deliver(json.dumps({"text": str(gate)}).encode())
    assert (found.status_code, found.json()["status"]) == (202, "running")
    gate.touch()
    await until(http, found.json()["runId"], "complete")


async def test_who_waits_learns_why_there_are_no_outputs(http: httpx.AsyncClient) -> None:
    made = await awaited(http, "input is missing")
    found = await made.deliver(b"{}")
    assert (found.status_code, found.json()["code"]) == (422, "run_failed")
    assert "'what'" in found.json()["error"]
    assert "'what'" in (await made.until_result("failed"))["reason"]
    made = await awaited(http, "mapping fails", mapping={"what": {"expression": "sum(body.text)"}})
    found = await made.deliver()
    assert (found.status_code, found.json()["code"]) == (422, "delivery_failed")
    assert [problem["input"] for problem in found.json()["details"]["problems"]] == ["what"]
    made = await awaited(http, "filter fails", filter="body.nothing")
    assert (await made.deliver()).json()["code"] == "delivery_refused"
    made = await awaited(http, "run fails", FAIL)
    found = await made.deliver()
    assert (found.status_code, found.json()["code"]) == (422, "run_failed")
    assert found.json()["details"]["status"] == "error"


async def test_who_does_not_wait_is_not_made_to_send_again_what_cannot_work(http: httpx.AsyncClient) -> None:
    made = await hook(http, "mapping fails quietly", "none", mapping={"what": {"expression": "sum(body.text)"}})
    found = await made.deliver()
    assert (found.status_code, found.json()["status"]) == (200, "failed")
    assert "'what'" in (await made.results())[0]["reason"]
    made = await hook(http, "input is missing quietly", "none")
    assert (await made.deliver(b"{}")).status_code == 202  # the workflow says what it needs when its run is made
    assert "'what'" in (await made.until_result("failed"))["reason"]
    made = await hook(http, "filter fails quietly", "none", filter="body.nothing")
    found = await made.deliver()
    assert (found.status_code, found.json()) == (200, {"status": "refused"})


async def test_copies_get_the_outputs_of_the_first_run(http: httpx.AsyncClient) -> None:
    await store(http)
    part = {"webhook": {"answer": {"mode": "wait", "outputs": ["line"]}}}
    made = await hook(http, "waits again", "standard", **part)
    answers = await asyncio.gather(*(made.deliver() for _ in range(5)))
    answers.append(await made.deliver())
    assert {answer.json() for answer in answers} == {"hi"}
    assert len({answer.headers["innkeeper-run"] for answer in answers}) == 1


async def test_a_rate_is_told_with_the_time_to_wait(http: httpx.AsyncClient) -> None:
    made = await hook(http, "rated", "none", rate={"limit": 1, "perSeconds": 60})
    assert (await made.deliver()).status_code == 202
    found = await made.deliver()
    assert (found.status_code, found.json()["code"]) == (429, "too_many_deliveries")
    assert 1 <= int(found.headers["retry-after"]) <= 60


async def test_filtered_and_skipped_deliveries_are_answered_at_once(http: httpx.AsyncClient, shared: Stack) -> None:
    made = await hook(http, "filtered", "none", filter="body.go == `true`", webhook={"answer": {"mode": "wait"}})
    assert (await made.deliver(b'{"go": false}')).json()["status"] == "filtered"
    await store(http, HOLD)
    made = await hook(http, "skips", "none", workflow="hook-holds", concurrency={"policy": "skip"})
    gate = shared.data / "skip-gate"
    body = json.dumps({"text": str(gate)}).encode()
    run = (await made.deliver(body)).json()["runId"]
    found = await made.deliver(body)
    assert (found.status_code, found.json()["status"], "runId" in found.json()) == (200, "skipped", False)
    gate.touch()
    await until(http, run, "complete")


async def test_a_queued_delivery_is_202_and_starts_later(http: httpx.AsyncClient, shared: Stack) -> None:
    await store(http, HOLD)
    made = await hook(http, "queues", "none", workflow="hook-holds", concurrency={"policy": "queue"})
    gate = shared.data / "queue-gate"
    body = json.dumps({"text": str(gate)}).encode()
    first = (await made.deliver(body)).json()
    second = await made.deliver(body)
    assert (second.status_code, second.json()["status"]) == (202, "queued")
    assert (await http.get(f"/api/prompt/{second.json()['runId']}")).json()["status"] == "queued"
    gate.touch()
    await until(http, first["runId"], "complete")
    await until(http, second.json()["runId"], "complete")


# --- streams --------------------------------------------------------------------------------------------------------


def events_of(text: str) -> list[tuple[str, Json]]:
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("event: ")]
    return [(lines[0][7:], json.loads(lines[1][6:])) for lines in blocks]


async def test_the_text_of_an_output_comes_as_events(http: httpx.AsyncClient) -> None:
    made = await awaited(http, "sse", COUNT, mode="stream")
    found = await made.deliver(b'{"text": 4}')
    assert found.headers["content-type"].startswith("text/event-stream")
    events = events_of(found.text)
    run = found.headers["innkeeper-run"]
    assert events[0] == ("run", {"runId": run})
    assert "".join(data["text"] for kind, data in events if kind == "chunk") == "0 1 2 3 "
    assert sum(kind == "chunk" for kind, _ in events) == 4
    assert events[-1] == ("end", {"runId": run, "status": "complete"})


async def test_the_text_of_an_output_comes_as_plain_text_while_it_is_made(http: httpx.AsyncClient) -> None:
    slow = workflow("hook-counts-slowly", "toys:Count", slot="pause", out="stream", isStream=True)
    made = await awaited(http, "plain", slow, mode="stream", format="text")
    pieces = []
    async with http.stream("POST", made.url, json={"text": 0.3}) as found:
        assert found.headers["content-type"].startswith("text/plain")
        async for piece in found.aiter_text():
            pieces.append(piece)
    assert "".join(pieces) == "0 1 2 "
    assert len(pieces) == 3


async def test_an_output_that_is_no_stream_comes_whole_at_the_end(http: httpx.AsyncClient) -> None:
    made = await awaited(http, "batch as text", mode="stream", format="text")
    assert (await made.deliver()).text == "hi"
    made = await awaited(http, "batch as events", mode="stream")
    events = events_of((await made.deliver()).text)
    assert [kind for kind, _ in events] == ["run", "chunk", "end"]


async def test_a_stream_whose_run_fails_says_so(http: httpx.AsyncClient) -> None:
    made = await awaited(http, "fails as events", FAIL, mode="stream")
    kind, data = events_of((await made.deliver()).text)[-1]
    assert (kind, data["status"]) == ("end", "error")
    made = await awaited(http, "fails as text", FAIL, mode="stream", format="text")
    with pytest.raises(httpx.RemoteProtocolError):  # no text may look whole
        await made.deliver()


async def test_who_leaves_does_not_stop_the_run(http: httpx.AsyncClient, shared: Stack) -> None:
    slow = workflow("hook-counts-slowly", "toys:Count", slot="pause", out="stream", isStream=True)
    made = await awaited(http, "leaves", slow, mode="stream", format="text")
    async with http.stream("POST", made.url, json={"text": 0.3}) as found:
        run = found.headers["innkeeper-run"]
        await anext(found.aiter_raw())
    assert (await until(http, run, "complete"))["outputs"]["line"]["text"] == "0 1 2 "


async def test_copies_of_a_stream_get_all_of_it(http: httpx.AsyncClient) -> None:
    await store(http, COUNT)
    part = {"webhook": {"answer": {"mode": "stream", "outputs": ["line"], "format": "text"}}}
    made = await hook(http, "streams again", "standard", workflow="hook-counts", **part)
    texts = [(await made.deliver(b'{"text": 3}')).text for _ in range(2)]
    assert texts == ["0 1 2 "] * 2


async def test_a_copy_is_answered_also_when_the_first_run_ended_long_ago_or_is_gone(
    http: httpx.AsyncClient, shared: Stack
) -> None:
    await store(http)
    for mode in ("wait", "stream"):
        part = {"webhook": {"answer": {"mode": mode, "outputs": ["line"], "contentType": "text/plain"}}}
        made = await hook(http, f"{mode}s long after", "standard", **part)
        run = (await made.deliver()).headers["innkeeper-run"]
        await until(http, run, "complete")
        await shared.container.log.delete_run(run)  # as retention does after some days
        found = await made.deliver()
        assert (found.status_code, "hi" in found.text, found.headers["innkeeper-run"]) == (200, True, run)
        assert (await http.delete(f"/api/history/{run}")).status_code == 204
        found = await made.deliver()
        assert (found.status_code, found.json()["code"]) == (422, "run_failed")
