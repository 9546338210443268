"""`/codec/`: what Temporal's web page and command line ask to read encrypted payloads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payloads
from temporalio.client import Client

from innkeeper.gateway.container import Container
from innkeeper.workflows.payload_codec import data_converter
from tests.gateway.conftest import Stack

UI = "https://temporal.example"
CONSOLE = "https://console.example"
VALUES = ["Once upon", {"b": 1, "a": 2}]


@pytest.fixture(scope="module")
async def stack(temporal: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    options = {
        "payload_encryption": "on",
        "access_token": "right",
        "codec_origins": (UI,),
        "allowed_origins": (CONSOLE,),
    }
    stack = Stack(temporal, tmp_path_factory.mktemp("codec"), options)
    async with stack.gateway():
        yield stack
    stack.close()


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with stack.http(event_hooks={}, headers={"authorization": "Bearer right"}) as client:
        yield client


async def encrypted(container: Container) -> Any:
    payloads = await data_converter(container.codec).encode(VALUES)
    return json_format.MessageToDict(Payloads(payloads=payloads))


async def values_of(answer: httpx.Response) -> list[Any]:
    return await data_converter(None).decode(json_format.ParseDict(answer.json(), Payloads()).payloads)


async def test_payloads_are_decrypted_and_encrypted_again(stack: Stack, http: httpx.AsyncClient) -> None:
    namespace = {"x-namespace": stack.temporal.namespace}
    decoded = await http.post("/codec/decode", json=await encrypted(stack.container), headers=namespace)
    assert (decoded.status_code, await values_of(decoded)) == (200, VALUES)
    again = await http.post("/codec/encode", json=decoded.json(), headers=namespace)
    assert "YmluYXJ5L2VuY3J5cHRlZA==" in again.text  # binary/encrypted
    assert await values_of(await http.post("/codec/decode", json=again.json())) == VALUES


async def test_what_is_not_encrypted_comes_back_as_it_is(http: httpx.AsyncClient) -> None:
    plain = json_format.MessageToDict(Payloads(payloads=await data_converter(None).encode(VALUES)))
    assert (await http.post("/codec/decode", json=plain)).json() == plain


async def test_who_has_no_token_or_means_another_namespace_gets_nothing(stack: Stack, http: httpx.AsyncClient) -> None:
    body = await encrypted(stack.container)
    without = await http.post("/codec/decode", json=body, headers={"authorization": "Bearer wrong"})
    other = await http.post("/codec/decode", json=body, headers={"x-namespace": "other"})
    assert [(answer.status_code, answer.json()["code"]) for answer in (without, other)] == [
        (401, "unauthorized"),
        (403, "request_refused"),
    ]


@pytest.mark.parametrize("body", [b"", b"{", b'{"payloads": 1}', b"\xff"])
async def test_body_that_is_none_is_told(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/codec/decode", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_payload_of_a_key_that_is_gone_is_told(http: httpx.AsyncClient, stack: Stack) -> None:
    body = await encrypted(stack.container)
    body["payloads"][1]["metadata"]["encryption-key-id"] = "MDAwMA=="
    answer = await http.post("/codec/decode", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "payload_keys_unusable")


async def test_page_of_temporal_may_ask_here_and_nowhere_else(stack: Stack, http: httpx.AsyncClient) -> None:
    async def preflight(origin: str, path: str) -> tuple[int, str | None, str]:
        asked = {"origin": origin, "access-control-request-method": "POST"}
        answer = await http.options(path, headers=asked)
        allowed = answer.headers.get("access-control-allow-headers", "")
        return answer.status_code, answer.headers.get("access-control-allow-origin"), allowed

    assert await preflight(UI, "/codec/decode") == (204, UI, "Authorization, Content-Type, X-Namespace")
    assert (await preflight(UI, "/api/prompt"))[:2] == (403, None)
    assert (await preflight(CONSOLE, "/codec/decode"))[:2] == (403, None)
    read = await http.post("/codec/decode", json=await encrypted(stack.container), headers={"origin": UI})
    assert (read.status_code, read.headers["access-control-allow-origin"]) == (200, UI)


async def test_without_an_access_token_nothing_is_decrypted(stack: Stack) -> None:
    open_to_all = Stack(stack.temporal, stack.data.parent / "open", {"payload_encryption": "on"})
    async with open_to_all.gateway(), open_to_all.http(event_hooks={}) as http:
        answer = await http.post("/codec/decode", json=await encrypted(open_to_all.container))
    open_to_all.close()
    assert (answer.status_code, answer.json()["code"]) == (403, "request_refused")
    assert "INNKEEPER_ACCESS_TOKEN" in answer.json()["error"]
