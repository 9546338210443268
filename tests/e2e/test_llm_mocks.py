"""Two model servers that others wrote, through the real stack: faults are survived, and asked again as they should be.

`llmock` judges its clients: whether they wait as long as asked, give up what cannot succeed, and notice a stream that
is cut.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from llmock.pytest_plugin import LLMock

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.process.temporal_server import free_port

pytestmark = pytest.mark.slow
Json = dict[str, Any]
QUICK = {"initialSeconds": 0.2, "maximumSeconds": 1}


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalStack]:
    env = {"INNKEEPER_ALLOW_LOOPBACK": "1"}
    async with LocalStack(StackOptions(tmp_path_factory.mktemp("mocks"), env=env)) as running:
        yield running


def node(base_url: str, *, stream: bool, **more: Any) -> Json:
    inputs = {
        "api_settings": {"base_url": base_url, "api_key": "sk-test"},
        **{"model": "gpt-4o-mini", "system_prompt": "", "prompt": "Say hello to the keeper of the inn"},
        "stream": stream,
    }
    return {"id": "ask", "fullType": "core:OpenAI", "inputs": inputs, "retry": QUICK, **more}


async def played(stack: LocalStack, asked: Json) -> Json:
    """The node's entry in the status of a run that has ended."""
    async with GatewayClient(stack.url) as client, asyncio.timeout(60):
        id = await client.submit({"nodes": [asked], "edges": []})
        async for _ in client.events(id):
            pass
        entry: Json = (await client.status(id))["nodeStatus"]["ask"]
        return entry


FAULTS: dict[str, tuple[Callable[[LLMock], Any], int]] = {
    "a rate limit that says how long": (lambda mock: mock.rate_limit(times=2, retry_after=0.5), 3),
    "an error of the server": (lambda mock: mock.fail(500, times=2), 3),
    "no room": (lambda mock: mock.fail(503, times=1), 2),
}
STREAM_FAULTS: dict[str, tuple[Callable[[LLMock], Any], int]] = {
    "a connection that breaks off": (lambda mock: mock.disconnect(after_chunks=2), 2),
    "a stream that ends quietly": (lambda mock: mock.truncate(after_chunks=2), 2),
    "a stream that stands still": (lambda mock: mock.stall(after_chunks=1, seconds=30), 2),
}


@pytest.mark.parametrize(
    ("fault", "stream"),
    [*((name, mode) for name in FAULTS for mode in (False, True)), *((name, True) for name in STREAM_FAULTS)],
)
async def test_a_fault_is_survived_as_its_judge_wants_it(
    stack: LocalStack, llmock: LLMock, fault: str, stream: bool
) -> None:
    begin, requests = {**FAULTS, **STREAM_FAULTS}[fault]
    begin(llmock)
    entry = await played(stack, node(llmock.base_url(), stream=stream, timeoutSeconds=3))
    assert entry["status"] == "complete", entry
    assert entry["output"]["response"]
    assert entry["output"]["finish_reason"] == "stop"
    assert len(await asyncio.to_thread(lambda: llmock.requests)) == requests
    await asyncio.to_thread(llmock.assert_resilient)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("begin", "code"),
    [
        (lambda mock: mock.context_overflow(times=None), "context_length_error"),
        (lambda mock: mock.fail(401, times=None), "authentication_error"),
        (lambda mock: mock.fail(404, times=None, message="no such model"), "not_found_error"),
    ],
)
async def test_what_cannot_succeed_is_asked_once(
    stack: LocalStack, llmock: LLMock, begin: Callable[[LLMock], Any], code: str, stream: bool
) -> None:
    begin(llmock)
    entry = await played(stack, node(llmock.base_url(), stream=stream))
    assert (entry["status"], entry["error"]["code"]) == ("error", code)
    assert len(await asyncio.to_thread(lambda: llmock.requests)) == 1
    await asyncio.to_thread(llmock.assert_resilient)


async def test_an_answer_is_data_for_a_schema_after_one_repair(stack: LocalStack, llmock: LLMock) -> None:
    llmock.reply('{"age": "old"}').reply('```json\n{"age": 40, "name": "Bo"}\n```')
    channels = {"channels": [{"id": "mock", "baseUrl": llmock.base_url(), "supportedModels": ["m"]}]}
    (stack.options.data_dir / "channels.yaml").write_text(json.dumps(channels))
    properties = {"name": {"type": "string"}, "age": {"type": "integer"}}
    inputs = {
        "messages": [{"role": "user", "content": "Who keeps the inn?"}],
        "activated_model_id": "m",
        "responseSchema": {"type": "object", "properties": properties, "required": ["name", "age"]},
    }
    entry = await played(stack, {"id": "ask", "fullType": "core:GenericLlmRequest", "inputs": inputs})
    assert entry["status"] == "complete", entry
    assert list(entry["output"]["data"].items()) == [("name", "Bo"), ("age", 40)]
    assert [warning["code"] for warning in entry["warnings"]] == ["structured_output_asked_again"]


@pytest.fixture
def fakellm(tmp_path: Path) -> Iterator[str]:
    """The base URL of a running `fakellm`."""
    port = free_port()
    rules = [{"name": "inn", "when": {"messages_contain": "keeper"}, "respond": {"content": "Good evening"}}]
    config = tmp_path / "fakellm.yaml"
    config.write_text(json.dumps({"version": 1, "rules": rules}))
    command = (sys.executable, "-c", "from fakellm.cli import main; main()")
    process = subprocess.Popen([*command, "serve", "--port", str(port), "--config", str(config)])
    yield f"http://127.0.0.1:{port}/v1"
    process.kill()
    process.wait()


async def listening(url: str) -> None:
    async with httpx2.AsyncClient() as client, asyncio.timeout(20):
        while True:
            try:
                await client.get(url)
                return
            except httpx2.TransportError:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_second_server_is_understood(stack: LocalStack, fakellm: str, stream: bool) -> None:
    await listening(fakellm)
    entry = await played(stack, node(fakellm, stream=stream))
    assert entry["status"] == "complete", entry
    assert (entry["output"]["response"], entry["output"]["finish_reason"]) == ("Good evening", "stop")
