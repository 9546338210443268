"""Character cards over HTTP, with a real gateway: what a list shows of good, odd and damaged files."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from innkeeper.gateway.storage import character_library
from innkeeper.gateway.storage.character_library import CharacterLibrary
from innkeeper.nodes.services.resources import FolderResources
from innkeeper.nodes.tavern.cards import write_png
from tests.gateway.conftest import Stack

V2 = {
    "spec": "chara_card_v2", "spec_version": "2.0",
    "data": {
        "name": "Mira", "description": "Keeps the inn.", "tags": ["inn", "kind"], "creator": "ann",
        "creator_notes": "Be nice.", "character_version": "1.2",
        "extensions": {"talkativeness": "0.5", "fav": True},
    },
}  # fmt: skip


def picture() -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(target, "PNG")
    return target.getvalue()


def library(stack: Stack, place: str = "users/default_user") -> Path:
    folder = stack.data / place / "library" / "characters"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
async def web(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with stack.gateway(), stack.http() as client:
        yield client


async def cards(web: httpx.AsyncClient) -> dict[str, Any]:
    answer = await web.get("/api/characters")
    assert answer.status_code == 200
    assert answer.json()["success"] is True
    return {card["name"]: card for card in answer.json()["data"]}


async def test_without_folders_there_are_no_cards(stack: Stack, web: httpx.AsyncClient) -> None:
    assert await cards(web) == {}
    assert not (stack.data / "users" / "default_user").exists()


async def test_card_in_a_picture_and_one_in_json_are_listed(stack: Stack, web: httpx.AsyncClient) -> None:
    (library(stack) / "mira 名.png").write_bytes(write_png(picture(), V2))
    old = {"name": "Bob", "description": "Old.", "create_date": "2024-1-2", "fav": False, "talkativeness": 1}
    (library(stack, "shared") / "bob.json").write_text(json.dumps(old))
    (library(stack, "shared") / "bob.webp").write_bytes(b"RIFF....WEBP")
    found = await cards(web)
    assert list(found) == ["Bob", "Mira"]
    assert found["Mira"] == {
        "id": "user://library/characters/mira 名.png", "name": "Mira", "description": "Keeps the inn.",
        "imageName": "mira 名.png", "tags": ["inn", "kind"], "creator": "ann", "creatorComment": "Be nice.",
        "characterVersion": "1.2", "talkativeness": "0.5", "favorite": True,
    }  # fmt: skip
    assert found["Bob"] == {
        "id": "shared://library/characters/bob.json", "name": "Bob", "description": "Old.", "imageName": "bob.webp",
        "tags": [], "createDate": "2024-1-2", "talkativeness": "1", "favorite": False,
    }  # fmt: skip


async def test_files_that_are_no_cards_are_left_out_and_told_in_the_log(
    stack: Stack, web: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "innkeeper.gateway.characters")
    folder = library(stack)
    (folder / "good.json").write_text(json.dumps(V2))
    bad = {
        "empty.png": b"", "cut.png": write_png(picture(), V2)[:80], "plain.png": picture(), "broken.json": b"{",
        "list.json": b"[1]", "world.json": b'{"entries": {"0": {"uid": 0, "key": [], "content": "x"}}}',
        "other.json": b'{"nothing": "of a card"}', "deep.json": b"[" * 100_000,
    }  # fmt: skip
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    (folder / "large.json").write_bytes(b" " * (character_library.MAX_CARD_BYTES + 1))
    (folder / "note.txt").write_text("x")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "inner.json").write_text(json.dumps(V2))
    assert list(await cards(web)) == ["Mira"]
    told = " ".join(record.getMessage() for record in caplog.records)
    assert all(f"{name} is left out" in told for name in [*bad, "large.json"])


@pytest.mark.parametrize(
    "data",
    [
        {"name": "\ud800", "description": "x\udfff"},
        {"name": "n", "talkativeness": 10**400, "create_date": {"a": 1}, "tags": [None, {"a": 1}, "\ud800"]},
        {"name": "n", "extensions": [1], "fav": "yes", "description": 5},
    ],
)
async def test_odd_card_does_not_break_the_list(stack: Stack, web: httpx.AsyncClient, data: Any) -> None:
    (library(stack) / "odd.json").write_text(json.dumps(data))
    (library(stack) / "good.json").write_text(json.dumps(V2))
    assert "Mira" in await cards(web)


async def test_users_file_hides_the_shared_one_and_a_picture_the_json_beside_it(
    stack: Stack, web: httpx.AsyncClient
) -> None:
    for place, name in (("users/default_user", "Mine"), ("shared", "Shared")):
        (library(stack, place) / "a.png").write_bytes(write_png(picture(), {"name": name}))
    (library(stack) / "a.json").write_text(json.dumps({"name": "Beside", "description": ""}))
    assert list(await cards(web)) == ["Mine"]
    (library(stack) / "a.png").write_bytes(picture())  # a picture without a card
    found = await cards(web)
    assert (list(found), found["Beside"]["imageName"]) == (["Beside"], "a.png")


async def test_long_texts_are_cut_off(stack: Stack, web: httpx.AsyncClient) -> None:
    (library(stack) / "long.json").write_text(json.dumps({"name": "Long", "description": "x" * 50_000}))
    assert len((await cards(web))["Long"]["description"]) == character_library.MAX_TEXT_CHARS


async def test_many_long_tags_are_cut_off(stack: Stack, web: httpx.AsyncClient) -> None:
    """What is kept of 2,000 cards stays some megabytes."""
    (library(stack) / "tags.json").write_text(json.dumps({"name": "Tags", "tags": ["x" * 4_000] * 3_000}))
    assert len(json.dumps((await cards(web))["Tags"])) < 30_000


async def test_picture_is_served_from_either_folder(stack: Stack, web: httpx.AsyncClient) -> None:
    data = write_png(picture(), V2)
    (library(stack) / "mira 名.png").write_bytes(data)
    (library(stack, "shared") / "b.png").write_bytes(picture())
    (library(stack) / "secret.json").write_text("{}")
    name = (await cards(web))["Mira"]["imageName"]
    got = await web.get(f"/api/characters/image/{name}")
    assert (got.content, got.headers["content-type"]) == (data, "image/png")
    assert got.headers["x-content-type-options"] == "nosniff"
    assert (await web.get("/api/characters/image/b.png")).content == picture()
    for path in ("none.png", "secret.json", "..%2f..%2f..%2fworker.token.png", ".hidden.png", "..%5cx.png"):
        assert (await web.get(f"/api/characters/image/{path}")).status_code in (403, 404)


def test_file_is_read_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = FolderResources(tmp_path, "ann")
    files.write_sync("user://library/characters/a.json", b'{"name": "Ann", "description": ""}')
    files.write_sync("user://library/characters/b.json", b"{")
    reads: list[str] = []
    read = FolderResources.read_sync
    monkeypatch.setattr(
        FolderResources, "read_sync", lambda *args, **more: (reads.append(args[1]), read(*args, **more))[1]
    )
    cards = CharacterLibrary(files)
    for _ in range(3):
        assert [card["name"] for card in cards.cards()] == ["Ann"]
    assert len(reads) == 2
    files.write_sync("user://library/characters/a.json", b'{"name": "Another", "description": ""}')
    assert [card["name"] for card in cards.cards()] == ["Another"]
    files.delete_sync("user://library/characters/a.json")
    assert cards.cards() == []


def test_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(character_library, "MAX_FILES", 2)
    files = FolderResources(tmp_path, "ann")
    for name in "abc":
        files.write_sync(
            f"user://library/characters/{name}.json", json.dumps({"name": name, "description": ""}).encode()
        )
    assert [card["name"] for card in CharacterLibrary(files).cards()] == ["a", "b"]
