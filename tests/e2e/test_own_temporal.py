"""Innkeeper on a Temporal server of somebody else: bare, behind TLS, with everything encrypted that it is given."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from temporalio.client import Client

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.deliveries.schedules import schedule_id
from innkeeper.gateway.process.temporal_access import TemporalUnfit, connected
from innkeeper.nodes.services.payload_keys import PAYLOAD_KEYS_FILE, add_payload_key
from innkeeper.workflows.connection import connect_config
from tests.conftest import temporal_binary
from tests.e2e.own_temporal import Certificates, bare_server, make_certificates, tls_in_front
from tests.e2e.test_control import edge, node, until
from tests.e2e.test_up import INNKEEPER, STORY, TIMEOUT_S, Up, environment

pytestmark = pytest.mark.slow

Json = dict[str, Any]
TOKEN = "token-of-the-own-temporal"
NAMESPACE = "inn"
WORDS = "the lantern is red"
OF_THE_SDK = {("details", "patch-data"), ("details", "data")}
"""What markers hold beside values: names of patches, numbers and times of local activities."""


@dataclass(frozen=True)
class Own:
    """A server, as its operator and as its clients reach it."""

    bare: str
    tls: str
    certificates: Certificates

    def environment(self, **more: str) -> dict[str, str]:
        """What a user of Innkeeper sets."""
        return {
            **{name: value for name, value in environment().items() if not name.startswith("TEMPORAL_")},
            **self.certificates.environment(),
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "TEMPORAL_ADDRESS": self.tls,
            "INNKEEPER_NAMESPACE": NAMESPACE,
            "INNKEEPER_ACCESS_TOKEN": TOKEN,
            **more,
        }


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Own]:
    folder = tmp_path_factory.mktemp("own")
    certificates = make_certificates(folder)
    with bare_server(folder) as bare:
        async with tls_in_front(bare, certificates) as tls:
            yield Own(bare, tls, certificates)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own-data") / "data"


async def said(own: Own, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """What a command says; beside the loop, on which the TLS runs."""
    command = [*INNKEEPER, *map(str, arguments)]
    return await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=own.environment(**env),
    )


@pytest.fixture(scope="module")
async def made(own: Own, data: Path) -> Json:
    """What `innkeeper setup` says."""
    done = await said(own, "setup", "--data-dir", data, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: Json = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
async def up(own: Own, data: Path, made: Json) -> AsyncIterator[Up]:
    """`innkeeper up` on the server, which has been set up."""
    started = await asyncio.to_thread(Up, data, env=own.environment())
    yield started
    if started.process.poll() is None:
        await asyncio.to_thread(started.end, signal.SIGTERM)


async def test_server_without_namespace_is_refused_with_the_command_that_mends_it(own: Own, data: Path) -> None:
    refused = await said(own, "up", "--port", "0", "--data-dir", data)
    assert refused.returncode == 1
    assert f"no namespace '{NAMESPACE}': run 'innkeeper setup'" in refused.stderr


async def test_without_a_certificate_nothing_answers(own: Own) -> None:
    environ = own.environment(TEMPORAL_TLS_CLIENT_CERT_PATH="", TEMPORAL_TLS_CLIENT_KEY_PATH="")
    with pytest.raises(TemporalUnfit, match=f"no answer from Temporal at {own.tls}, namespace inn, TLS: see"):
        await connected(connect_config(None, NAMESPACE, environ))


async def test_setup_makes_what_is_missing_and_says_where(own: Own, made: Json) -> None:
    assert [step["outcome"] for step in made["steps"]] == ["made", "made"]
    assert made["server"] == f"Temporal at {own.tls}, namespace inn, TLS, client certificate"


async def test_up_starts_no_server_of_its_own(up: Up) -> None:
    assert sorted(up.children()) == ["innkeeper.activities.worker", "innkeeper.gateway.serve"]
    assert [file.name for file in (up.data / "temporal").iterdir()] == ["namespace.json"]


async def test_demo_streams_through_it(up: Up) -> None:
    async with GatewayClient(up.url, TOKEN) as client:
        run = await client.submit(json.loads(STORY.read_text()))
        events = [event async for event in client.events(run)]
        assert (await client.status(run))["status"] == "complete"
    assert len([event for event in events if event["type"] == "NODE_YIELD"]) > 10


@pytest.mark.slow
async def test_stream_goes_on_after_the_death_of_its_worker(up: Up) -> None:
    story = json.loads(STORY.read_text().replace('"demo-describer"', '"demo-describer@100"'))
    async with GatewayClient(up.url, TOKEN) as client:
        run = await client.submit(story)
        is_killed, text = False, ""
        async for event in client.events(run):
            if event["type"] == "NODE_YIELD" and not is_killed:
                is_killed = True
                await killed(up, "innkeeper.activities.worker")
        found = await client.status(run)
        text = await client.fetch(found["outputs"]["story"])
    assert is_killed
    assert found["status"] == "complete"
    assert len(str(text)) > 20


async def killed(up: Up, word: str) -> None:
    """Kill one of the processes of `up`, and wait until another one has taken its place."""
    before = up.children()[word]
    before.kill()
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(psutil.Error):  # it is dying
                if (now := up.children().get(word)) is not None and now.pid != before.pid:
                    return
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_approval_survives_the_death_of_worker_and_gateway(own: Own, up: Up) -> None:
    document = {
        "nodes": [node("ask", "Approval", None, data=WORDS), node("join", "TextMerge")],
        "edges": [edge("ask.approved", "join.text_inputs__0")],
    }
    async with GatewayClient(up.url, TOKEN) as client:
        run = await client.submit(document)
        await until(client, run, "waiting")
        for word in ("innkeeper.activities.worker", "innkeeper.gateway.serve"):
            await killed(up, word)
        await client.approvals.answer(run, "ask", True, comment=WORDS)
        found = await until(client, run, "complete")
    assert WORDS in json.dumps(found["nodeStatus"]["join"])
    history, kept = await histories(own, run)
    assert payloads_in_clear(history) == []
    assert WORDS not in json.dumps(history)
    assert kept["TenantId"] == ["default_user"]


async def test_schedule_fires_and_is_not_written_anew_for_its_encryption(own: Own, up: Up) -> None:
    document = {"id": "merges", "name": "merges", "nodes": [{"id": "roll", "type": "core:RandomNumber"}], "edges": []}
    trigger = {
        "name": "ticks",
        "kind": "schedule",
        "workflow": {"id": "merges"},
        "schedule": {"interval": {"everySeconds": 1}},
    }
    async with httpx.AsyncClient(base_url=up.url, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        assert (await http.post("/api/workflows", json=document)).status_code == 201
        made = (await http.post("/api/triggers", json=trigger)).json()
        url = f"/api/triggers/{made['id']}"
        async with asyncio.timeout(TIMEOUT_S):
            while (await http.get(f"{url}/results")).json()["counters"]["fired"] < 2:
                await asyncio.sleep(0.1)
        changed = await http.put(url, json={**trigger, "labels": {"a": "b"}}, headers={"If-Match": "*"})
        assert changed.status_code == 200, changed.text
        client = await Client.connect(own.bare, namespace=NAMESPACE)
        async with asyncio.timeout(TIMEOUT_S):
            while (fired := (await http.get(f"{url}/results")).json()["counters"]["fired"]) < 4:
                await asyncio.sleep(0.1)
        found = await client.get_schedule_handle(schedule_id(made["id"])).describe()
        assert found.info.last_updated_at is None, fired
        assert (await http.delete(url, headers={"If-Match": "*"})).status_code == 204


async def test_error_of_a_node_is_hidden_in_history_and_told_to_its_user(own: Own, up: Up) -> None:
    file = node("read", "LoadImage", {"imageResource": f"user://{WORDS}.png"})
    async with GatewayClient(up.url, TOKEN) as client:
        run = await client.submit({"nodes": [file], "edges": []})
        found = await until(client, run, "error")
    assert WORDS in json.dumps(found["nodeStatus"]["read"]["error"])
    history, _ = await histories(own, run)
    assert payloads_in_clear(history) == []
    assert WORDS not in json.dumps(history)
    assert "Encoded failure" in json.dumps(history)


@pytest.mark.slow
async def test_command_line_of_temporal_reads_a_history_by_the_codec_endpoint(own: Own, up: Up) -> None:
    async with GatewayClient(up.url, TOKEN) as client:
        run = await client.submit(
            {"nodes": [node("say", "CreateMessage", None, role="user", content=WORDS)], "edges": []}
        )
        await until(client, run, "complete")
    show = [temporal_binary(), "workflow", "show", "--address", own.bare, "--namespace", NAMESPACE]
    show += ["--workflow-id", run, "--output", "json", "--codec-endpoint", f"{up.url}/codec"]
    shown = await asyncio.to_thread(
        subprocess.run, [*show, "--codec-auth", f"Bearer {TOKEN}"], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    texts = [
        base64.b64decode(payload["data"]).decode(errors="replace") for payload in payloads(json.loads(shown.stdout))
    ]
    assert [text for text in texts if WORDS in text]


@pytest.mark.slow
async def test_keys_rotate_while_it_runs_and_replay_reads_all_of_them(own: Own, up: Up) -> None:
    assert add_payload_key(up.data / PAYLOAD_KEYS_FILE) == 2
    await asyncio.sleep(1.1)
    async with GatewayClient(up.url, TOKEN) as client:
        run = await client.submit({"nodes": [node("say", "CreateMessage", None, content="x")], "edges": []})
        await until(client, run, "complete")
    replayed = await said(own, "replay", "--since", "1h", "--json", "--data-dir", up.data)
    report = json.loads(replayed.stdout)
    assert (replayed.returncode, report["broken"]) == (0, []), replayed.stdout
    assert report["replayed"] >= 3
    history, _ = await histories(own, run)
    keys = {payload["metadata"]["encryption-key-id"] for payload in payloads(history) if is_encrypted(payload)}
    assert len(keys) == 1


@pytest.mark.slow
async def test_embedded_server_is_refused_while_runs_are_open_on_this_one(own: Own, up: Up) -> None:
    async with GatewayClient(up.url, TOKEN) as client:
        await client.submit({"nodes": [node("never", "WaitForEvent", {"name": "never"})], "edges": []})
    await asyncio.to_thread(up.end, signal.SIGTERM)
    refused = await said(own, "up", "--port", "0", "--data-dir", up.data, TEMPORAL_ADDRESS="")
    assert refused.returncode == 1
    assert "1 run of this data directory runs on another Temporal server, and would be lost here" in refused.stderr


async def test_no_key_is_in_any_log(own: Own, up: Up) -> None:
    private = own.certificates.path("client.key").read_text().splitlines()[1]
    logs = "".join(file.read_text() for file in (up.data / "logs").iterdir())
    assert f"Temporal at {own.tls}, namespace {NAMESPACE}, TLS, client certificate" in logs
    assert private not in logs
    assert TOKEN not in logs


# --- what Temporal knows --------------------------------------------------------------------------------------------


async def histories(own: Own, run: str) -> tuple[Json, Json]:
    """A run's history as the server's operator sees it, and its search attributes."""
    client = await Client.connect(own.bare, namespace=NAMESPACE)
    handle = client.get_workflow_handle(run)
    described = await handle.describe()
    kept = {pair.key.name: [pair.value] for pair in described.typed_search_attributes}
    return json.loads((await handle.fetch_history()).to_json()), kept


def payloads(value: Any, name: str = "") -> Iterator[Json]:
    """The payloads in a history; headers hold signatures, and search attributes are there to be read."""
    if isinstance(value, list):
        for item in value:
            yield from payloads(item, name)
    elif isinstance(value, dict):
        if "metadata" in value and "encoding" in (value["metadata"] or {}):
            yield value
            return
        for key, item in value.items():
            if key not in ("header", "searchAttributes") and (name, key) not in OF_THE_SDK:
                yield from payloads(item, key)


def is_encrypted(payload: Json) -> bool:
    return base64.b64decode(payload["metadata"]["encoding"]) == b"binary/encrypted"


def payloads_in_clear(history: Json) -> list[Json]:
    return [payload for payload in payloads(history) if not is_encrypted(payload)]
