"""Channels and models over HTTP, with a real gateway: what the file says, what users make, and never a key."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from innkeeper.nodes.services.channels import BUILT_IN_ADAPTERS
from tests.gateway.api.test_users import with_channels
from tests.gateway.conftest import Stack


@pytest.fixture
async def web(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with stack.gateway(), stack.http() as client:
        yield client


async def test_without_a_file_there_are_the_protocols_alone(web: httpx.AsyncClient) -> None:
    providers = (await web.get("/api/llm/providers")).json()
    assert {"id": "openai", "name": "OpenAI-compatible"} in providers
    assert [provider["id"] for provider in providers] == list(BUILT_IN_ADAPTERS)
    for name in ("channels", "models"):
        assert (await web.get(f"/api/llm/{name}")).json() == []


async def test_channels_are_listed_without_their_keys(stack: Stack, web: httpx.AsyncClient) -> None:
    secret = with_channels(stack.data)
    answer = await web.get("/api/llm/channels")
    main, second, local = answer.json()
    assert main == {
        "id": "main", "userId": "default_user", "label": "Main", "providerId": "openai", "adapterType": "openai",
        "baseUrl": "https://a.example/v1", "apiKey": "***", "storageMode": "encrypted", "supportedModels": [],
        "disabled": False, "createdAt": "2026-01-02T03:04:05.000Z", "defaultFor": [], "priority": 0, "weight": 1.0,
        "isEditable": False,
    }  # fmt: skip
    assert (second["label"], second["apiKey"], second["supportedModels"]) == ("second", "***", ["m1"])
    assert (local["apiKey"], local["disabled"], "createdAt" in local) == ("", True, False)
    for hidden in ("verysecret", secret, "SOME_API_KEY"):
        assert hidden not in answer.text


async def test_models_are_listed_as_the_file_has_them(stack: Stack, web: httpx.AsyncClient) -> None:
    with_channels(stack.data)
    assert (await web.get("/api/llm/models")).json() == [
        {"modelId": "m1", "userId": "default_user", "displayName": "First", "capabilities": ["chat", "llm"],
         "modelType": "llm", "tags": ["fast"], "isEditable": False},
        {"modelId": "e1", "userId": "default_user", "displayName": "e1", "capabilities": ["embedding"],
         "modelType": "embedding", "tags": [], "isEditable": False, "groupName": "g", "defaultChannelRef": "main"},
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


KEY = "sk-canary-1234567890abcdef"


async def test_a_user_makes_changes_and_deletes_a_channel_and_its_key_is_never_shown(
    stack: Stack, web: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with_channels(stack.data)
    url = "/api/llm/channels"
    body = {
        "label": "Mine",
        "baseUrl": "https://own.example/v1",
        "apiKey": KEY,
        "providerId": "openai",
        "customHeaders": {"X-Title": "secret-title"},
        "storageMode": "plaintext",
        "createdAt": "now",
        "supportedModels": ["x"],
    }
    made = await web.post(url, json=body)
    assert made.status_code == 201
    channel = made.json()
    assert (channel["apiKey"], channel["customHeaders"]) == ("***", {"X-Title": "***"})
    assert (channel["isEditable"], channel["userId"]) == (True, "default_user")
    listed = (await web.get(url)).json()
    assert [item["isEditable"] for item in listed] == [False, False, False, True]
    assert listed[-1] == channel
    one = f"{url}/{channel['id']}"
    stale = await web.put(one, json={"label": "B"}, headers={"If-Match": '"0"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "version_mismatch")
    changed = await web.put(one, json={**channel, "label": "B"}, headers={"If-Match": made.headers["etag"]})
    assert (changed.status_code, changed.json()["label"], changed.json()["apiKey"]) == (200, "B", "***")
    assert changed.headers["etag"] == changed.json()["etag"] != made.headers["etag"]
    moved = await web.put(one, json={"baseUrl": "https://evil.example/v1"})
    assert (moved.status_code, moved.json()["code"]) == (422, "invalid_channel")
    credentials = (await web.get("/api/users/me/credentials")).json()["credentials"]
    assert channel["id"] in [item["id"] for item in credentials]
    assert (await web.delete(one)).status_code == 204
    assert (await web.put(one, json={})).status_code == 404
    shown = "".join(answer.text for answer in (made, stale, changed, moved)) + str(credentials) + caplog.text
    assert KEY not in shown
    assert "secret-title" not in shown
    plain = [file for file in stack.data.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    assert plain == []


async def test_models_with_slashes_are_listed_changed_and_deleted(web: httpx.AsyncClient) -> None:
    made = await web.post("/api/llm/models", json={"modelId": "org/m1", "capabilities": ["chat"], "icon": "x"})
    assert (made.status_code, made.json()["isEditable"]) == (201, True)
    again = await web.post("/api/llm/models", json={"modelId": "org/m1"})
    assert (again.status_code, again.json()["code"]) == (409, "id_taken")
    for path in ("org%2Fm1", "org/m1"):
        changed = await web.put(f"/api/llm/models/{path}", json={"displayName": path})
        assert (changed.status_code, changed.json()["displayName"]) == (200, path)
    assert (await web.delete("/api/llm/models/org%2Fm1")).status_code == 204
    assert (await web.delete("/api/llm/models/org%2Fm1")).status_code == 404


async def test_what_the_operator_has_set_up_is_refused_with_the_place_to_change_it(
    stack: Stack, web: httpx.AsyncClient
) -> None:
    with_channels(stack.data)
    before = (stack.data / "channels.yaml").read_bytes()
    for method, path in (("PUT", "channels/main"), ("DELETE", "channels/main"), ("PUT", "models/m1")):
        answer = await web.request(method, f"/api/llm/{path}", json={"label": "x"})
        assert (answer.status_code, answer.json()["code"]) == (409, "not_editable")
        assert "channels.yaml" in answer.json()["error"]
    for path, body in (("channels", {"id": "main", "baseUrl": "https://x/v1"}), ("models", {"modelId": "m1"})):
        answer = await web.post(f"/api/llm/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "id_taken")
    wrong = await web.post("/api/llm/channels", json={"baseUrl": "https://x/v1", "adapterType": "telepathy"})
    assert (wrong.status_code, "types are openai" in wrong.json()["error"]) == (422, True)
    assert (stack.data / "channels.yaml").read_bytes() == before


async def test_models_are_discovered_behind_the_guard(stack: Stack, web: httpx.AsyncClient) -> None:
    demo = (await web.post("/api/llm/channels", json={"baseUrl": "demo"})).json()
    found = await web.post(f"/api/llm/channels/{demo['id']}/discover-models")
    assert {"id": "demo-echo"} in found.json()
    for url, status, code in (
        ("http://10.1.2.3/v1", 403, "request_refused"),
        ("http://169.254.169.254/latest", 403, "request_refused"),
        (f"{stack.url}/api", 403, "request_refused"),
        ("http://127.0.0.1:9/v1", 502, "models_not_listed"),
    ):
        made = (await web.post("/api/llm/channels", json={"baseUrl": url, "apiKey": KEY})).json()
        answer = await web.post(f"/api/llm/channels/{made['id']}/discover-models")
        assert (answer.status_code, answer.json()["code"]) == (status, code), url
        assert KEY not in answer.text
    assert (await web.post("/api/llm/channels/none/discover-models")).status_code == 404


async def test_a_channel_to_a_server_here_is_discovered_by_its_own_list(stack: Stack, web: httpx.AsyncClient) -> None:
    (stack.data / "channels.yaml").write_text(f"channels: [{{id: here, baseUrl: '{stack.url}/demo/v1'}}]")
    found = await web.post("/api/llm/channels/here/discover-models")
    assert [model["id"] for model in found.json()] == ["demo-storyteller", "demo-describer", "demo-echo"]
