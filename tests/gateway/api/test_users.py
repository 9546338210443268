"""The one local user over HTTP, with a real gateway: name, picture, keys that are never shown."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, PngImagePlugin

from innkeeper.gateway.cli.channels_command import store_key
from innkeeper.gateway.storage import profiles
from innkeeper.gateway.storage.profiles import AVATAR_SIDE, MAX_AVATAR_BYTES
from tests.gateway.conftest import Stack

AVATAR = "/api/users/me/avatar"


@pytest.fixture
async def web(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with stack.gateway(), stack.http() as client:
        yield client


async def current(web: httpx.AsyncClient) -> Any:
    answer = await web.get("/api/auth/current")
    assert answer.status_code == 200
    return answer.json()


def picture(size: tuple[int, int] = (40, 20), format: str = "PNG", **options: Any) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", size, "red").save(target, format, **options)
    return target.getvalue()


async def test_local_user_is_there_without_a_login(web: httpx.AsyncClient) -> None:
    found = await current(web)
    user = found.pop("currentUser")
    assert found == {
        "mode": "SingleUser", "multiUserMode": False, "accessPasswordRequired": False, "isAuthenticated": True,
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", user.pop("createdAt"))
    assert user == {
        "uid": "default_user", "username": "default_user", "isAdmin": True,
        "serviceApiKeys": [], "externalCredentials": [],
    }  # fmt: skip


async def test_new_name_outlives_the_gateway(stack: Stack) -> None:
    async with stack.gateway(), stack.http() as web:
        since = (await current(web))["currentUser"]["createdAt"]
        answer = await web.put("/api/users/me/username", json={"username": "  Ada 名 "})
        assert answer.json() == {"success": True, "message": "the name is stored", "username": "Ada 名"}
    async with stack.gateway(), stack.http() as web:
        user = (await current(web))["currentUser"]
    assert (user["username"], user["createdAt"], user["uid"]) == ("Ada 名", since, "default_user")


@pytest.mark.parametrize("name", ["", "   ", "x" * 51, "a\nb", "a\u2028b", 7, None])
async def test_name_that_is_none_is_refused(http: httpx.AsyncClient, name: Any) -> None:
    answer = await http.put("/api/users/me/username", json={"username": name})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"username": 1}', b"\xff"])
async def test_damaged_profile_stops_nobody(stack: Stack, web: httpx.AsyncClient, content: bytes) -> None:
    await web.put("/api/users/me/username", json={"username": "Ada"})
    (stack.data / "profiles" / "default_user" / "profile.json").write_bytes(content)
    assert (await current(web))["currentUser"]["username"] == "default_user"
    assert (await web.put("/api/users/me/username", json={"username": "Bea"})).status_code == 200
    assert (await current(web))["currentUser"]["username"] == "Bea"


async def test_profile_is_out_of_reach_of_graphs(stack: Stack, web: httpx.AsyncClient) -> None:
    await web.put("/api/users/me/username", json={"username": "Ada"})
    await web.post(AVATAR, files={"avatar": picture()})
    assert (await web.get("/api/files/user")).json() == []
    assert not (stack.data / "users").exists() or list((stack.data / "users").rglob("*.json")) == []


async def test_picture_is_stored_anew_and_served(web: httpx.AsyncClient) -> None:
    assert (await web.get(AVATAR)).status_code == 404
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "SECRET")
    for sent in (picture((2000, 1000), pnginfo=info), picture(format="JPEG", comment=b"SECRET"), picture(format="GIF")):
        stored = await web.post(AVATAR, files={"avatar": ("me.exe", sent, "text/html")})
        assert stored.status_code == 200, stored.text
        url = stored.json()["avatarUrl"]
        assert (await current(web))["currentUser"]["avatarUrl"] == url
        got = await web.get(url)
        image = Image.open(io.BytesIO(got.content))
        assert (got.headers["content-type"], image.format) == ("image/png", "PNG")
        assert max(image.size) <= AVATAR_SIDE
        assert image.width == 2 * image.height
        assert b"SECRET" not in got.content
        assert "sandbox" in got.headers["content-security-policy"]


async def test_another_picture_has_another_address(web: httpx.AsyncClient) -> None:
    urls = set()
    for _ in range(2):
        urls.add((await web.post(AVATAR, files={"avatar": picture()})).json()["avatarUrl"])
        await asyncio.sleep(0.02)
    assert len(urls) == 2


@pytest.mark.parametrize(
    "sent",
    [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a", picture()[:60], picture(format="BMP"), b"%PDF-1.4"],
    ids=["empty", "svg", "cut off gif", "cut off png", "bmp", "pdf"],
)
async def test_what_is_no_picture_is_refused_and_the_old_one_stays(web: httpx.AsyncClient, sent: bytes) -> None:
    await web.post(AVATAR, files={"avatar": picture()})
    before = (await web.get(AVATAR)).content
    answer = await web.post(AVATAR, files={"avatar": ("me.png", sent, "image/png")})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert (await web.get(AVATAR)).content == before


async def test_picture_of_too_many_bytes_or_pixels_is_refused(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = picture() + bytes(MAX_AVATAR_BYTES)
    assert (await http.post(AVATAR, files={"avatar": large})).status_code == 413
    monkeypatch.setattr(profiles, "MAX_AVATAR_PIXELS", 799)
    answer = await http.post(AVATAR, files={"avatar": picture()})
    assert (answer.status_code, "40 x 20 pixels" in answer.json()["error"]) == (400, True)


async def test_photograph_of_a_camera_is_taken(http: httpx.AsyncClient) -> None:
    photograph = picture((8000, 6000), "JPEG")
    answer = await http.post(AVATAR, files={"avatar": photograph})
    assert answer.status_code == 200, answer.text
    assert Image.open(io.BytesIO((await http.get(AVATAR)).content)).size == (512, 384)


def with_channels(data: Path) -> str:
    """Three channels: a stored key, one of the environment, none. Gives the id of the stored key."""
    line = store_key("sk-verysecretkey123", data, {})
    (data / "channels.yaml").write_text(
        "channels:\n"
        f"  - {{id: main, baseUrl: 'https://a.example/v1', label: Main, {line}, createdAt: 2026-01-02T03:04:05Z}}\n"
        "  - {id: second, baseUrl: 'https://b.example/v1', apiKey: 'env:SOME_API_KEY', supportedModels: [m1]}\n"
        "  - {id: local, baseUrl: 'http://127.0.0.1:1/v1', disabled: true}\n"
        "models:\n"
        "  - {modelId: m1, displayName: First, tags: [fast]}\n"
        "  - {modelId: e1, modelType: embedding, defaultChannelRef: main, groupName: g}\n"
    )
    return re.findall("[0-9a-f]{64}", line)[0]


async def test_stored_keys_of_channels_are_listed_without_the_keys(stack: Stack, web: httpx.AsyncClient) -> None:
    secret = with_channels(stack.data)
    answer = await web.get("/api/users/me/credentials")
    assert answer.json()["credentials"] == [
        {"id": "main", "serviceName": "openai", "displayName": "Main", "displayHint": {"prefix": "***", "suffix": ""},
         "createdAt": "2026-01-02T03:04:05.000Z"},
    ]  # fmt: skip
    user = await current(web)
    assert user["currentUser"]["externalCredentials"] == answer.json()["credentials"]
    for text in (answer.text, json.dumps(user)):
        assert "verysecret" not in text
        assert secret not in text
    assert (await web.get("/api/users/me/service-keys")).json() == {"keys": []}


async def test_making_keys_is_refused_with_the_reason(http: httpx.AsyncClient) -> None:
    for url, told in (("service-keys", "INNKEEPER_ACCESS_TOKEN"), ("credentials", "innkeeper channels --store-key")):
        for method, path in (("POST", url), ("DELETE", f"{url}/some")):
            answer = await http.request(method, f"/api/users/me/{path}", json={"name": "x"})
            assert (answer.status_code, answer.json()["code"]) == (409, "not_editable")
            assert told in answer.json()["error"]
