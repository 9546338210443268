"""The file manager's routes at a real gateway: by logical path, one folder at a time, nothing overwritten."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from innkeeper.gateway.api import file_moves
from innkeeper.gateway.api.file_moves import NameTaken
from innkeeper.gateway.api.file_transfer import TRASH, UserFiles
from innkeeper.nodes.errors import ResourceError
from tests.gateway.conftest import Stack


def home(stack: Stack) -> Path:
    return stack.data / "users" / "default_user"


def encoded(path: str) -> str:
    return quote(path, safe="")


async def listed(http: httpx.AsyncClient, folder: str) -> dict[str, Any]:
    answer = await http.get(f"/api/fam/list/{encoded(folder)}", params={"ensureExists": "true"})
    assert answer.status_code == 200, answer.text
    return {item["name"]: item for item in answer.json()}


async def put(http: httpx.AsyncClient, path: str, content: bytes = b"x") -> None:
    scheme, inner = path.split("://")
    assert (await http.put(f"/api/files/{scheme}/{quote(inner)}", content=content)).is_success


async def make(http: httpx.AsyncClient, parent: str, name: str) -> httpx.Response:
    return await http.post("/api/fam/create-dir", json={"parentLogicalPath": parent, "dirName": name})


async def test_folder_is_listed_one_level_deep(shared: Stack, http: httpx.AsyncClient) -> None:
    await put(http, "user://fam-list/b.json", b"{}")
    await put(http, "user://fam-list/名 a.txt", b"12345")
    await put(http, "user://fam-list/sub/inner.txt")
    (home(shared) / "fam-list" / ".hidden").write_text("x")
    (home(shared) / "fam-list" / "out").symlink_to("/etc")
    for folder in ("user://fam-list", "user://fam-list/"):
        found = await listed(http, folder)
        assert list(found) == ["sub", "b.json", "名 a.txt"]
    assert found["名 a.txt"].items() >= {
        "id": "user://fam-list/名 a.txt", "logicalPath": "user://fam-list/名 a.txt", "itemType": "file", "size": 5,
        "mimeType": "text/plain", "isWritable": True,
    }.items()  # fmt: skip
    assert found["sub"].items() >= {"logicalPath": "user://fam-list/sub/", "itemType": "directory"}.items()
    assert found["b.json"]["lastModified"] > 1_600_000_000_000
    assert None not in [value for item in found.values() for value in item.values()]


async def test_missing_folder_is_empty_and_listing_it_makes_none(shared: Stack, http: httpx.AsyncClient) -> None:
    assert await listed(http, "user://fam-nowhere/deeper/") == {}
    assert not (home(shared) / "fam-nowhere").exists()
    assert await listed(http, "system://") == {}


async def test_file_is_not_listed_as_a_folder(http: httpx.AsyncClient) -> None:
    await put(http, "user://fam-file.txt")
    answer = await http.get(f"/api/fam/list/{encoded('user://fam-file.txt')}")
    assert (answer.status_code, answer.json()["code"]) == (409, "resource_unreadable")


async def test_json_is_written_read_and_downloaded(http: httpx.AsyncClient) -> None:
    body = {"logicalPath": "user://fam-json/a b.json", "content": {"z": 1, "a": ["名", None]}}
    written = await http.post("/api/fam/write-json", json=body)
    assert (written.status_code, written.json()["name"]) == (200, "a b.json")
    for verb in ("read", "download"):
        got = await http.get(f"/api/fam/{verb}/{encoded('user://fam-json/a b.json')}")
        assert (json.loads(got.text), got.headers["content-type"]) == (body["content"], "application/json")
        assert got.headers["content-disposition"].startswith("attachment;")
    assert (await http.get(f"/api/fam/read/{encoded('user://fam-json/none')}")).status_code == 404


async def test_several_files_are_uploaded_at_once(shared: Stack, http: httpx.AsyncClient) -> None:
    large = bytes(range(256)) * 8192  # over what forms keep in memory
    form = [("files", ("名.bin", large, "x/y")), ("files", ("b.txt", b"", "text/plain")), ("other", ("c", b"c"))]
    answer = await http.post(f"/api/fam/upload/{encoded('user://fam-up/')}", files=form)
    assert answer.status_code == 201, answer.text
    assert [(item["name"], item["size"]) for item in answer.json()] == [("名.bin", len(large)), ("b.txt", 0)]
    assert (home(shared) / "fam-up" / "名.bin").read_bytes() == large
    assert sorted(file.name for file in (home(shared) / "fam-up").iterdir()) == ["b.txt", "名.bin"]


@pytest.mark.parametrize("name", [".hidden", "..", "a\\b", "../up.txt", "a/b"])
async def test_upload_with_a_name_that_is_none_writes_nothing(
    shared: Stack, http: httpx.AsyncClient, name: str
) -> None:
    form = [("files", ("good.txt", b"g")), ("files", (name, b"x"))]
    answer = await http.post(f"/api/fam/upload/{encoded('user://fam-bad')}", files=form)
    assert answer.status_code in (400, 403), answer.text
    assert not (home(shared) / "fam-bad").exists()


async def test_what_is_no_form_with_files_is_refused(http: httpx.AsyncClient) -> None:
    url = f"/api/fam/upload/{encoded('user://fam-form')}"
    broken = {"Content-Type": "multipart/form-data; boundary=b"}
    for more in (
        {"json": {"files": "x"}},
        {"files": {"file": ("a", b"a")}},
        {"content": b"--b\r\nnonsense", "headers": broken},
        {"content": b"", "headers": {"Content-Type": "multipart/form-data"}},
        {"files": [("files", (f"{n}.txt", b"")) for n in range(101)]},
    ):
        answer = await http.post(url, **more)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), more


async def test_uploads_have_the_limit_of_files_not_of_bodies(stack: Stack) -> None:
    stack.settings = stack.settings.changed(max_body_bytes=2_000, max_file_bytes=100_000)
    async with stack.gateway(), stack.http() as web:
        url = f"/api/fam/upload/{encoded('user://')}"
        assert (await web.post(url, files={"files": ("fits", bytes(90_000))})).status_code == 201
        refused = await web.post(url, files={"files": ("large", bytes(100_001))})
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
    assert [file.name for file in home(stack).iterdir()] == ["fits"]


async def test_file_and_folder_are_renamed(shared: Stack, http: httpx.AsyncClient) -> None:
    await put(http, "user://fam-name/old/a.txt", b"kept")
    for path, name in (("user://fam-name/old/a.txt", "b.txt"), ("user://fam-name/old/", "new")):
        answer = await http.put("/api/fam/rename", json={"logicalPath": path, "newName": name})
        assert (answer.status_code, answer.json()["name"]) == (200, name)
    assert (home(shared) / "fam-name" / "new" / "b.txt").read_bytes() == b"kept"
    assert not (home(shared) / "fam-name" / "old").exists()


async def test_nothing_is_overwritten_by_a_new_name(shared: Stack, http: httpx.AsyncClient) -> None:
    await put(http, "user://fam-taken/a.txt", b"a")
    await put(http, "user://fam-taken/b.txt", b"b")
    await put(http, "user://fam-taken/full/x.txt")
    assert (await make(http, "user://fam-taken", "empty")).status_code == 201
    names = {"a.txt": "b.txt", "full": "empty", "empty": "full", "b.txt": "empty"}
    for old, new in names.items():
        body = {"logicalPath": f"user://fam-taken/{old}", "newName": new}
        answer = await http.put("/api/fam/rename", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")
    assert (await make(http, "user://fam-taken", "full")).status_code == 409
    folder = home(shared) / "fam-taken"
    assert [(folder / name).read_bytes() for name in ("a.txt", "b.txt", "full/x.txt")] == [b"a", b"b", b"x"]


async def test_all_move_or_none(shared: Stack, http: httpx.AsyncClient) -> None:
    for path in ("one.txt", "two.txt", "there/two.txt", "folder/in.txt"):
        await put(http, f"user://fam-move/{path}")
    sources = [f"user://fam-move/{name}" for name in ("one.txt", "folder/", "two.txt")]
    body = {"sourcePaths": sources, "targetParentPath": "user://fam-move/there"}
    refused = await http.put("/api/fam/move", json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "name_taken")
    assert list(await listed(http, "user://fam-move/")) == ["folder", "there", "one.txt", "two.txt"]
    moved = await http.put("/api/fam/move", json={**body, "sourcePaths": sources[:2]})
    assert [item["logicalPath"] for item in moved.json()] == [
        "user://fam-move/there/one.txt", "user://fam-move/there/folder/",
    ]  # fmt: skip
    shared_file = {"sourcePaths": ["user://fam-move/there/one.txt"], "targetParentPath": "shared://"}
    assert (await http.put("/api/fam/move", json=shared_file)).status_code == 200
    assert (shared.data / "shared" / "one.txt").read_bytes() == b"x"


async def test_move_that_cannot_be_is_refused(http: httpx.AsyncClient) -> None:
    await put(http, "user://fam-circle/a/b/c.txt")
    for source, target, status in (
        ("user://fam-circle/a", "user://fam-circle/a/b", 409),
        ("user://fam-circle/a", "user://fam-circle/nowhere", 404),
        ("user://fam-circle/none", "user://fam-circle", 404),
        ("user://fam-circle/a", "system://", 403),
        ("user://", "shared://", 403),
    ):
        body = {"sourcePaths": [source], "targetParentPath": target}
        answer = await http.put("/api/fam/move", json=body)
        assert answer.status_code in (status, 400), answer.text
    assert "b" in await listed(http, "user://fam-circle/a")


async def test_file_that_a_worker_writes_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the name and the move another process may take it: the system itself must refuse."""
    files = UserFiles(tmp_path, "ann", 1000)
    for name in ("a", "b"):
        files.write_sync(f"user://{name}", name.encode())
    monkeypatch.setattr(file_moves.os.path, "lexists", lambda path: str(path).endswith("a"))
    with pytest.raises(NameTaken):
        files.move([("user://a", "user://b")])
    assert [files.read_sync(f"user://{name}") for name in ("a", "b")] == [b"a", b"b"]


