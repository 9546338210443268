"""Files by logical path never leave their folder, and errors never name the server's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodes.errors import ResourceError
from nodes.node import Resources
from nodes.services.resources import FolderResources


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
