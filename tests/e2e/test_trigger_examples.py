"""The files of examples/triggers/: applied to a real stack, and each trigger fired as the world would do it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions

pytestmark = pytest.mark.slow

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "triggers"
FILES = sorted(EXAMPLES.glob("*.yaml"))
SECRET = "It's a Secret to Everybody"
TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalStack]:
    async with LocalStack(StackOptions(tmp_path_factory.mktemp("examples"))) as stack:
        yield stack


@pytest.fixture
async def client(stack: LocalStack) -> AsyncIterator[GatewayClient]:
    async with GatewayClient(stack.url) as client:
        yield client


@pytest.fixture(scope="module")
async def applied(stack: LocalStack) -> Json:
    """URLs of the webhooks by the name of their trigger."""
    urls: Json = {}
    for file in FILES:
        code, out, err = await apply(stack, file, "--yes", "--json")
        assert code == 0, err
        told = json.loads(out)
        assert len(told["done"]) == 2
        urls |= told["urls"]
    return urls


async def apply(stack: LocalStack, file: Path, *options: str) -> tuple[int, str, str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("INNKEEPER_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "innkeeper.gateway.cli.main", "triggers", "apply", str(file), *options),
        *("--url", stack.url),
        env=environment | {"GITHUB_SECRET": SECRET},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def trigger_of(client: GatewayClient, name: str) -> Json:
    return next(item for item in await client.triggers.find() if item["name"] == name)


async def first_run(client: GatewayClient, name: str) -> str:
    """The run of the only delivery that has fired, as soon as there is one."""
    (run,) = await fired(client, (await trigger_of(client, name))["id"])
    return run


async def fired(client: GatewayClient, trigger: str) -> list[str]:
    """The runs of a trigger, the newest first, as soon as there is one."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            results = (await client.triggers.results(trigger))["results"]
            if runs := [item["runId"] for item in results if item["outcome"] == "fired"]:
                return runs
            await asyncio.sleep(0.2)


async def ended(client: GatewayClient, run: str) -> Json:
    """The outputs of a run that was only just accepted."""
    async with asyncio.timeout(TIMEOUT_S):
        status = await client.wait(run)
    assert status["status"] == "complete", status
    return dict(status["outputs"])


def text(value: Any) -> str:
    return str(value["text"] if isinstance(value, dict) else value)


def test_there_is_an_example_of_each_kind_that_was_asked_for() -> None:
    assert [file.stem for file in FILES] == ["cards", "failures", "github_issue", "nightly"]


async def test_applied_again_they_change_nothing(stack: LocalStack, client: GatewayClient, applied: Json) -> None:
    before = {item["name"]: item["version"] for item in await client.triggers.find()}
    for file in FILES:
        code, out, _ = await apply(stack, file)
        assert (code, out.splitlines()[-1]) == (0, "what stands is what the file says")
    assert {item["name"]: item["version"] for item in await client.triggers.find()} == before
    assert [item["version"] for item in await client.workflows.find()] == [1] * 4
    for item in await client.triggers.find():
        assert (await client.triggers.get(item["id"])).get("warnings") == []


def signed(body: bytes, delivery: str) -> dict[str, str]:
    """The headers of a delivery of GitHub."""
    return {
        "content-type": "application/json",
        "x-github-event": "issues",
        "x-github-delivery": delivery,
        "x-hub-signature-256": f"sha256={hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}",
    }


async def test_an_issue_is_summarised_and_approved_once(client: GatewayClient, applied: Json) -> None:
    body = json.dumps({"action": "opened", "issue": {"number": 7, "title": "The lamp smokes", "body": None}}).encode()
    url = applied["github-issues"]
    async with httpx.AsyncClient(trust_env=False) as http:
        sent = [await http.post(url, content=body, headers=signed(body, "72d3162e")) for _ in range(2)]
        closed = body.replace(b"opened", b"closed")
        ignored = await http.post(url, content=closed, headers=signed(closed, "82d3162e"))
        forged = await http.post(url, content=closed, headers=signed(body, "92d3162e"))
    assert [answer.status_code for answer in (*sent, ignored, forged)] == [202, 200, 200, 401]
    run = sent[0].json()["runId"]
    assert (sent[1].json()["status"], sent[1].json()["runId"]) == ("duplicate", run)
    assert ignored.json()["status"] == "filtered"
    async with asyncio.timeout(TIMEOUT_S):
        while not (waiting := await client.approvals.find()):
            await asyncio.sleep(0.1)
    assert [(item["promptId"], item["approvalId"]) for item in waiting] == [(run, "check")]
    await client.approvals.answer(run, "check", True, values={"data": "It smokes."})
    outputs = await ended(client, run)
    assert outputs["summary"].startswith("Picture The lamp smokes")
    assert outputs["decision"] == "kept in user://issues/7.txt"
    assert (await client.status(run))["trigger"]["name"] == "github-issues"


async def test_a_card_that_is_put_into_the_folder_is_described(client: GatewayClient, applied: Json) -> None:
    await client.files.put("user://cards-in/wenna.png", ROOT / "examples" / "cards" / "wenna.png")
    outputs = await ended(client, await first_run(client, "cards"))
    assert outputs["description"].startswith("Picture Wenna Tarrow")
    assert outputs["path"] == "user://descriptions/user-cards-in-wenna.png.txt"


@pytest.mark.slow
async def test_the_story_of_the_night_is_told(client: GatewayClient, applied: Json) -> None:
    trigger = await trigger_of(client, "nightly")
    moment = "2030-01-31T01:30:00.000Z"
    tried = await client.triggers.test(trigger["id"], {"schedule": {"scheduledAt": moment}}, run=True)
    assert (tried["outcome"], tried["inputs"]) == ("fired", {"moment": moment})
    outputs = await ended(client, tried["runId"])
    assert text(outputs["story"]).startswith("It began in")
    assert outputs["path"] == "user://stories/2030-01-31.txt"
    times = (await client.triggers.preview(trigger["id"], count=3))["times"]
    assert [time.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ").tm_min for moment in times] == [30] * 3


@pytest.mark.slow
async def test_the_clock_itself_fires_a_schedule(client: GatewayClient, applied: Json) -> None:
    nightly = await trigger_of(client, "nightly")
    often = {"interval": {"everySeconds": 1}}
    made = await client.triggers.create(
        {"name": "often", "kind": "schedule", "workflow": nightly["workflow"], "mapping": nightly["mapping"],
         "schedule": often}
    )  # fmt: skip
    runs = await fired(client, made["id"])
    await client.triggers.delete(made["id"], etag="*")
    assert text((await ended(client, runs[-1]))["story"]).startswith("It began in")


async def test_a_run_that_fails_is_reported_and_its_report_is_not(client: GatewayClient, applied: Json) -> None:
    node = {"id": "save", "type": "core:SaveText", "inputValues": {"text": "x", "path": "user://../up.txt"}}
    failing = await client.submit({"id": "failing", "name": "Failing", "nodes": [node], "edges": []})
    assert (await client.wait(failing))["status"] == "error"
    outputs = await ended(client, await first_run(client, "failures"))
    assert outputs["line"].startswith(f"Run {failing} of Failing ended as error: ")
    assert outputs["path"] == f"user://failures/{failing}.txt"
