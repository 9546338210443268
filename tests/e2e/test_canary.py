"""One key in as many ways as a user can type it, servers that repeat it, and a search for it wherever it may be kept.

`test_secrets.py` follows several keys that cause errors; here everything succeeds, and the answers repeat the key.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.e2e.test_groups import Library
from tests.e2e.test_secrets import layers
from tests.e2e.test_streams import Json, graph, node

KEY = 'sk-canary/7f "e2" 90b1c'
PLUGIN = """
from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.errors import NodeError

async def spend(inputs, context):
    key = await context.services.secrets.reveal(inputs["key"], host=inputs["host"])
    token = await context.services.secrets.reveal(context.config_values["token"], host=inputs["host"])
    if inputs["fails"]:
        raise NodeError(f"no luck with {key}", details={"token": [token], key: 1}, retryable=False)
    return {"length": len(key + token)}

definition = NodeDefinition(
    type="Spend", category="Canary", display_name="Spend", description="Spends keys.", execute=spend,
    inputs={
        "key": Input("STRING", secret=True),
        "host": Input("STRING"),
        "fails": Input("BOOLEAN", config={"default": False}),
    },
    outputs={"length": Output("INTEGER")}, config_schema={"token": Input("STRING", secret=True)},
)
"""
CHANNELS = """
channels:
  - {{id: one, baseUrl: "{url}", apiKey: "env:CANARY_API_KEY"}}
models:
  - modelId: m
