"""Channels and models over HTTP, with a real gateway: what the file says, never a key, and no changes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.api.test_users import with_channels
from tests.gateway.conftest import Stack


@pytest.fixture
async def web(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with stack.gateway(), stack.http() as client:
        yield client


async def test_without_a_file_there_is_the_protocol_alone(web: httpx.AsyncClient) -> None:
    assert (await web.get("/api/llm/providers")).json() == [{"id": "openai", "name": "OpenAI-compatible"}]
    for name in ("channels", "models"):
        assert (await web.get(f"/api/llm/{name}")).json() == []


async def test_channels_are_listed_without_their_keys(stack: Stack, web: httpx.AsyncClient) -> None:
    secret = with_channels(stack.data)
    answer = await web.get("/api/llm/channels")
    main, second, local = answer.json()
    assert main == {
        "id": "main", "userId": "default_user", "label": "Main", "providerId": "openai", "adapterType": "openai",
        "baseUrl": "https://a.example/v1", "apiKey": "***", "storageMode": "encrypted", "supportedModels": [],
        "disabled": False, "createdAt": "2026-01-02T03:04:05.000Z",
    }  # fmt: skip
    assert (second["label"], second["apiKey"], second["supportedModels"]) == ("second", "***", ["m1"])
    assert (local["apiKey"], local["disabled"], "createdAt" in local) == ("", True, False)
    for hidden in ("verysecret", secret, "SOME_API_KEY"):
        assert hidden not in answer.text


async def test_models_are_listed_as_the_file_has_them(stack: Stack, web: httpx.AsyncClient) -> None:
    with_channels(stack.data)
    assert (await web.get("/api/llm/models")).json() == [
        {"modelId": "m1", "userId": "default_user", "displayName": "First", "capabilities": ["chat", "llm"],
         "modelType": "llm", "tags": ["fast"]},
        {"modelId": "e1", "userId": "default_user", "displayName": "e1", "capabilities": ["embedding"],
         "modelType": "embedding", "tags": [], "groupName": "g", "defaultChannelRef": "main"},
    ]  # fmt: skip
    for channel, models in (("main", ["m1", "e1"]), ("second", ["m1"])):
        found = await web.get(f"/api/llm/channels/{channel}/list-models")
        assert [model["id"] for model in found.json()] == models
    assert (await web.get("/api/llm/channels/none/list-models")).status_code == 404


async def test_file_with_an_error_is_told_with_its_line(stack: Stack, web: httpx.AsyncClient) -> None:
    (stack.data / "channels.yaml").write_text("channels:\n  - {id: a, baseUrl: 'ftp://x', apiKey: 'sk-verysecret'}\n")
    for url in ("channels", "models", "channels/a/list-models"):
        answer = await web.get(f"/api/llm/{url}")
        assert (answer.status_code, answer.json()["code"]) == (409, "channels_unusable")
        assert "line 2" in answer.json()["error"]
        assert "verysecret" not in answer.text
    assert (await web.get("/api/auth/current")).json()["currentUser"]["externalCredentials"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "channels"), ("PUT", "channels/a"), ("DELETE", "channels/a"), ("POST", "channels/a/discover-models"),
        ("POST", "models"), ("PUT", "models/org%2Fm1"), ("DELETE", "models/org%2Fm1"),
    ],
)  # fmt: skip
async def test_changes_are_refused_with_the_place_to_make_them(http: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await http.request(method, f"/api/llm/{path}", json={"apiKey": "sk-x"})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_editable")
    assert "channels.yaml" in answer.json()["error"]
