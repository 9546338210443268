"""Keys that get in by every way there is, and a search for them wherever they may come out (`canary/ways.py`).

`test_secrets.py` follows several keys that cause errors; here servers repeat the key, and nodes of a plugin give it
away in every way in which a node can say anything.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.nodes.catalogue.plugins import load_catalogue
from tests.e2e.canary import ways
from tests.e2e.canary.parrot import Parrot, parrot
from tests.e2e.canary.search import CORE, forms, found_in, packed
from tests.e2e.test_groups import Library
from tests.e2e.test_secrets import sealed
from tests.e2e.test_streams import Json, graph, node

PLUGINS = Path(__file__).parent / "canary" / "plugins"
CLI = (sys.executable, "-P", "-m", "innkeeper.gateway.cli.main")
CHANNELS = """
channels:
  - {{id: one, baseUrl: "{url}", apiKey: "env:CANARY_API_KEY"}}
models:
  - modelId: m
"""


@dataclass
class Bench:
    """A stack, and all that was seen of it: place to what was said there."""

    stack: LocalStack
    http: httpx.AsyncClient
    said: dict[str, list[bytes]] = field(default_factory=dict)

    async def get(self, path: str, place: str = "other pages") -> Any:
        return self._noted(await self.http.get(path), place)

    async def post(self, path: str, body: Any, status: int = 200) -> Any:
        response = await self.http.post(path, json=body)
        assert response.status_code == status, response.text
        return self._noted(response, "answers to POST")

    async def run(self, document: Json, *, shown: bool = False, **more: Any) -> Json:
        """Submit, watch to the end, and look at every page of the run."""
        answer = await self.post("/api/prompt", {**document, **more})
        run = answer["promptId"]
        streams: dict[str, list[str]] = {}
        async with GatewayClient(self.stack.url) as client, asyncio.timeout(60):
            async for event in client.events(run):
                self._note("WebSocket", json.dumps(event).encode())
                chunk = event["payload"].get("yieldedContent") or {}
                if isinstance(chunk, dict) and isinstance(chunk.get("content"), str):
                    streams.setdefault(str(event["payload"].get("sourceNodeId")), []).append(chunk["content"])
        for text in streams.values():
            self._note("chunks put together", "".join(text).encode())
        pages = (("", "GET run"), ("/events", "SSE"), ("/approvals", "approvals"), ("/document", "document"))
        for page, place in pages:
            await self.get(f"/api/prompt/{run}{page}", place)
        if shown:  # a process of its own, which takes a while
            for form in ((), ("--json",)):
                await self._show(run, *form)
        found: Json = await self.get(f"/api/history/{run}", "history")
        for path, told in found["nodeStatus"].items():
            if all(part.isidentifier() for part in path.split("/")):
                await self.get(f"/api/prompt/{run}/inputs/{path}", "inputs")
            for slot in told.get("output") or ():
                if slot.isidentifier():
                    await self.get(f"/api/prompt/{run}/outputs/{path}/{slot}", "outputs")
        return found

    async def _show(self, run: str, *options: str) -> None:
        command = (*CLI, "show", run, "--url", self.stack.url, *options)
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
        self._note("show", done.stdout + done.stderr)

    def _noted(self, response: httpx.Response, place: str) -> Any:
        self._note(place, response.content + str(response.headers).encode())
        return response.json() if response.headers["content-type"].startswith("application/json") else None

    def _note(self, place: str, data: bytes) -> None:
        self.said.setdefault(place, []).append(data)


@asynccontextmanager
async def bench(data: Path, url: str) -> AsyncIterator[Bench]:
    data.mkdir()
    (data / "channels.yaml").write_text(CHANNELS.format(url=url))
    env = {
        "OPENAI_API_KEY": ways.key_of("environment"),
        "CANARY_API_KEY": ways.key_of("channel"),
        "INNKEEPER_ENV_KEY_HOSTS": ways.host_of(url),
        "INNKEEPER_ALLOW_LOOPBACK": "1",
        "INNKEEPER_ALLOW_LOOPBACK_HTTP": "1",
    }
    async with (
        LocalStack(StackOptions(data, plugins=(PLUGINS,), env=env)) as stack,
        httpx.AsyncClient(base_url=stack.url, timeout=40) as http,
    ):
        library, types = Library(stack, data), load_catalogue((PLUGINS,))
        for name, (document, inputs, outputs) in ways.stored_workflows(url).items():
            library.store(name, sealed(document, types, data) if name == "saved" else document, inputs, outputs)
        yield Bench(stack, http)


async def test_a_key_is_found_nowhere_but_in_the_encrypted_store(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with parrot() as good, parrot() as evil, bench(data, good.url) as seen:
        exercised = await plugin_ways(seen, good) | await core_ways(seen, good)
        exercised |= await refused_ways(seen, good, evil) | await readable_ways(seen, good)
        exercised |= await callback_ways(seen, good)
        assert not [key for key in evil.keys if CORE in key]
        for page in ("history", "executions", "plugins", "nodes", "approvals", "llm/channels", "llm/channels/own"):
            await seen.get(f"/api/{page}")
        for group in ("node", "channel", "model"):
            await seen.get(f"/api/usage?groupBy={group}")
        await seen.get("/metrics")
        async for history in histories_of(seen.stack):
            seen.said.setdefault("Temporal", []).append(history)
    # Every way of the table was really gone; without that, nothing would be proved.
    table = set(ways.all_ways())
    assert exercised == table
    assert len(table) == 200
    leaks = {
        (place, leak) for place, texts in seen.said.items() for text in texts for leak in found_in(text)
    }  # fmt: skip
    # What somebody wrote into a file by himself is his.
    own = data / "shared" / "library" / "workflows" / "stored.json"
    leaks |= {(str(file), leak) for file in files(data) if file != own for leak in found_in(file.read_bytes())}
    assert not leaks, "\n".join(f"{place}: {leak}" for place, leak in sorted(leaks))
    check_places(seen, data)


def check_places(seen: Bench, data: Path) -> None:
    """What was searched was there."""
    assert {place for place, texts in seen.said.items() if b"***" in b"".join(texts)} >= {
        "WebSocket", "SSE", "GET run", "history", "show", "outputs", "Temporal", "chunks put together",
    }  # fmt: skip
    assert len(seen.said["Temporal"]) > 200
    logs = b"".join(file.read_bytes() for file in (data / "logs").glob("*.log"))
    for line in (b"asked with ***", b"printed ***", b"failed with '***'", b"canary.plugin"):
        assert line in logs, line
    assert ways.OPEN_KEY.encode() not in logs
    assert any((data / "secrets").iterdir())
    # Nobody else on this machine may look, either.
    assert [file.name for file in files(data) if file.stat().st_mode & 0o077] == ["channels.yaml"]


# --- the ways -----------------------------------------------------------------------------------------------------


async def plugin_ways(seen: Bench, server: Parrot) -> set[ways.Way]:
    document = ways.plugin_graph(server.url)
    ended = await seen.run(document, shown=True, inputs={"key": ways.key_of("interface")})
    nodes = dict(ended["nodeStatus"])
    nodes |= (await seen.run({"workflowId": "stored"}))["nodeStatus"]
    nodes |= (await seen.run({"workflowId": "saved"}))["nodeStatus"]
    rerun = ways.rerun_graph(server.url)
    first = await seen.run(rerun, inputs={"key": ways.key_of("typed")})
    again = {"baseRun": first["promptId"], "fromNode": "in", "inputs": {"key": ways.key_of("rerun")}}
    nodes |= (await seen.run(rerun, **again))["nodeStatus"]
    preview = {"preview": True, "changed": ["rerun-text"], "baseRun": first["promptId"]}
    await seen.run(rerun, inputs={"key": ways.key_of("rerun")}, **preview)
    states = {path.rpartition("/")[2]: told for path, told in nodes.items()}
    gone = {
        ways.Way(entry, out)
        for entry, outs in ways.PLUGIN.items()
        for out in outs
        if is_as_expected(states.get(f"{entry}-{out}", {}), out, len(ways.key_of(entry)))
    }
    wanted = {ways.Way(entry, out) for entry, outs in ways.PLUGIN.items() for out in outs}
    assert gone == wanted, {way.node: states.get(way.node) for way in wanted - gone}
    return gone


def is_as_expected(told: Json, out: str, length: int) -> bool:
    """Was the node shown a key of this length before it ended? One that failed says something masked."""
    if out in ways.FAILING:
        return told.get("status") == "error" and ("***" in json.dumps(told["error"]) or out in ("chain", "long_error"))
    if out in ("answer", "stream"):
        return "***" in told["output"]["response"]
    return told.get("status") == "complete" and told["output"]["length"] == length


async def core_ways(seen: Bench, server: Parrot) -> set[ways.Way]:
    document = ways.core_graph(server.url)
    own = {"id": "own", "baseUrl": server.url, "apiKey": ways.CHANNEL_KEY, "supportedModels": ["own"]}
    await seen.post("/api/llm/channels", {**own, "priority": 9}, status=201)
    answering = asyncio.create_task(answer_when_asked(seen))
    before = len(server.keys)
    ended = await seen.run(document, shown=True, inputs={"key": ways.key_of("interface")})
    await answering
    assert len([key for key in server.keys[before:] if CORE in key]) >= 15
    assert server.keys[before:].count(ways.CHANNEL_KEY) == 2
    base = {"baseRun": ended["promptId"], "inputs": {"key": ways.key_of("interface")}}
    await seen.run({"nodes": [], **document}, fromNode="slot-answer", **base)
    await seen.run(document, preview=True, changed=["slot-extract"], **base)
    states = {path: told["status"] for path, told in ended["nodeStatus"].items()}
    wanted = {ways.Way(entry, out) for entry, outs in ways.CORE_NODES.items() for out in outs}
    wanted |= {ways.Way("unused", out) for out in ways.UNUSED}
    failing = dict.fromkeys(("header-status", "object-refused", "object-refused_stream", "channel-data"), "error")
    failing |= {"unused-misspelt_key": "complete", "bypassed-output": "skipped"}
    assert {way.node: states.get(way.node) for way in wanted} == {
        way.node: failing.get(way.node, "complete") for way in wanted
    }
    assert "***" in ended["nodeStatus"]["slot-answer"]["output"]["response"]
    assert ended["nodeStatus"]["slot-stream"]["output"]["response"].startswith("Key: *** *** canary")
    assert "***" in json.dumps(ended["nodeStatus"]["header-body"]["output"])
    assert ended["nodeStatus"]["channel-stream"]["output"]["reasoning"] == "Hm, ***."
    for way, kept in (
        ("object-refused", "provider_message"),
        ("object-refused_stream", "param"),
        ("channel-data", "text"),
    ):
        assert "***" in ended["nodeStatus"][way]["error"]["details"][kept]
    return wanted


async def answer_when_asked(seen: Bench) -> None:
    async with asyncio.timeout(30):
        while not (found := (await seen.get("/api/approvals"))["approvals"]):
            await asyncio.sleep(0.05)
    run, approval = found[0]["promptId"], found[0]["nodeId"]
    await seen.get(f"/api/prompt/{run}/approvals/{approval}/data")
    await seen.post(f"/api/prompt/{run}/approvals/{approval}", {"approved": True, "comment": "fine"})


async def refused_ways(seen: Bench, good: Parrot, evil: Parrot) -> set[ways.Way]:
    settings = graph([node("s", "core:APISettings", **ways.settings_of("refused", good.url))])
    stored = (await seen.run(settings))["nodeStatus"]["s"]["output"]["api_settings"]["api_key"]
    assert set(stored) == {"$secret"}
    codes = {}
    for name, document in ways.refused_graphs(good.url, evil.url, stored).items():
        answer = await seen.post("/api/prompt", document, status=422)
        (codes[name],) = {problem["code"] for problem in answer["problems"] if problem["level"] == "error"}
    stolen = await seen.run(ways.laundering(good.url, evil.url))
    codes["laundered"] = stolen["nodeStatus"]["thief"]["error"]["code"]
    assert codes == ways.REFUSED
    return {ways.Way("refused", name) for name in codes}


async def readable_ways(seen: Bench, server: Parrot) -> set[ways.Way]:
    """They may be in the history, but neither in what nodes say of them nor in logs."""
    document = ways.readable_graph(server.url)
    checked = await seen.post("/api/validate", document)
    warned = {problem["node"] for problem in checked["problems"] if problem["code"] == "readable_secret"}
    ended = await seen.run(document)
    for name in ways.READABLE:
        told = ended["nodeStatus"][name]
        assert told["status"] == "error"
        assert ways.OPEN_KEY not in json.dumps(told["error"])
    return {ways.Way("readable", name) for name in warned}


async def callback_ways(seen: Bench, server: Parrot) -> set[ways.Way]:
    """Others are told of a run, at an address with a key in it, with a signature."""
    document = graph([node("told", "core:TextMerge", text_inputs=["x"])])
    stored = {**document, "id": "tells", "name": "tells", "callback": ways.callback_to(server.url, key_in_query=False)}
    await seen.post("/api/workflows", stored, status=201)
    await seen.get("/api/workflows/tells")
    first = await seen.run(document, callback=ways.callback_to(server.url, key_in_query=True))
    second = await seen.run({"workflowId": "tells"})
    gone = set()
    for ended, names in ((first, ("secret", "query")), (second, ("stored_secret",))):
        async with asyncio.timeout(30):
            while True:
                (callback,) = (await seen.get(f"/api/prompt/{ended['promptId']}"))["callbacks"]
                if [delivery["status"] for delivery in callback["deliveries"]] == ["delivered"]:
                    break
                await asyncio.sleep(0.1)
        gone |= {ways.Way("callback", name) for name in names}
    assert first["callbacks"][0]["url"].endswith("/hook?***")
    return gone


# --- searching ----------------------------------------------------------------------------------------------------


async def histories_of(stack: LocalStack) -> AsyncIterator[bytes]:
    client = await Client.connect(stack.temporal_address, namespace="innkeeper")
    async for workflow in client.list_workflows():
        handle = client.get_workflow_handle(workflow.id, run_id=workflow.run_id)
        for event in (await handle.fetch_history()).events:
            yield event.SerializeToString()


def files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("form", forms())
def test_the_search_finds_every_form_however_it_is_packed(form: str) -> None:
    kept = b'{"key": "' + forms()[form] + b'"}'
    for data in packed(kept).values():
        assert found_in(data)
    for data in packed(kept.replace(forms()[form], b"***")).values():
        assert not found_in(data)