async def test_files_and_folders_are_deleted_together_or_not(shared: Stack, http: httpx.AsyncClient) -> None:
    for path in ("a/deep/x.txt", "b.txt"):
        await put(http, f"user://fam-delete/{path}")
    paths = [f"user://fam-delete/{name}" for name in ("a/", "b.txt", "a/deep/x.txt", "b.txt")]
    refused = await http.request("DELETE", "/api/fam/delete", json={"logicalPaths": [*paths, "user://fam-delete/no"]})
    assert (refused.status_code, refused.json()["code"]) == (404, "resource_not_found")
    assert list(await listed(http, "user://fam-delete")) == ["a", "b.txt"]
    assert list((home(shared) / TRASH).iterdir()) == []
    gone = await http.request("DELETE", "/api/fam/delete", json={"logicalPaths": paths})
    assert (gone.status_code, gone.content) == (204, b"")
    assert await listed(http, "user://fam-delete") == {}
    assert list((home(shared) / TRASH).iterdir()) == []


async def test_deletion_of_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    files, outside = UserFiles(tmp_path / "data", "ann", 1000), tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    files.make_folder("user://folder")
    for link in ("folder/inner", "outer"):
        (tmp_path / "data" / "users" / "ann" / link).symlink_to(outside)
    files.delete_all(["user://folder", "user://outer"])
    assert (outside / "kept").exists()
    assert files.list_folder("user://") == []