"""


@dataclass
class Parrot:
    """A server that repeats the key it was asked with: in texts, pieces of streams, headers and JSON."""

    url: str = ""
    keys: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        lines = [line for line in head.split("\r\n") if line.lower().startswith("authorization:")]
        key = lines[0].split(" ", 2)[2] if lines else ""
        self.keys.append(key)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = json.loads(body) if body.startswith(b"{") else {}
        parts = self._stream(key) if asked.get("stream") else self._whole(key)
        kind = "text/event-stream" if asked.get("stream") else "application/json"
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nX-Key: {key}\r\nX-Url: {quote(key)}\r\n"
            f"Content-Length: {len(parts)}\r\nConnection: close\r\n\r\n".encode()
            + parts
        )
        await writer.drain()
        writer.close()

    def _whole(self, key: str) -> bytes:
        message = {"role": "assistant", "content": f"Your key is {key}, in a URL {quote(key, safe='')}."}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "echo": {key: [key]}}
        return json.dumps({"id": key, "object": "chat.completion", "model": key, "choices": [choice]}).encode()

    def _stream(self, key: str) -> bytes:
        pieces = [{"content": text} for text in ("Key: ", key[:4], key[4:11], key[11:], f" {key} ", key[:6])]
        choices = [{"index": 0, "delta": piece, "finish_reason": None} for piece in pieces]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        events = [{"id": key, "object": "chat.completion.chunk", "model": "m", "choices": [one]} for one in choices]
        return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + b"data: [DONE]\n\n"


@asynccontextmanager
async def parrot() -> AsyncIterator[Parrot]:
    serving = Parrot()
    server = await asyncio.start_server(serving.handle, "127.0.0.1", 0)
    serving.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        yield serving


@dataclass
class Bench:
    """A stack, and all that its gateway has answered."""

    stack: LocalStack
    http: httpx.AsyncClient
    said: list[bytes] = field(default_factory=list)

    async def get(self, path: str) -> Any:
        return self._noted(await self.http.get(path))

    async def post(self, path: str, body: Any, status: int = 200) -> Any:
        response = await self.http.post(path, json=body)
        assert response.status_code == status, response.text
        return self._noted(response)

    async def run(self, document: Json, **more: Any) -> Json:
        """Submit, watch to the end, and look at every page of the run."""
        answer = await self.post("/api/prompt", {**document, **more, "wait": 20})
        run = answer["promptId"]
        for page in ("", "/events", "/approvals"):
            await self.get(f"/api/prompt/{run}{page}")
        return await self.get(f"/api/history/{run}")

    def _noted(self, response: httpx.Response) -> Any:
        self.said.append(response.content + str(response.headers).encode())
        return response.json() if response.headers["content-type"].startswith("application/json") else None


def ask(id: str, settings: Any = None, kind: str = "OpenAI", **inputs: Any) -> Json:
    said = {"user_input": "x", "system_prompt": ""} if kind == "OpenAIChat" else {"prompt": "x"}
    given = {"api_settings": settings} if settings else {}
    return node(id, f"core:{kind}", **said, **given, **inputs)


def typed(url: str) -> Json:
    """Every way to type a key, in one graph."""
    both = {"base_url": url, "api_key": KEY}
    request = {"url": f"{url}/web", "authorization": f"Bearer {KEY}"}
    generic = {"messages": [{"role": "user", "content": "x"}], "activated_model_id": "m"}
    repeats = {"configValues": {"referencedWorkflowId": "inner"}}
    parts = [KEY[:9], KEY[9:]]
    host = url.split("/")[2]
    nodes = [
        node("slot", "core:APISettings", **both),
        ask("slot_asks"),
        ask("slot_streams", stream=True),
        ask("object", both),
        ask("object_streams", both, stream=True),
        ask("chat", both, kind="OpenAIChat"),
        node("env", "core:APISettings", base_url=url, use_env_vars=True),
        ask("env_asks"),
        node("channel", "core:GenericLlmRequest", **generic),
        node("channel_streams", "core:GenericLlmRequest", stream=True, **generic),
        node("web", "core:HttpRequest", **request),
        node("in", "core:GroupInput"),
        node("interface", "core:APISettings", base_url=url),
        ask("interface_asks"),
        node("joined", "core:TextMerge", text_inputs=parts, separator=""),
        node("wired", "core:APISettings", base_url=url),
        ask("wired_asks"),
        {**node("plugin", "canary:Spend", key=KEY, host=host), "configValues": {"token": KEY}},
        {**node("plugin_fails", "canary:Spend", key=KEY, host=host, fails=True), "configValues": {"token": KEY}},
        {**node("group", "core:NodeGroup", key=KEY, url=url), **repeats},
        {**node("each", "core:ForEach", items=["a", "b"], key=KEY, url=url), **repeats},
        {**node("bypassed", "core:APISettings", **both), "bypassed": True},
        node("approval", "core:Approval", data=both),
        ask("approved_asks"),
        node("shown", "core:Template", template="{{ api_key }} of {{ base_url }}"),
        {**node("extract", "core:JsonExtract", expression="@"), "cache": True},
        # Nobody takes these: they are dropped with a warning.
        node("misspelt", "core:APISettings", base_url=url, apiKey=KEY),
        {**node("unknown", "core:TextMerge", text_inputs=["x"]), "configValues": {"token": KEY}},
        ask("inside", {"base_url": url, "apiKey": KEY}),
    ]
    edges = (
        "slot.api_settings > slot_asks.api_settings",
        "slot.api_settings > slot_streams.api_settings",
        "env.api_settings > env_asks.api_settings",
        "in.key > interface.api_key",
        "interface.api_settings > interface_asks.api_settings",
        "joined.merged_text > wired.api_key",
        "wired.api_settings > wired_asks.api_settings",
        "approval.approved > approved_asks.api_settings",
        "slot.api_settings > shown.values",
        "slot.api_settings > extract.data",
    )
    interface = {"key": {"key": "key", "dataFlowType": "STRING", "config": {"default": ""}}}
    outputs = {
        name: {"sourceNodeId": source, "sourceSlotKey": slot}
        for name, (source, slot) in {
            "text": ("slot_asks", "response"), "stream": ("slot_streams", "stream_output"),
            "raw": ("channel", "response"), "web": ("web", "json"), "history": ("chat", "history"),
        }.items()
    }  # fmt: skip
    declared = {name: {"key": name, "dataFlowType": "WILDCARD"} for name in outputs}
    return graph(nodes, *edges, interfaceInputs=interface, interfaceOutputs=declared, outputInterfaceMappings=outputs)


def inner() -> Json:
    nodes = [node("in", "core:GroupInput"), node("set", "core:APISettings"), ask("ask"), node("go", "core:GroupOutput")]
    edges = ("in.key > set.api_key", "in.url > set.base_url", "set.api_settings > ask.api_settings")
    return graph(nodes, *edges, "ask.response > go.text")


def laundering(url: str, evil: str) -> Json:
    """A graph that takes the key's reference apart and puts it beside an address of its own."""
    template = '{"base_url": "' + evil + '", "api_key": {{ api_key | tojson }}}'
    nodes = [
        node("slot", "core:APISettings", base_url=url, api_key=KEY),
        node("apart", "core:Template", template=template),
        node("together", "core:JsonExtract", expression="@"),
        ask("thief"),
    ]
    edges = ("slot.api_settings > apart.values", "apart.text > together.data", "together.value > thief.api_settings")
    return graph(nodes, *edges)


