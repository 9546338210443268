"""The requests, scripts and workflows of the pages for users in docs/, at a real gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from innkeeper.gateway import errors
from innkeeper.gateway.api.control import MAX_ANSWER_BYTES
from innkeeper.gateway.api.middleware import BODY_BYTES_PER_S, BODY_S
from innkeeper.gateway.api.prompts import MAX_KEY_CHARS, MAX_WAIT_S
from innkeeper.gateway.process.uvicorn_config import MAX_FRAME_BYTES
from innkeeper.gateway.realtime import client_socket, whole_values
from innkeeper.gateway.runs import refusals, socket_runs
from innkeeper.gateway.runs.external_events import MAX_DATA_BYTES
from tests.docs.pages import DOCS, ROOT, code_blocks, examples, table_rows
from tests.gateway.conftest import Stack
from tests.gateway.contract import document

Json = dict[str, Any]
SAYS = examples()
HTTP_PAGE = (DOCS / "http-api.md").read_text()
WS_PAGE = (DOCS / "websocket.md").read_text()
ORIGIN = "https://example.org"
ADDRESS = "127.0.0.1:8090"
WAITING = {
    "nodes": [
        {"id": "check", "type": "core:Approval"},
        {"id": "paid", "type": "core:WaitForEvent", "configValues": {"name": "payment"}},
        {"id": "never", "type": "core:WaitForEvent", "configValues": {"name": "never"}},
    ]
}


@pytest.fixture(scope="module")
async def stack(temporal: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack with the workflow `greeting` in its library, and the channels of the examples."""
    stack = Stack(temporal, tmp_path_factory.mktemp("documented"), {"allowed_origins": (ORIGIN,)})
    library = stack.data / "shared" / "library" / "workflows"
    library.mkdir(parents=True)
    (library / "greeting.json").write_text(json.dumps(SAYS["flow-greeting"]))
    (stack.data / "channels.yaml").write_bytes((ROOT / "examples" / "channels.yaml").read_bytes())
    async with stack.up():
        yield stack
    stack.close()


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with stack.http() as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where somebody stands who types the commands of the pages."""
    (tmp_path / "greeting.json").write_text(json.dumps(SAYS["flow-greeting"]))
    (tmp_path / "note.txt").write_text("remember the lamp")
    return tmp_path


def commands(heading: str) -> list[str]:
    """The command lines of one section of http-api.md."""
    section = HTTP_PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    text = "".join(code_blocks(section, "console")).replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in text.splitlines()]


async def output_of(stack: Stack, folder: Path, *command: str) -> str:
    """What a program prints, at the gateway of the test instead of the one that the page names."""
    host = stack.url.removeprefix("http://")
    environ = {**os.environ, "no_proxy": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        *(part.replace(ADDRESS, host) for part in command),
        cwd=folder,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, complaints.decode()
    return printed.decode()


async def answers(stack: Stack, folder: Path, heading: str, run: str = "") -> list[str]:
    """What the commands of a section print, in their order; none of it is an error."""
    lines = [re.sub(r"\bRUN\b", run, line) for line in commands(heading)]
    printed = [await output_of(stack, folder, "bash", "-c", line) for line in lines]
    assert [text for text in printed if text.startswith('{"error"')] == []
    return printed


async def finished(http: httpx.AsyncClient, body: Json) -> Json:
    answer = await http.post("/api/prompt", json={**body, "wait": 30})
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    assert found["status"] == "complete", found
    return found


# --- http-api.md ----------------------------------------------------------------------------------------------------


async def test_submitting_gives_ids_and_a_repeated_key_the_same_run(stack: Stack, folder: Path) -> None:
    verdict, accepted, ended = map(json.loads, await answers(stack, folder, "Submit"))
    assert verdict["valid"] is True
    assert accepted.keys() == SAYS["http-accepted"].keys()
    assert (ended["status"], ended["outputs"]) == ("complete", {"text": "Hello Ada!"})
    again = json.loads((await answers(stack, folder, "Submit"))[2])
    assert again["promptId"] == ended["promptId"]


async def test_storing_publishing_comparing_and_taking_out_of_the_bin(
    temporal: Client, tmp_path: Path, folder: Path
) -> None:
    stack = Stack(temporal, tmp_path / "data")
    async with stack.gateway():
        stored, _, _, changed, published, diff, deleted, back = await answers(stack, folder, "Stored workflows")
    stack.close()
    assert [json.loads(text)["version"] for text in (stored, changed, published, back)] == [1, 2, 2, 2]
    assert json.loads(back)["published"] == 1
    assert json.loads(diff)["nodes"]["changed"][0]["changes"] == {
        "inputValues.template": {"from": "Hello {{ input }}!", "to": "Welcome {{ input }}!"}
    }
    assert deleted == ""


async def test_following_and_fetching_outputs(stack: Stack, folder: Path, http: httpx.AsyncClient) -> None:
    run = (await finished(http, {"workflowId": "greeting"}))["promptId"]
    status, events = await answers(stack, folder, "Follow", run)
    assert json.loads(status)["status"] == "complete"
    assert "event: EXECUTION_STATUS_UPDATE" in events
    assert await answers(stack, folder, "Fetch outputs", run) == ["Hello world!", '"Hello world!"']


async def test_steering_a_run_that_waits(stack: Stack, folder: Path, http: httpx.AsyncClient) -> None:
    run = (await http.post("/api/prompt", json=WAITING)).json()["promptId"]
    async with asyncio.timeout(30):
        while True:
            nodes = (await http.get(f"/api/prompt/{run}")).json()["nodeStatus"].values()
            if [node["status"] for node in nodes] == ["waiting"] * 3:
                break
            await asyncio.sleep(0.05)
    _, _, asked, answered, told, stopped = map(json.loads, await answers(stack, folder, "Steer", run))
    assert [approval["approvalId"] for approval in asked["approvals"]] == ["check"]
    assert answered["answer"]["approved"] is True
    assert told["waiting"]
    assert stopped["success"] is True


async def test_events_are_posted_in_both_forms(stack: Stack, folder: Path) -> None:
    for is_repeated in (False, True):
        for told in map(json.loads, await answers(stack, folder, "Events")):
            assert (told["success"], told["name"], told["triggers"]) == (True, "orders.paid", [])
            assert told.get("duplicate", False) is is_repeated


async def test_files_are_written_read_and_deleted(stack: Stack, folder: Path) -> None:
    written, read, deleted = await answers(stack, folder, "Files")
    assert json.loads(written)["path"] == "user://notes/note.txt"
    assert (read, deleted) == ("remember the lamp", "")


async def test_token_of_the_page_is_taken_and_asked_for(temporal: Client, tmp_path: Path, folder: Path) -> None:
    stack = Stack(temporal, tmp_path / "data", {"access_token": "let me in"})
    async with stack.gateway():
        (line,) = commands("Access")
        refused, served = [
            json.loads(await output_of(stack, folder, "bash", "-c", f"INNKEEPER_ACCESS_TOKEN='{token}'; {line}"))
            for token in ("wrong", "let me in")
        ]
    stack.close()
    assert refused["code"] == "unauthorized"
    assert served == {"running": [], "pending": []}


async def test_script_of_the_page_prints_events_and_the_output(stack: Stack, folder: Path) -> None:
    (script,) = code_blocks(HTTP_PAGE, "python")
    printed = (await output_of(stack, folder, sys.executable, "-c", script)).splitlines()
    assert printed[-1] == "complete Hello Grace!"
    assert len(printed) > 5


async def test_error_of_the_page_is_the_one_that_is_sent(http: httpx.AsyncClient) -> None:
    body = {"nodes": [{"id": "way", "type": "core:Branch"}]}
    answer = await http.post("/api/prompt", json=body)
    assert (answer.status_code, answer.json()) == (422, SAYS["http-error"])


async def test_page_of_an_allowed_origin_may_call_and_read(stack: Stack, http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/nodes", headers={"Origin": ORIGIN})
    preflight = await http.options("/api/prompt", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"})
    assert (answer.status_code, preflight.status_code) == (200, 204)
    assert answer.headers["access-control-allow-origin"] == preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in answer.headers
    async with connect(stack.ws_url, origin=ORIGIN, proxy=None) as socket:
        await socket.send('{"type": "SUBSCRIBE", "payload": {"promptId": "nobody"}}')
        assert (await told(socket, "error"))["payload"]["code"] == "run_not_found"


def test_every_code_of_the_table_is_sent_with_its_status() -> None:
    sent: dict[str, set[str]] = {}
    for path in document()["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                sent.setdefault(status, set()).update(response.get("x-error-codes", ()))
    for statuses, codes, _ in table_rows(HTTP_PAGE, "Errors"):
        known = set().union(*(sent[status] for status in statuses.split(", ")))
        assert set(re.findall(r"`([a-z_]+)`", codes.partition(" with ")[0])) <= known, statuses


def test_limits_are_those_of_the_code() -> None:
    rows = {row[0]: row[1] for row in table_rows(HTTP_PAGE, "Limits")}
    assert MAX_ANSWER_BYTES == MAX_DATA_BYTES
    assert f"{MAX_DATA_BYTES:,} bytes" in rows["answer to an approval; data of an event"]
    assert rows["`wait`"] == f"{MAX_WAIT_S:.0f} s"
    assert rows["time for a body"].startswith(f"{BODY_S:.0f} s, and 1 s more for each {BODY_BYTES_PER_S:,} bytes")
    assert f"(1 to {MAX_KEY_CHARS} characters)" in HTTP_PAGE


# --- websocket.md ---------------------------------------------------------------------------------------------------


async def told(socket: ClientConnection, kind: str) -> Json:
    """The next frame of a type."""
    async with asyncio.timeout(30):
        while True:
            frame: Json = json.loads(await socket.recv())
            if frame["type"] == kind:
                return frame


def shape(frame: Json) -> tuple[set[str], set[str]]:
    return set(frame), set(frame["payload"])


async def test_conversation_goes_as_the_page_has_it(stack: Stack) -> None:
    async with connect(stack.ws_url, proxy=None) as socket:
        await socket.send(json.dumps(SAYS["ws-prompt-request"]))
        accepted = await told(socket, "PROMPT_ACCEPTED_RESPONSE")
        assert shape(accepted) == shape(SAYS["ws-prompt-accepted"])
        assert accepted["payload"]["requestId"] == "r1"
        asked = SAYS["ws-subscribe"]
        asked = {**asked, "payload": {**asked["payload"], "promptId": accepted["payload"]["promptId"]}}
        await socket.send(json.dumps(asked))
        assert shape(await told(socket, "SUBSCRIBED")) == shape(SAYS["ws-subscribed"])
        first = await told(socket, "EXECUTION_STATUS_UPDATE")
        assert first["seq"] == 1


async def test_refused_graph_is_told_as_the_page_has_it(stack: Stack) -> None:
    graph = {"nodes": [{"id": "wait", "fullType": "core:Delay"}] * 2, "edges": []}
    async with connect(stack.ws_url, proxy=None) as socket:
        await socket.send(json.dumps({"type": "PROMPT_REQUEST", "payload": graph}))
        run = (await told(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"]
        found = [await told(socket, event["type"]) for event in SAYS["ws-refused"]]
    wanted = [
        {**event, "ts": frame["ts"], "payload": {**event["payload"], "promptId": run}}
        for event, frame in zip(SAYS["ws-refused"], found, strict=True)
    ]
    assert found == wanted


async def test_message_that_is_too_long_ends_the_socket(stack: Stack) -> None:
    async with connect(stack.ws_url, proxy=None) as socket:
        with contextlib.suppress(ConnectionClosed):  # it may end while the message is still on its way
            await socket.send("x" * (MAX_FRAME_BYTES + 1))
        await asyncio.wait_for(socket.wait_closed(), 30)
    assert socket.close_code == 1009


async def test_script_of_the_socket_page_sees_the_end(stack: Stack, folder: Path) -> None:
    (script,) = code_blocks(WS_PAGE, "python")
    printed = (await output_of(stack, folder, sys.executable, "-c", script)).splitlines()
    assert "None PROMPT_ACCEPTED_RESPONSE" in printed
    assert printed[-1].endswith(" EXECUTION_STATUS_UPDATE")


def test_close_codes_and_limits_are_those_of_the_code() -> None:
    rows = {int(row[0]): row[1] for row in table_rows(WS_PAGE, "Close codes")}
    ours = {errors.WS_UNAUTHORIZED, errors.WS_FORBIDDEN, errors.WS_TOO_SLOW, errors.WS_TOO_FAST, errors.WS_TOO_MANY}
    assert rows.keys() == {*ours, client_socket.GOING_AWAY, 1009}
    assert f"{client_socket.MAX_CLIENTS:,} clients" in rows[errors.WS_TOO_MANY]
    burst, rate = client_socket.BURST_MESSAGES, client_socket.MESSAGES_PER_S
    assert rows[errors.WS_TOO_FAST] == f"more than {burst} messages at once, or {rate:g} a second"
    assert f"{MAX_FRAME_BYTES // 1024**2} MB" in rows[1009]
    assert f"follows at most {client_socket.MAX_SUBSCRIPTIONS} runs" in WS_PAGE


def test_limits_for_clients_that_never_subscribe_are_those_of_the_code() -> None:
    page = " ".join(WS_PAGE.split())
    most, together = whole_values.MAX_VALUE_BYTES // 10**6, whole_values.MAX_FRAME_BYTES // 10**6
    assert f"up to {most} MB each and {together} MB an event" in page
    assert f"When {whole_values.MAX_FRAMES} events with whole values" in page
    assert f"for {whole_values.PATIENCE_S:g} s, the next one has references" in page
    assert f"keeps {refusals.BURST} refused runs at once and {refusals.PER_S:g} a second" in page
    assert f"one NODE_ERROR, {refusals.MAX_NODES} nodes at most" in page
    assert f"the newest {socket_runs.MAX_RUNS} open runs" in page
    assert (socket_runs.ENDED_S, "Of runs that ended in the last minute" in page) == (60, True)


# --- workflow-format.md ---------------------------------------------------------------------------------------------


async def test_workflows_of_the_page_give_what_it_says(http: httpx.AsyncClient) -> None:
    greeting, several, switch, group, payload = await asyncio.gather(
        *(finished(http, SAYS[f"flow-{name}"]) for name in ("greeting", "several-edges", "switch", "group", "payload"))
    )
    assert greeting["outputs"] == {"text": "Hello world!"}
    assert several["nodeStatus"]["both"]["output"] == {"merged_text": "two, one"}
    assert switch["outputs"] == {"line": "Stay in: a gloomy day."}
    assert switch["nodeStatus"]["fair"]["reason"] == "branch_not_taken"
    assert group["outputs"] == {"text": "Hello Ada!", "many": ["Hello Ada!", "Hello Grace!"]}
    assert group["nodeStatus"]["greet/hello"]["status"] == "complete"
    assert payload["outputs"] == {"text": "Hello Grace!"}


async def test_fallback_of_the_page_answers_when_the_page_cannot_be_had(http: httpx.AsyncClient) -> None:
    flow = json.loads(json.dumps(SAYS["flow-fallback"]))
    flow["nodes"][0]["inputValues"]["url"] = "http://127.0.0.1:1/"  # no address that nodes may reach
    found = await finished(http, flow)
    assert found["outputs"]["text"].startswith("No page: ")
    assert found["nodeStatus"]["page"]["output"]["$error"].keys() >= {"nodeId", "code", "message", "retryable"}


# --- models.md ------------------------------------------------------------------------------------------------------


async def test_demo_answers_by_address_and_by_channel(http: httpx.AsyncClient) -> None:
    by_address, by_channel = [await finished(http, SAYS[f"models-by-{way}"]) for way in ("address", "channel")]
    assert by_address["nodeStatus"]["answer"]["output"]["response"] == "hello. Say"
    assert by_channel["nodeStatus"]["answer"]["output"]["responseText"] == "hello. Say"