async def test_what_a_killed_delete_left_goes_with_the_next_one(tmp_path: Path) -> None:
    files = UserFiles(tmp_path, "ann", 1000)
    left = tmp_path / "users" / "ann" / TRASH / "left" / "folder"
    left.mkdir(parents=True)
    (left / "x").write_text("x")
    files.write_sync("user://a", b"a")
    files.delete_all(["user://a"])
    assert not left.exists()


def test_folder_with_too_many_files_is_not_cut_off_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("innkeeper.gateway.api.file_transfer.MAX_LISTED", 2)
    files = UserFiles(tmp_path, "ann", 1000)
    for name in "abc":
        files.write_sync(f"user://{name}", b"")
    with pytest.raises(ResourceError) as error:
        files.list_folder("user://")
    assert error.value.code == "too_many_files"


BAD_PATHS = [
    "user://../../worker.token", "user://a/../../../worker.token", "user:///etc/passwd", "user://.hidden", "cards/a",
    "user:/a", "file:///etc/passwd", "user://a\\..\\b", "user://link/passwd", "user://a\0b", "user://a//b", "",
    "secrets://x",
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS)
async def test_no_path_leads_out(shared: Stack, path: str) -> None:
    link = home(shared) / "link"
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("/etc")
    secret = (shared.data / "worker.token").read_text()
    json_bodies = [
        ("POST", "create-dir", {"parentLogicalPath": path, "dirName": "x"}),
        ("POST", "write-json", {"logicalPath": path, "content": 1}),
        ("PUT", "rename", {"logicalPath": path, "newName": "x"}),
        ("PUT", "move", {"sourcePaths": [path], "targetParentPath": "user://"}),
        ("PUT", "move", {"sourcePaths": ["user://fam-out"], "targetParentPath": path}),
        ("DELETE", "delete", {"logicalPaths": [path]}),
    ]
    async with shared.http() as http:
        await put(http, "user://fam-out")
        answers = [await http.request(verb, f"/api/fam/{url}", json=body) for verb, url, body in json_bodies]
        answers += [await http.get(f"/api/fam/{verb}/{encoded(path)}") for verb in ("list", "read", "download")]
        answers.append(await http.post(f"/api/fam/upload/{encoded(path)}", files={"files": ("x", b"x")}))
        for name in ("..", "../x", ".x", "a/b", "", "a\\b"):
            body = {"logicalPath": "user://fam-out", "newName": name}
            answers.append(await http.put("/api/fam/rename", json=body))
            answers.append(await make(http, "user://", name))
    assert {answer.status_code for answer in answers} <= {400, 403, 404}, [answer.text for answer in answers]
    assert all(secret not in answer.text for answer in answers)
    assert (shared.data / "worker.token").read_text() == secret