async def answer_when_asked(bench: Bench) -> None:
    while not (found := (await bench.get("/api/approvals"))["approvals"]):
        await asyncio.sleep(0.05)
    run, approval = found[0]["promptId"], found[0]["nodeId"]
    await bench.get(f"/api/prompt/{run}/approvals/{approval}/data")
    await bench.post(f"/api/prompt/{run}/approvals/{approval}", {"approved": True, "comment": "fine"})


@asynccontextmanager
async def bench(folder: Path, url: str) -> AsyncIterator[Bench]:
    nodes = folder / "plugins" / "canary" / "nodes"
    nodes.mkdir(parents=True)
    (nodes / "spend.py").write_text(PLUGIN)
    (nodes.parent / "plugin.yaml").write_text('name: canary\ndisplayName: C\nversion: "1.0"\nnodes:\n  entry: nodes\n')
    data = folder / "data"
    data.mkdir()
    (data / "channels.yaml").write_text(CHANNELS.format(url=url))
    env = {
        "OPENAI_API_KEY": KEY,
        "CANARY_API_KEY": KEY,
        "INNKEEPER_ENV_KEY_HOSTS": url.split("/")[2],
        "INNKEEPER_ALLOW_LOOPBACK": "1",
    }
    async with (
        LocalStack(StackOptions(data, plugins=(folder / "plugins",), env=env)) as stack,
        httpx.AsyncClient(base_url=stack.url, timeout=40) as http,
    ):
        slots = {key: {"dataFlowType": "STRING"} for key in ("key", "url", "item")}
        Library(stack, data).store("inner", inner(), slots, {"text": {"dataFlowType": "STRING"}})
        yield Bench(stack, http)


async def test_a_key_is_found_nowhere_but_in_the_encrypted_store(tmp_path: Path) -> None:
    async with parrot() as good, parrot() as evil, bench(tmp_path, good.url) as stack:
        document = typed(good.url)
        answering = asyncio.create_task(answer_when_asked(stack))
        first = await stack.run(document, inputs={"key": KEY})
        await answering
        assert_all_spent_it(first, good)
        # Again, in every way in which a run takes over what an earlier one has.
        await stack.run({"nodes": [], **document}, inputs={"key": KEY}, baseRun=first["promptId"], fromNode="slot_asks")
        preview = {"preview": True, "changed": ["extract"], "baseRun": first["promptId"]}
        await stack.run(document, inputs={"key": KEY}, **preview)
        # What must not run at all, and what must not get the key.
        await refused(stack, good.url, evil.url)
        stolen = await stack.run(laundering(good.url, evil.url))
        assert stolen["nodeStatus"]["thief"]["error"]["code"] == "secret_refused", stolen["nodeStatus"]
        assert KEY not in evil.keys
        for page in ("/api/history", "/api/executions", "/metrics", "/api/plugins", "/api/nodes"):
            await stack.get(page)
        histories = [text async for text in histories_of(stack.stack)]
    assert len(histories) > 6
    leaks = [f"history {number}" for number, text in enumerate(histories) if holds_key(text)]
    leaks += [f"answer {number}" for number, text in enumerate(stack.said) if holds_key(text)]
    leaks += [str(file) for file in files(tmp_path / "data") if holds_key(file.read_bytes())]
    assert leaks == []
    assert any((tmp_path / "data" / "secrets").iterdir())
    # Nobody else on this machine may look, either.
    open_ones = [str(file) for file in files(tmp_path / "data") if file.stat().st_mode & 0o077]
    assert open_ones == [str(tmp_path / "data" / "channels.yaml")]


