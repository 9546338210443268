"""Every node of the library once through the real stack: gateway, Temporal server, worker, files on disk."""

from __future__ import annotations

import asyncio
import json
import pkgutil
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from innkeeper.nodes.catalogue.plugins import load_catalogue
from tests.e2e import library_cases
from tests.e2e.library_cases.case import Case
from tests.e2e.library_cases.web import Web, web_server

Json = dict[str, Any]
CASES = [
    case
    for found in pkgutil.iter_modules(library_cases.__path__)
    for case in getattr(import_module(f"{library_cases.__name__}.{found.name}"), "CASES", ())
]


@pytest.fixture(scope="module")
async def web() -> AsyncIterator[Web]:
    async with web_server() as server:
        yield server


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_node_gives_its_outputs(shared: tuple[LocalStack, Path], web: Web, case: Case) -> None:
    stack, data = shared
    names = {"{{BASE}}": stack.url, "{{WEB}}": web.url}
    for path, content in case.files.items():
        # The operator's own files name addresses too; those of users stay as they are.
        write(data, path, replaced(content.decode(), names).encode() if path.startswith("data://") else content)
    document = filled(case, names)
    async with GatewayClient(stack.url) as client, asyncio.timeout(60):
        run = await client.submit(document)
        async for _ in client.events(run):
            pass
        status = await client.status(run)
        for node, word in case.fails.items():
            error = status["nodeStatus"][node]["error"]
            assert word in json.dumps(error), error
        assert status["status"] == ("error" if case.fails else "complete"), status
        for node, outputs in case.expect.items():
            for slot, expected in outputs.items():
                check(await resolved(client, node, slot, status), expected, f"{node}.{slot}")


def test_no_node_is_left_out() -> None:
    played = {node["fullType"] for case in CASES for node in case.nodes}
    assert {node.full_type for node in load_catalogue().get_definitions()} - played == set()


def filled(case: Case, names: dict[str, str]) -> Json:
    document: Json = {"nodes": list(case.nodes), "edges": [edge(text) for text in case.edges]}
    if case.interface_inputs:
        document["interfaceInputs"] = dict(case.interface_inputs)
    filled_in: Json = json.loads(replaced(json.dumps(document), names))
    return filled_in


def replaced(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(name, value)
    return text


def edge(text: str) -> Json:
    (source, slot), (target, into) = (end.split(".") for end in text.split(" > "))
    return {
        "id": text,
        "sourceNodeId": source,
        "sourceHandle": slot,
        "targetNodeId": target,
        "targetHandle": into,
    }


async def resolved(client: GatewayClient, node: str, slot: str, status: Json) -> Any:
    return await client.fetch(status["nodeStatus"][node]["output"].get(slot))


def check(got: Any, expected: Any, place: str) -> None:
    if callable(expected):
        assert expected(got), f"{place}: {got!r}"
    else:
        assert got == expected, place


def write(data: Path, path: str, content: bytes) -> None:
    scheme, _, inner = path.partition("://")
    root = data / {"user": "users/default_user", "data": ""}.get(scheme, scheme)
    file = root / inner
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
