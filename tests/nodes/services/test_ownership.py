"""Which data directories are the user's own, and which may have come with a download."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.nodes.services.ownership import MARKER, ForeignDataDir, check_own, mark_own


def made(root: Path, mode: int = 0o700) -> Path:
    root.mkdir()
    root.chmod(mode)
    (root / "channels.yaml").write_text("channels: []")
    return root


def refused(root: Path) -> str:
    with pytest.raises(ForeignDataDir) as caught:
        check_own(root)
    return caught.value.message


def test_a_directory_that_is_not_there_or_empty_is_ours(tmp_path: Path) -> None:
    check_own(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    check_own(tmp_path / "empty")


def test_a_marked_directory_is_ours(tmp_path: Path) -> None:
    root = made(tmp_path / "data")
    assert "--data-dir" in refused(root)
    mark_own(root)
    check_own(root)
    assert (root / MARKER).stat().st_mode & 0o077 == 0


def test_a_marked_directory_that_was_copied_is_not(tmp_path: Path) -> None:
    root = made(tmp_path / "data")
    mark_own(root)
    shutil.copytree(root, tmp_path / "copy")
    (tmp_path / "copy").chmod(0o700)
    refused(tmp_path / "copy")
    mark_own(tmp_path / "copy")
    check_own(tmp_path / "copy")


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_one_that_others_can_enter_is_not(tmp_path: Path, mode: int) -> None:
    root = made(tmp_path / "data")
    mark_own(root)
    root.chmod(mode)
    refused(root)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"inode": "x"}', b'{"inode": 1}', b"\xff" * 2_000])
def test_an_odd_marker_marks_nothing(tmp_path: Path, content: bytes) -> None:
    root = made(tmp_path / "data")
    (root / MARKER).write_bytes(content)
    refused(root)


def test_a_link_is_not(tmp_path: Path) -> None:
    mark_own(made(tmp_path / "elsewhere"))
    (tmp_path / "data").symlink_to(tmp_path / "elsewhere")
    refused(tmp_path / "data")


def _directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("odd", [_directory, lambda path: path.symlink_to("/etc/hostname"), lambda path: None])
def test_one_of_an_earlier_version_holds_what_that_one_made(tmp_path: Path, odd: Callable[[Path], None]) -> None:
    root = made(tmp_path / "data")
    (root / "lock").touch()
    odd(root / "gateway.db")
    refused(root)
    if (root / "gateway.db").is_dir() and not (root / "gateway.db").is_symlink():
        (root / "gateway.db").rmdir()
    (root / "gateway.db").unlink(missing_ok=True)
    (root / "gateway.db").touch()
    check_own(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_one_of_another_user_is_not(tmp_path: Path) -> None:
    root = made(tmp_path / "data")
    mark_own(root)
    os.chown(root, 54321, 54321)
    refused(root)