def assert_all_spent_it(run: Json, server: Parrot) -> None:
    """Without that, nothing would be proved."""
    states = {name: told["status"] for name, told in run["nodeStatus"].items()}
    failed = {name for name, state in states.items() if state == "error"}
    assert failed == {"plugin_fails"}, [run["nodeStatus"][name].get("error") for name in failed]
    assert server.keys.count(KEY) >= 15
    assert "***" in run["nodeStatus"]["slot_asks"]["output"]["response"]
    assert run["nodeStatus"]["slot_streams"]["output"]["response"].startswith("Key: *** *** sk-can")
    assert "***" in json.dumps(run["nodeStatus"]["web"]["output"])


async def refused(bench: Bench, url: str, evil: str) -> None:
    reference = (await bench.run(graph([node("s", "core:APISettings", base_url=url, api_key=KEY)])))["nodeStatus"]["s"]
    stolen = reference["output"]["api_settings"]["api_key"]
    assert set(stolen) == {"$secret"}
    for settings, code in (
        ({"base_url": evil, "api_key": stolen}, "secret_refused"),
        ({"base_url": url, "api_key": {"$secret": KEY}}, "invalid_secret_reference"),
        ({"base_url": url, "api_key": {"$secret": "0" * 64}}, "unknown_secret"),
    ):
        answer = await bench.post("/api/prompt", graph([ask("n", settings)]), status=422)
        assert [problem["code"] for problem in answer["problems"] if problem["level"] == "error"] == [code]
    misplaced = {**node("n", "core:APISettings", base_url=url), "configValues": {"api_key": KEY}}
    answer = await bench.post("/api/prompt", graph([misplaced]), status=422)
    assert "misplaced_secret" in [problem["code"] for problem in answer["problems"]]


async def histories_of(stack: LocalStack) -> AsyncIterator[bytes]:
    client = await Client.connect(stack.temporal_address, namespace="innkeeper")
    async for workflow in client.list_workflows():
        handle = client.get_workflow_handle(workflow.id, run_id=workflow.run_id)
        for event in (await handle.fetch_history()).events:
            yield event.SerializeToString()


def files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file())


def holds_key(data: bytes) -> bool:
    found = forms(KEY)
    return any(form in layer for layer in layers(data) for form in found)


def forms(key: str) -> list[bytes]:
    """How a key may look where it was kept: plain, in JSON, in a URL, in UTF-16, in hex, in base64."""
    texts = {key, json.dumps(key)[1:-1], json.dumps(json.dumps(key)[1:-1])[1:-1], quote(key), quote(key, safe="")}
    plain = [text.encode() for text in texts]
    wide = [key.encode(encoding) for encoding in ("utf-16-le", "utf-16-be")]
    coded = [base64.b64encode(b"\0" * shift + key.encode())[4:-4] for shift in range(3)]
    return [*plain, *wide, *coded, key.encode().hex().encode(), key.encode().hex().upper().encode()]


@pytest.mark.parametrize("form", range(len(forms(KEY))))
def test_the_search_finds_every_form(form: int) -> None:
    import zlib

    kept = b'{"key": "' + forms(KEY)[form] + b'"}'
    assert holds_key(kept)
    assert holds_key(b"junk" + zlib.compress(kept))
    assert not holds_key(kept.replace(forms(KEY)[form], b"***"))
