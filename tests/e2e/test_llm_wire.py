"""What model servers really send, through the real stack: each case of tests/vectors/llm_wire.json, node by node.

The nodes of many cases are one run. Each kind of node has a server of its own, since a case counts its requests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.nodes.library.math.numbers import trim
from tests.crash.viewer import Viewer
from tests.nodes.services.llm.test_wire_cases import OPEN
from tests.nodes.services.llm.wire_server import Mode, WireServer, wire_cases

Json = dict[str, Any]
MODES: tuple[Mode, ...] = ("stream", "batch")
KINDS = {
    "core:OpenAI": ("response", ("stream", "batch")),
    "core:GenericLlmRequest": ("responseText", ("stream", "batch")),
    "core:OpenAIChat": ("current_output", ("batch",)),
}
"""Node type to the output that holds its text, and the ways it asks."""
FOR_EVER = {
    (case, mode) for case in ("loading", "ra_day", "ra_loop", "ra_zero", "hang") for mode in ("stream", "batch")
} | {("gemini_list", "batch")}
"""Cases that never give an answer; a node waits for them longer than any test."""
FAST = (
    *("ok", "bom", "no_finish_done", "json_for_stream", "sse_for_batch", "surrogate_split", "mistral_parts"),
    *("choices_empty_200", "reasoning_content", "reasoning_only", "tool_calls", "fr_error", "fr_filter", "fr_length"),
    *("n2", "err200_once", "err_code_caps", "err_html200", "vllm_ctx", "pay402", "quota", "gzip200", "param400"),
)
QUICK = {"initialSeconds": 0.05, "maximumSeconds": 0.05}


def refusal(message: str, param: str) -> list[Json]:
    error = {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": "unsupported"}}
    body = json.dumps(error)
    head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return [{"send": head + body}, {"keep": True}]


def refusing_defaults() -> Json:
    """A model that refuses two defaults of the slots, then answers."""
    answers = wire_cases()["ok"]
    refused = [
        refusal("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"),
        refusal("Unsupported value: 'temperature' does not support 0.7 with this model.", "temperature"),
    ]
    return {
        mode: {"responses": [*refused, *answers[mode]["responses"]], "want": answers[mode]["want"]}
        for mode in ("stream", "batch")
    }


CASES = {**wire_cases(), "refuses_defaults": refusing_defaults()}


@dataclass(frozen=True)
class Asked:
    """One node of a run: a case, asked by one type of node in one way."""

    case: str
    kind: str
    mode: Mode

    @property
    def id(self) -> str:
        return f"{self.kind.removeprefix('core:')}.{self.mode}.{self.case}"


def asked(cases: Collection[str]) -> list[Asked]:
    found = []
    for case in cases:
        for kind, (_, modes) in KINDS.items():
            found += [Asked(case, kind, mode) for mode in MODES if mode in modes and mode in CASES[case]]
    return found


class Play:
    """The servers of one run and its nodes."""

    def __init__(self, servers: dict[str, WireServer], channels: Path) -> None:
        self.servers = servers
        self._channels = channels

    def write_channels(self) -> None:
        server = self.servers["core:GenericLlmRequest"]
        channels = [{"id": case, "baseUrl": server.base_url(case), "supportedModels": [case]} for case in CASES]
        self._channels.write_text(json.dumps({"channels": channels}))  # JSON is YAML

    def node(self, one: Asked) -> Json:
        return {"id": one.id, "fullType": one.kind, "inputs": self._inputs(one), "retry": QUICK}

    def _inputs(self, one: Asked) -> Json:
        if one.kind == "core:GenericLlmRequest":
            messages = [{"role": "user", "content": "Hi"}]
            return {"messages": messages, "activated_model_id": one.case, "stream": one.mode == "stream"}
        settings = {"base_url": self.servers[one.kind].base_url(one.case), "api_key": ""}
        words = {"prompt": "Hi", "stream": one.mode == "stream"} if one.kind == "core:OpenAI" else {"user_input": "Hi"}
        # A model of its own: the limit that one case shows would hold back the others.
        return {"api_settings": settings, "model": one.case, "system_prompt": "", **words}

    def count(self, one: Asked) -> int:
        return self.servers[one.kind].count(one.case, one.mode)


@asynccontextmanager
async def playing(data: Path, pace: float = 1.0) -> AsyncIterator[Play]:
    channels = data / "channels.yaml"
    before = channels.read_bytes() if channels.exists() else None
    async with AsyncExitStack() as stack:
        servers = {kind: await stack.enter_async_context(WireServer(CASES, pace=pace)) for kind in KINDS}
        play = Play(servers, channels)
        play.write_channels()
        yield play
    if before is None:
        channels.unlink()
    else:
        channels.write_bytes(before)


def complaints(play: Play, all_asked: list[Asked], status: Json, viewer: Viewer) -> Iterator[str]:
    """What is not as the case wants it."""
    for one in all_asked:
        entry = status["nodeStatus"][one.id]
        expected, requests = wanted(one), play.count(one)
        got = outcome(one, entry)
        if expected not in (got, "!") and not (expected == "!" and got.startswith("!")):
            yield f"{one.id}: expected {expected!r}, got {got!r} ({entry.get('error')})"
        if requests not in allowed_requests(one, got):
            yield f"{one.id}: {requests} requests, expected {allowed_requests(one, got)} ({got!r})"
        if one.mode == "stream" and not got.startswith("!") and viewer.text(one.id) != got:
            yield f"{one.id}: viewers read {viewer.text(one.id)!r}"
        if got and not got.startswith("!") and entry["output"]["finish_reason"] != reason(one):
            yield f"{one.id}: finish_reason {entry['output']['finish_reason']!r}"


def wanted(one: Asked) -> str:
    """The text, or `!` and the code of an error; a bare `!` for any error."""
    match CASES[one.case][one.mode].get("want"):
        case ["text" | "either", text]:
            return str(trim(text)) if one.kind == "core:OpenAIChat" else str(text)
        case ["error", *_]:
            return "!"
    text = OPEN[one.case, one.mode]
    if one.kind == "core:OpenAIChat":
        return trim(text) or "The model's reply was empty."
    return text


def outcome(one: Asked, entry: Json) -> str:
    if entry["status"] != "complete":
        return f"!{(entry.get('error') or {}).get('code')}"
    return str(entry["output"][KINDS[one.kind][0]])


def allowed_requests(one: Asked, got: str) -> tuple[int, ...]:
    match CASES[one.case][one.mode].get("want"):
        case ["error", "final"]:
            return (1,)
        case ["error", "retry"]:
            return (4,)
        case ["error"]:
            return (1, 4)
    if got.startswith("!"):
        return (4,) if one.case == "always503" else (1,)
    return (len(CASES[one.case][one.mode]["responses"]),)


def reason(one: Asked) -> str:
    return {"fr_length": "length", "tool_calls": "tool_calls"}.get(one.case, "stop")


async def run(stack: LocalStack, play: Play, all_asked: list[Asked]) -> tuple[Json, Viewer]:
    viewer = Viewer()
    async with GatewayClient(stack.url) as client:
        id = await client.submit({"nodes": [play.node(one) for one in all_asked], "edges": []})
        async for event in client.events(id):
            viewer.apply(event)
        return await client.status(id), viewer


async def test_what_servers_send_reaches_every_node_as_it_should(shared: tuple[LocalStack, Path]) -> None:
    stack, data = shared
    all_asked = asked([*FAST, "refuses_defaults"])
    async with playing(data) as play, asyncio.timeout(60):
        status, viewer = await run(stack, play, all_asked)
        assert list(complaints(play, all_asked, status, viewer)) == []
        error = status["nodeStatus"]["OpenAIChat.batch.param400"]["error"]
        assert error["code"] == "invalid_request_error"
        assert error["details"]["provider_message"] in error["message"]
        warned = status["nodeStatus"]["GenericLlmRequest.stream.refuses_defaults"]["warnings"]
        assert [warning["code"] for warning in warned] == ["parameter_refused"] * 2


@pytest.fixture(scope="module")
async def wide(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[LocalStack, Path]]:
    """A stack that runs many nodes at once."""
    folder = tmp_path_factory.mktemp("wire")
    env = {"INNKEEPER_ALLOW_LOOPBACK": "1", "INNKEEPER_MAX_ACTIVITIES": "100"}
    async with LocalStack(StackOptions(folder, env=env)) as stack:
        yield stack, folder


ENDING = [name for name, case in CASES.items() if any((name, mode) not in FOR_EVER for mode in case if mode in MODES)]
PARTS = [ENDING[start : start + 16] for start in range(0, len(ENDING), 16)]


@pytest.mark.slow
@pytest.mark.parametrize("names", PARTS, ids=[part[0] for part in PARTS])
async def test_every_case_reaches_every_node_as_it_should(wide: tuple[LocalStack, Path], names: list[str]) -> None:
    stack, data = wide
    all_asked = [one for one in asked(names) if (one.case, one.mode) not in FOR_EVER]
    async with playing(data) as play, asyncio.timeout(90):
        status, viewer = await run(stack, play, all_asked)
        assert list(complaints(play, all_asked, status, viewer)) == []


@pytest.mark.slow
async def test_what_never_answers_is_waited_for_without_haste(wide: tuple[LocalStack, Path]) -> None:
    stack, data = wide
    all_asked = [one for one in asked(CASES) if (one.case, one.mode) in FOR_EVER]
    async with playing(data) as play, GatewayClient(stack.url) as client, asyncio.timeout(60):
        id = await client.submit({"nodes": [play.node(one) for one in all_asked], "edges": []})
        await asyncio.sleep(10)
        status = await client.status(id)
        await client.cancel(id)
        errors = {node: entry.get("error") for node, entry in status["nodeStatus"].items() if "error" in entry}
        # A day is longer than all attempts may take together.
        assert {error["code"] for error in errors.values()} <= {"waiting"}
        assert {node for node, entry in status["nodeStatus"].items() if entry["status"] == "complete"} == set()
        assert {one.id: play.count(one) for one in all_asked if not 1 <= play.count(one) <= 10} == {}
