"""Files by logical path never leave their folder, and errors never name the server's."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.node import Resources
from innkeeper.nodes.services.resources import FolderResources


def data_dir(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    for name, text in {
        "users/ann/cards/amy.json": "ann's amy",
        "users/bob/cards/amy.json": "bob's amy",
        "shared/library/workflows/b.json": "b",
        "shared/library/workflows/a.json": "a",
        "shared/library/workflows/deep/er/c.json": "c",
        "shared/library/workflows/notes.txt": "n",
        "shared/library/workflows/.draft.json": "d",
        "shared/library/workflows/.git/x.json": "g",
        "system/config.json": "{}",
        "secret.key": "never",
    }.items():
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return data


def code(resources: FolderResources, path: str, tmp_path: Path, max_bytes: int | None = None) -> str:
    with pytest.raises(ResourceError) as caught:
        resources.read_sync(path, max_bytes=max_bytes)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value.code


async def test_each_scheme_reads_from_its_own_folder(tmp_path: Path) -> None:
    ann: Resources = FolderResources(data_dir(tmp_path), "ann")
    bob = FolderResources(tmp_path / "data", "bob")
    assert await ann.read_bytes("user://cards/amy.json") == b"ann's amy"
    assert await bob.read_bytes("user://cards/amy.json") == b"bob's amy"
    assert await ann.read_bytes("shared://library/workflows/a.json") == b"a"
    assert await ann.read_bytes("system://config.json") == b"{}"


@pytest.mark.parametrize(
    "path",
    [
        "user://../bob/cards/amy.json",
        "user://cards/../../bob/cards/amy.json",
        "shared://../secret.key",
        "shared://library/..",
        "shared:///etc/passwd",
        "shared:////etc/passwd",
        "shared://library\\..\\..\\secret.key",
        "shared://library/\0",
        "shared://\ud800",
        "shared://",
        "file:///etc/passwd",
        "/etc/passwd",
        "cards/amy.json",
        "SHARED://library/workflows/a.json",
        "",
        None,
        7,
    ],
)
def test_path_out_of_bounds_is_refused(tmp_path: Path, path: str) -> None:
    assert code(FolderResources(data_dir(tmp_path), "ann"), path, tmp_path) == "resource_refused"


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "a\0b", "x" * 200])
def test_user_id_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResourceError, match="user id"):
        FolderResources(tmp_path, name)


def test_links_may_stay_inside_and_never_lead_out(tmp_path: Path) -> None:
    data = data_dir(tmp_path)
    shared = data / "shared"
    (shared / "inside.json").symlink_to("library/workflows/a.json")
    (shared / "out.key").symlink_to(data / "secret.key")
    (shared / "up").symlink_to("..")
    (shared / "loop").symlink_to("loop")
    (shared / "dangling").symlink_to("nowhere")
    resources = FolderResources(data, "ann")
    assert resources.read_sync("shared://inside.json") == b"a"
    assert code(resources, "shared://out.key", tmp_path) == "resource_refused"
    assert code(resources, "shared://up/secret.key", tmp_path) == "resource_refused"
    assert code(resources, "shared://loop", tmp_path) == "resource_unreadable"
    assert code(resources, "shared://dangling", tmp_path) == "resource_not_found"


def test_root_itself_may_be_a_link_to_another_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.txt").write_text("a")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "shared").symlink_to(tmp_path / "disk")
    resources = FolderResources(tmp_path / "data", "ann")
    assert resources.read_sync("shared://a.txt") == b"a"
    assert resources.list_files_sync("shared://") == ("shared://a.txt",)


def test_missing_file_is_named_by_its_logical_path(tmp_path: Path) -> None:
    resources = FolderResources(tmp_path / "nothing-here-yet", "ann")
    with pytest.raises(ResourceError, match=r"there is no file 'user://cards/amy\.json'") as caught:
        resources.read_sync("user://cards/amy.json")
    assert caught.value.code == "resource_not_found"


def test_what_is_no_file_is_told_and_a_pipe_does_not_hang(tmp_path: Path) -> None:
    data = data_dir(tmp_path)
    os.mkfifo(data / "shared" / "pipe")
    resources = FolderResources(data, "ann")
    assert code(resources, "shared://pipe", tmp_path) == "resource_unreadable"
    assert code(resources, "shared://library", tmp_path) == "resource_unreadable"
    assert code(resources, "shared://library/workflows/a.json/x", tmp_path) == "resource_unreadable"
    assert code(resources, f"shared://{'x' * 300}", tmp_path) == "resource_unreadable"


def test_size_limit_is_the_smaller_one_and_inclusive(tmp_path: Path) -> None:
    data = data_dir(tmp_path)
    (data / "shared" / "ten").write_bytes(b"0123456789")
    assert FolderResources(data, "ann", max_bytes=10).read_sync("shared://ten", max_bytes=99) == b"0123456789"
    assert code(FolderResources(data, "ann", max_bytes=9), "shared://ten", tmp_path, 99) == "resource_too_large"
    assert code(FolderResources(data, "ann"), "shared://ten", tmp_path, 9) == "resource_too_large"


async def test_files_of_a_folder_are_listed_sorted_without_hidden_ones(tmp_path: Path) -> None:
    resources = FolderResources(data_dir(tmp_path), "ann")
    expected = tuple(f"shared://library/workflows/{name}" for name in ("a.json", "b.json", "deep/er/c.json"))
    for prefix in ("shared://library/workflows", "shared://library/workflows/"):
        assert await resources.list_files(prefix, suffix=".json") == expected
    assert await resources.list_files("user://") == ("user://cards/amy.json",)
    assert await resources.list_files("shared://nothing") == ()
    assert [await resources.read_bytes(path) for path in expected] == [b"a", b"b", b"c"]


def test_listing_is_bounded_and_stays_inside(tmp_path: Path) -> None:
    data = data_dir(tmp_path)
    (data / "shared" / "library" / "key.json").symlink_to(data / "secret.key")
    (data / "shared" / "library" / "up").symlink_to(data)
    resources = FolderResources(data, "ann")
    assert not any("key" in path for path in resources.list_files_sync("shared://"))
    assert len(resources.list_files_sync("shared://library/workflows", suffix=".json", limit=3)) == 3
    with pytest.raises(ResourceError, match="more than 2 files") as caught:
        resources.list_files_sync("shared://library/workflows", suffix=".json", limit=2)
    assert caught.value.code == "too_many_files"
    with pytest.raises(ResourceError, match="refused"):
        resources.list_files_sync("shared://../users")


def write_code(resources: FolderResources, path: Any, tmp_path: Path, data: bytes = b"x") -> str:
    with pytest.raises(ResourceError) as caught:
        resources.write_sync(path, data)
    assert str(tmp_path) not in str(caught.value)
    return caught.value.code


async def test_file_is_written_whole_with_its_folders_and_over_the_old_one(tmp_path: Path) -> None:
    ann = FolderResources(tmp_path / "data", "ann")
    for data in (b"first", b"second", b""):
        await ann.write_bytes("user://new/folder/酒馆.txt", data)
        assert await ann.read_bytes("user://new/folder/酒馆.txt") == data
    # Nothing but the file: no temporary one is left.
    assert [file.name for file in (tmp_path / "data/users/ann/new/folder").iterdir()] == ["酒馆.txt"]
    assert stat.S_IMODE((tmp_path / "data/users/ann/new/folder/酒馆.txt").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "path",
    [
        "shared://a.txt",
        "system://a.txt",
        "user://",
        "user://a/",
        "user://a/.",
        "user://../bob/a.txt",
        "user://a/../../bob/a.txt",
        "user:///etc/passwd",
        "user://a\\b",
        "user://a\0b",
        "user://\ud800",
        f"user://{'n' * 256}",
        f"user://{'酒' * 90}",
        "user://" + "/".join(["d"] * 600),
        "user://.new-abc",
        "user://.hidden/a.txt",
        "user://a/.b",
        "user://a\nb",
        "user://\x85",
        "/etc/passwd",
        "a.txt",
        "",
        None,
    ],
)
def test_writing_out_of_bounds_is_refused(tmp_path: Path, path: Any) -> None:
    data = data_dir(tmp_path)
    before = sorted(data.rglob("*"))
    ann = FolderResources(data, "ann")
    assert write_code(ann, path, tmp_path) == "resource_refused"
    with pytest.raises(ResourceError, match="refused"):
        ann.delete_sync(path)
    assert sorted(data.rglob("*")) == before


def test_longest_name_is_written(tmp_path: Path) -> None:
    ann = FolderResources(tmp_path, "ann")
    ann.write_sync(f"user://{'n' * 255}", b"x")
    assert ann.read_sync(f"user://{'n' * 255}") == b"x"


def test_writable_schemes_are_the_owners_decision(tmp_path: Path) -> None:
    data = data_dir(tmp_path)
    admin = FolderResources(data, "ann", writable=frozenset({"shared", "system"}))
    admin.write_sync("shared://a.txt", b"1")
    admin.write_sync("system://a.txt", b"2")
    assert (data / "shared/a.txt").read_bytes() == b"1"
    assert write_code(admin, "user://a.txt", tmp_path) == "resource_refused"
    nobody = FolderResources(data, "ann", writable=frozenset())
    with pytest.raises(ResourceError, match=r"nothing can"):
        nobody.write_sync("user://a.txt", b"")


def test_links_are_never_written_through_to_the_outside(tmp_path: Path) -> None:
    data = data_dir(tmp_path)
    mine = data / "users" / "ann"
    (mine / "key").symlink_to(data / "secret.key")
    (mine / "up").symlink_to(data)
    (mine / "loop").symlink_to("loop")
    (mine / "inside").symlink_to("cards/amy.json")
    (mine / "dangling").symlink_to(data / "made.txt")
    ann = FolderResources(data, "ann")
    for path in ("user://key", "user://up/made.txt", "user://up/new/made.txt", "user://dangling"):
        assert write_code(ann, path, tmp_path) == "resource_refused"
    assert (data / "secret.key").read_text() == "never"
    assert not (data / "made.txt").exists()
    ann.write_sync("user://inside", b"written")
    assert (mine / "cards/amy.json").read_bytes() == b"written"
    with pytest.raises(ResourceError, match="refused"):
        ann.delete_sync("user://up/secret.key")
    # Of a link itself the link goes, not what it leads to.
    ann.delete_sync("user://key")
    assert (data / "secret.key").read_text() == "never"
    assert not (mine / "key").is_symlink()


def test_what_stands_in_the_way_is_told(tmp_path: Path) -> None:
    ann = FolderResources(data_dir(tmp_path), "ann")
    assert write_code(ann, "user://cards", tmp_path) == "resource_unwritable"
    assert write_code(ann, "user://cards/amy.json/more.txt", tmp_path) == "resource_unwritable"
    assert write_code(ann, "user://cards/amy.json/deeper/more.txt", tmp_path) == "resource_unwritable"
    with pytest.raises(ResourceError, match="it is a folder"):
        ann.delete_sync("user://cards")
    for path in ("user://nothing", "user://cards/amy.json/x"):
        with pytest.raises(ResourceError, match="there is no file") as caught:
            ann.delete_sync(path)
        assert caught.value.code == "resource_not_found"


def test_file_over_the_limit_is_not_written(tmp_path: Path) -> None:
    ann = FolderResources(tmp_path, "ann", max_bytes=10)
    ann.write_sync("user://a", b"0123456789")
    assert write_code(ann, "user://a", tmp_path, b"0123456789+") == "resource_too_large"
    assert ann.read_sync("user://a") == b"0123456789"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_disk_that_refuses_leaves_the_old_file_and_is_retryable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    ann = FolderResources(tmp_path, "ann")
    ann.write_sync("user://a/b", b"old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(ResourceError, match="No space left") as caught:
        ann.write_sync("user://a/b", b"new")
    monkeypatch.undo()
    assert (caught.value.code, caught.value.retryable) == ("storage_failed", True)
    assert ann.read_sync("user://a/b") == b"old"
    assert os.listdir(tmp_path / "users/ann/a") == ["b"]


async def test_ranges_and_facts_of_a_file(tmp_path: Path) -> None:
    ann = FolderResources(data_dir(tmp_path), "ann", max_bytes=6)
    (tmp_path / "data/shared/ten").write_bytes(b"0123456789")
    info = await ann.stat("shared://ten")
    assert info.size == 10
    assert abs(info.modified - time.time()) < 60
    assert await ann.read_range("shared://ten", 0, 4) == b"0123"
    assert await ann.read_range("shared://ten", 8, 6) == b"89"
    assert await ann.read_range("shared://ten", 10**30, 6) == b""
    assert await ann.read_range("shared://ten", 3, 0) == b""
    for start, length, code in ((-1, 2, "invalid_range"), (0, -1, "invalid_range"), (0, 7, "resource_too_large")):
        with pytest.raises(ResourceError) as caught:
            await ann.read_range("shared://ten", start, length)
        assert caught.value.code == code
    for path, code in (
        ("shared://nothing", "resource_not_found"),
        ("shared://library", "resource_unreadable"),
        ("shared://../secret.key", "resource_refused"),
    ):
        with pytest.raises(ResourceError) as caught:
            await ann.stat(path)
        assert caught.value.code == code


async def test_deleted_file_is_gone_and_its_folder_stays(tmp_path: Path) -> None:
    ann = FolderResources(data_dir(tmp_path), "ann")
    await ann.delete("user://cards/amy.json")
    assert ann.list_files_sync("user://") == ()
    assert (tmp_path / "data/users/ann/cards").is_dir()
    with pytest.raises(ResourceError, match="cannot be written here; user:// can"):
        await ann.delete("shared://library/workflows/a.json")


async def test_readers_see_one_of_the_versions_while_it_is_written(tmp_path: Path) -> None:
    ann = FolderResources(tmp_path, "ann")
    versions = [bytes([number]) * 200_000 for number in range(20)]
    await ann.write_bytes("user://a", versions[0])

    async def write() -> None:
        for version in versions:
            await ann.write_bytes("user://a", version)

    writing = asyncio.create_task(write())
    while not writing.done():
        assert await ann.read_bytes("user://a") in versions
    await writing
