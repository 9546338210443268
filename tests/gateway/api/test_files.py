"""Files over HTTP, with a real gateway: lists, parts, uploads, and every way out of the folder closed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.gateway.api import file_transfer
from innkeeper.gateway.api.file_conditions import version_at
from innkeeper.gateway.api.file_transfer import logical_path
from innkeeper.gateway.client import GatewayClient, GatewayRefused, InvalidAddress
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.resources import FolderResources

LIMIT = 300_000


@pytest.fixture
def files(shared: Any) -> Any:
    """A stack that is up, of whose files these tests use some."""
    return shared


@pytest.fixture
def web(http: httpx.AsyncClient) -> httpx.AsyncClient:
    return http


def home(files: Any) -> Path:
    return files.data / "users" / "default_user"


def drafts(files: Any) -> list[Path]:
    return [*files.data.rglob(".new-*")]


async def test_file_comes_back_as_it_was_put(files: Any, web: httpx.AsyncClient) -> None:
    data = os.urandom(200_000)
    url = "/api/files/user/cards/my%20card%20%E5%90%8D.png"
    put = await web.put(url, content=data)
    assert put.status_code == 201
    expected = {"path": "user://cards/my card 名.png", "size": 200_000, "sha256": hashlib.sha256(data).hexdigest()}
    assert put.json() == {**expected, "created": True}
    got = await web.get(url)
    assert got.content == data
    assert got.headers["content-type"] == "image/png"
    assert got.headers["content-length"] == "200000"
    assert (home(files) / "cards" / "my card 名.png").stat().st_mode & 0o777 == 0o600
    assert await FolderResources(files.data, "default_user").read_bytes("user://cards/my card 名.png") == data
    again = await web.put(url, content=b"new")
    assert (again.status_code, again.json()["created"]) == (200, False)
    assert (await web.get(url)).content == b"new"
    assert drafts(files) == []


async def test_uploaded_page_never_runs_at_our_address(web: httpx.AsyncClient) -> None:
    await web.put("/api/files/user/page.html", content=b"<script>alert(1)</script>")
    got = await web.get("/api/files/user/page.html")
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-disposition"].startswith("attachment;")
    assert "sandbox" in got.headers["content-security-policy"]


async def test_head_tells_size_and_version_without_the_content(web: httpx.AsyncClient) -> None:
    await web.put("/api/files/shared/head.txt", content=b"0123456789")
    head = await web.head("/api/files/shared/head.txt")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == "10"
    assert head.headers["accept-ranges"] == "bytes"
    known = await web.get("/api/files/shared/head.txt", headers={"If-None-Match": head.headers["etag"]})
    assert known.status_code == 304
    await web.put("/api/files/shared/head.txt", content=b"other")
    assert (await web.get("/api/files/shared/head.txt")).headers["etag"] != head.headers["etag"]


@pytest.mark.parametrize(
    ("asked", "status", "content", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=0-", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        (f"bytes={'9' * 19}-", 416, None, "bytes */10"),
        (f"bytes=0-{'9' * 500}", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=4-2", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
    ],
)
async def test_parts(
    web: httpx.AsyncClient, asked: str, status: int, content: bytes | None, content_range: str | None
) -> None:
    await web.put("/api/files/user/part.bin", content=b"0123456789")
    got = await web.get("/api/files/user/part.bin", headers={"Range": asked})
    assert got.status_code == status
    assert got.headers.get("content-range") == content_range
    if content is None:
        assert got.json()["code"] == "range_not_satisfiable"
    else:
        assert got.content == content


async def test_part_of_another_version_is_the_whole_file(web: httpx.AsyncClient) -> None:
    first = await web.put("/api/files/user/if.bin", content=b"0123456789")
    assert first.is_success
    tag = (await web.head("/api/files/user/if.bin")).headers["etag"]
    for known, status in ((tag, 206), ('"other"', 200)):
        got = await web.get("/api/files/user/if.bin", headers={"Range": "bytes=0-1", "If-Range": known})
        assert got.status_code == status


async def test_empty_file(web: httpx.AsyncClient) -> None:
    assert (await web.put("/api/files/user/empty", content=b"")).json()["size"] == 0
    assert (await web.get("/api/files/user/empty")).content == b""
    assert (await web.get("/api/files/user/empty", headers={"Range": "bytes=0-"})).status_code == 416


async def test_list_is_sorted_paged_and_without_hidden_files(files: Any, web: httpx.AsyncClient) -> None:
    for name in ("b/2.txt", "b/1.txt", "a.txt", "b.txt"):
        await web.put(f"/api/files/user/list/{name}", content=b"xy")
    (home(files) / "list" / ".hidden").write_text("x")
    (home(files) / "list" / "out").symlink_to("/etc/passwd")
    found = (await web.get("/api/files/user/list/")).json()
    assert [item["path"].removeprefix("user://list/") for item in found] == ["a.txt", "b.txt", "b/1.txt", "b/2.txt"]
    assert found[0]["size"] == 2
    assert found[0]["modifiedAt"].endswith("Z")
    page = await web.get("/api/files/user/list/", params={"limit": 3})
    assert len(page.json()) == 3
    rest = await web.get(page.links["next"]["url"])
    assert [item["path"] for item in rest.json()] == ["user://list/b/2.txt"]
    assert "next" not in rest.links
    for url in ("/api/files/user/nowhere/", "/api/files/system", "/api/files/system/"):
        assert (await web.get(url)).json() == []
    assert any(item["path"] == "user://list/a.txt" for item in (await web.get("/api/files/user")).json())
    assert (await web.get("/api/files/user/list/", params={"limit": 0})).status_code == 400


async def test_folder_without_slash_says_how_to_list_it(web: httpx.AsyncClient) -> None:
    await web.put("/api/files/user/dir/x", content=b"x")
    got = await web.get("/api/files/user/dir")
    assert (got.status_code, got.json()["code"]) == (400, "is_folder")
    for method in ("PUT", "DELETE"):
        taken = await web.request(method, "/api/files/user/dir", content=b"x")
        assert (taken.status_code, taken.json()["code"]) == (409, "resource_unwritable")
    below = await web.put("/api/files/user/dir/x/y", content=b"x")
    assert (below.status_code, below.json()["code"]) == (409, "resource_unwritable")


@pytest.mark.parametrize("name", ["a" * 300, "💥" * 90, "a/" * 3000 + "b"])
async def test_name_that_the_system_does_not_take_is_refused(web: httpx.AsyncClient, name: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await web.request(method, f"/api/files/user/{name}", content=b"x" if method == "PUT" else None)
        assert answer.status_code in (403, 409), answer.text
        assert answer.json()["code"].startswith("resource_")
    assert (await web.get(f"/api/files/user/{name}/")).json() == []


async def test_upload_that_must_not_overwrite(files: Any, web: httpx.AsyncClient) -> None:
    url, only_new = "/api/files/user/once.txt", {"If-None-Match": "*"}
    answers = await asyncio.gather(*(web.put(url, content=b"%d" % n, headers=only_new) for n in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 412, 412, 412, 412]
    assert {answer.json().get("code") for answer in answers} == {None, "file_exists"}
    assert (await web.put(url, content=b"x", headers={"If-None-Match": '"tag"'})).status_code == 400
    assert drafts(files) == []


async def test_put_replaces_only_the_version_that_if_match_names(web: httpx.AsyncClient) -> None:
    url = "/api/files/user/match.txt"
    first = (await web.put(url, content=b"one")).headers["etag"]
    assert first == (await web.get(url)).headers["etag"]
    second = await web.put(url, content=b"two", headers={"If-Match": f'"other", {first}'})
    assert (second.status_code, second.headers["etag"]) == (200, (await web.head(url)).headers["etag"])
    for stale in (first, f"W/{second.headers['etag']}", '""'):
        lost = await web.put(url, content=b"six", headers={"If-Match": stale})
        assert (lost.status_code, lost.json()["code"]) == (412, "precondition_failed")
        assert lost.json()["details"] == {"etag": second.headers["etag"]}
    assert (await web.get(url)).content == b"two"
    assert (await web.put(url, content=b"any", headers={"If-Match": "*"})).status_code == 200


async def test_if_match_needs_a_file(files: Any, web: httpx.AsyncClient) -> None:
    for method in ("PUT", "DELETE"):
        for wanted in ("*", '"x"'):
            answer = await web.request(
                method, "/api/files/user/nowhere/f", content=b"x" if method == "PUT" else None,
                headers={"If-Match": wanted},
            )  # fmt: skip
            assert (answer.status_code, "details" in answer.json()) == (412, False)
    assert not (home(files) / "nowhere").exists()


async def test_conditions_that_cannot_be_understood_are_refused(web: httpx.AsyncClient) -> None:
    url = "/api/files/user/odd.txt"
    for headers in ({"If-Match": "abc"}, {"If-Match": '"a" "b"'}, {"If-Match": "*", "If-None-Match": "*"}):
        assert (await web.put(url, content=b"x", headers=headers)).status_code == 400
    assert (await web.get(url)).status_code == 404


async def test_of_several_that_replace_one_version_one_wins(
    web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(real: Path) -> str | None:
        found = version_at(real)
        time.sleep(0.1)  # others would come between the check and the replacement
        return found

    monkeypatch.setattr(file_transfer, "version_at", slow)
    url = "/api/files/user/raced.txt"
    tag = (await web.put(url, content=b"0")).headers["etag"]
    answers = await asyncio.gather(*(web.put(url, content=b"%d" % n, headers={"If-Match": tag}) for n in range(1, 9)))
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 7]
    winner = next(index for index, answer in enumerate(answers, 1) if answer.status_code == 200)
    assert (await web.get(url)).content == b"%d" % winner


def test_versions_of_one_size_and_time_differ(tmp_path: Path) -> None:
    """Two uploads may fall into one tick of the clock."""
    tags = []
    for name in ("old", "new"):
        (tmp_path / name).write_bytes(b"same")
        os.utime(tmp_path / name, ns=(10**18, 10**18))
        tags.append(version_at(tmp_path / name))
    assert len({*tags}) == 2


async def test_delete_takes_only_the_version_that_if_match_names(web: httpx.AsyncClient) -> None:
    url = "/api/files/user/delete-match.txt"
    old = (await web.put(url, content=b"one")).headers["etag"]
    new = (await web.put(url, content=b"two")).headers["etag"]
    kept = await web.delete(url, headers={"If-Match": old})
    assert (kept.status_code, kept.json()["details"]) == (412, {"etag": new})
    assert (await web.delete(url, headers={"If-Match": new})).status_code == 204


async def test_delete(files: Any, web: httpx.AsyncClient) -> None:
    await web.put("/api/files/user/gone.txt", content=b"x")
    gone = await web.delete("/api/files/user/gone.txt")
    assert (gone.status_code, gone.content) == (204, b"")
    for method in ("DELETE", "GET"):
        missing = await web.request(method, "/api/files/user/gone.txt")
        assert (missing.status_code, missing.json()["code"]) == (404, "resource_not_found")


@pytest.mark.parametrize("announced", [True, False])
async def test_file_over_the_limit_is_refused_and_leaves_nothing(stack: Any, announced: bool) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 1000 + 1):
            yield bytes(1000)

    content = bytes(LIMIT + 1000) if announced else body()
    stack.settings = stack.settings.changed(max_file_bytes=LIMIT)
    async with stack.gateway(), stack.http() as web:
        answer = await web.put("/api/files/user/large.bin", content=content)
        fits = await web.put("/api/files/user/fits.bin", content=bytes(LIMIT))
    assert answer.status_code == 413
    assert "INNKEEPER_MAX_FILE_BYTES" in answer.json()["error"]
    assert fits.status_code == 201
    assert [file.name for file in home(stack).rglob("*")] == ["fits.bin"]


async def test_upload_that_breaks_off_leaves_the_old_file(files: Any, web: httpx.AsyncClient) -> None:
    await web.put("/api/files/user/kept.txt", content=b"old")
    address = ("127.0.0.1", files.settings.port)
    with socket.create_connection(address) as raw:
        raw.sendall(b"PUT /api/files/user/kept.txt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nnew")
        async with asyncio.timeout(30):
            while not drafts(files):
                await asyncio.sleep(0.01)
    async with asyncio.timeout(30):
        while drafts(files):
            await asyncio.sleep(0.01)
    assert (home(files) / "kept.txt").read_bytes() == b"old"


async def test_system_files_are_read_only(files: Any, web: httpx.AsyncClient) -> None:
    (files.data / "system").mkdir()
    (files.data / "system" / "s.txt").write_bytes(b"s")
    assert (await web.get("/api/files/system/s.txt")).content == b"s"
    for method in ("PUT", "DELETE"):
        answer = await web.request(method, "/api/files/system/s.txt", content=b"x")
        assert (answer.status_code, answer.json()["code"]) == (403, "resource_refused")
    (files.data / "system" / "s.txt").unlink()


async def test_unknown_scheme_names_those_there_are(web: httpx.AsyncClient) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await web.request(method, "/api/files/secrets/x")
        assert answer.status_code == 404
    assert "user, shared, system" in answer.json()["error"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "..%2F..%2Fworker.token", "%2e%2e/%2e%2e/worker.token", "a/%2E%2E/%2e%2e/x", "..%5cx", "a%5Cb", "%2Fetc%2Fp",
        "/etc/passwd", "a//b", "a%00b", ".hidden", "a/.git/config", "%2e", "a/%2e", ".new-x", "a%0Ab", "%C2%85",
        "link/passwd", "file-link", "%ED%A0%80/x%00",
    ],
)  # fmt: skip
async def test_no_path_leads_out(files: Any, method: str, path: str) -> None:
    links = {"link": Path("/etc"), "file-link": files.data / "worker.token"}
    for name, target in links.items():
        home(files).mkdir(parents=True, exist_ok=True)
        if not (home(files) / name).is_symlink():
            (home(files) / name).symlink_to(target)
    secret = (files.data / "worker.token").read_bytes()
    status, body = await _raw(files, method, f"/api/files/user/{path}")
    if (method, path) == ("DELETE", "file-link"):
        assert status == 204  # the link itself, which is ours
    else:
        assert status in (400, 403, 404), body
    assert secret not in body
    assert (files.data / "worker.token").read_bytes() == secret


@pytest.mark.parametrize("path", ["/api/files/user/../../../worker.token", "/api/files/../../etc/passwd"])
async def test_dots_as_a_client_may_send_them(files: Any, path: str) -> None:
    status, body = await _raw(files, "GET", path)
    assert status in (400, 403, 404), body


async def _raw(files: Any, method: str, target: str) -> tuple[int, bytes]:
    """A request whose path nobody tidies on its way."""
    reader, writer = await asyncio.open_connection("127.0.0.1", files.settings.port)
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    status, _, rest = answer.partition(b"\r\n")
    return int(status.split()[1]), rest


def test_names_that_no_list_could_tell_are_refused() -> None:
    assert logical_path("user", "") == "user://"
    assert logical_path("shared", "名\u3000 a.png") == "shared://名\u3000 a.png"
    for inner in ("..", "a/../b", "/a", "a//", "\x7f", "a\x00"):
        with pytest.raises(ResourceError):
            logical_path("user", inner)


async def test_foreign_pages_and_clients_without_token_are_refused(stack: Any) -> None:
    stack.settings = stack.settings.changed(access_token="sesame")
    async with stack.gateway(), stack.http() as web:
        url = "/api/files/user/a.txt"
        assert (await web.put(url, content=b"x")).status_code == 401
        assert (await web.get(f"{url}?token=sesame")).status_code == 401
        allowed = {"Authorization": "Bearer sesame"}
        assert (await web.put(url, content=b"x", headers=allowed)).status_code == 201
        assert (await web.delete(url, headers={**allowed, "Origin": "https://evil.example"})).status_code == 403
        assert (await web.get(url, headers={**allowed, "Host": "evil.example"})).status_code == 403


async def test_client_puts_gets_lists_and_deletes(files: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "a b.bin", tmp_path / "back.bin"
    source.write_bytes(os.urandom(100_000))
    async with GatewayClient(files.url) as client:
        assert (await client.files.put("user://client/a b.bin", source))["created"] is True
        with pytest.raises(GatewayRefused) as there:
            await client.files.put("user://client/a b.bin", source, overwrite=False)
        assert there.value.code == "file_exists"
        with target.open("wb") as stream:
            assert await client.files.get("user://client/a b.bin", stream) == 100_000
        assert target.read_bytes() == source.read_bytes()
        assert [item["path"] for item in await client.files.list_below("user://client")] == ["user://client/a b.bin"]
        await client.files.delete("user://client/a b.bin")
        assert await client.files.list_below("user://client") == []
        with target.open("wb") as stream, pytest.raises(GatewayRefused, match="there is no file"):
            await client.files.get("user://client/a b.bin", stream)
        source.write_bytes(bytes(files.settings.max_file_bytes + 1))
        with pytest.raises(GatewayRefused, match="the limit"):
            await client.files.put("user://client/large", source)
        for path in ("cards/x", "http://x/y", "user://a/../b", "user://\ud800"):
            with pytest.raises(InvalidAddress, match="user://cards/"):
                await client.files.delete(path)


async def test_client_lists_more_files_than_one_page_has(files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home(files) / "pages"
    folder.mkdir(parents=True)
    for number in range(7):
        (folder / f"{number}").write_bytes(b"")
    monkeypatch.setattr("innkeeper.gateway.client.files._PAGE", 3)
    async with GatewayClient(files.url) as client:
        assert len(await client.files.list_below("user://pages")) == 7


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
async def test_path_that_is_not_utf8_is_refused(web: httpx.AsyncClient, method: str) -> None:
    answer = await web.request(method, "/api/files/user/caf%ff.txt", content=b"x" if method == "PUT" else None)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "UTF-8" in answer.json()["error"]