@pytest.mark.parametrize(
    "path", ["user://..%2f..%2fworker.token", "user%3A%2F%2F..%2F..%2Fworker.token", "user%3a//%2e%2e/x"]
)
async def test_encoded_dots_are_refused_as_plain_ones(shared: Stack, path: str) -> None:
    for verb in ("list", "read", "download"):
        reader, writer = await asyncio.open_connection("127.0.0.1", shared.settings.port)
        writer.write(f"GET /api/fam/{verb}/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        assert answer.split()[1] == b"403", answer


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("POST", "create-dir", {"parentLogicalPath": "user://"}),
        ("POST", "create-dir", {"parentLogicalPath": 1, "dirName": "x"}),
        ("POST", "write-json", {"logicalPath": "user://x"}),
        ("PUT", "move", {"sourcePaths": [], "targetParentPath": "user://"}),
        ("PUT", "move", {"sourcePaths": "user://x", "targetParentPath": "user://"}),
        ("DELETE", "delete", {"logicalPaths": [1]}),
        ("DELETE", "delete", {"logicalPaths": ["user://x"] * 1001}),
        ("DELETE", "delete", ["user://x"]),
    ],
)
async def test_bodies_that_lack_something_are_refused(
    http: httpx.AsyncClient, method: str, url: str, body: Any
) -> None:
    answer = await http.request(method, f"/api/fam/{url}", json=body)
    assert answer.status_code == 400, answer.text


async def test_system_files_are_read_only(shared: Stack, http: httpx.AsyncClient) -> None:
    folder = shared.data / "system" / "fam"
    folder.mkdir(parents=True)
    (folder / "s.txt").write_text("s")
    assert (await listed(http, "system://fam"))["s.txt"]["isWritable"] is False
    assert (await make(http, "system://fam", "x")).status_code == 403
    gone = await http.request("DELETE", "/api/fam/delete", json={"logicalPaths": ["system://fam/s.txt"]})
    assert gone.status_code == 403
    assert (folder / "s.txt").exists()
    (folder / "s.txt").unlink()
    folder.rmdir()
    folder.parent.rmdir()
