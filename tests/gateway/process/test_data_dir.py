"""The data directory: made, refused, and locked by one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from innkeeper.gateway.process.data_dir import (
    DataDir,
    DataDirError,
    DataDirInUse,
    DataLock,
    holder_of,
    private_files,
)

HOLD = """
import sys, time
from pathlib import Path
from innkeeper.gateway.process.data_dir import DataDir, DataLock
lock = DataLock.acquire(DataDir.open(Path(sys.argv[1])))
lock.tell({"pid": __import__("os").getpid(), "address": "http://127.0.0.1:1"})
print("held", flush=True)
time.sleep(60)
"""


def test_open_makes_a_private_directory_with_its_folders(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path / "deep" / "data")
    assert stat.S_IMODE(data.root.stat().st_mode) == 0o700
    assert data.logs.is_dir()
    assert (data.root / "shared" / "library" / "workflows").is_dir()
    assert DataDir.open(data.root) == data


@pytest.mark.parametrize("mode", [0o755, 0o775, 0o777, 0o750, 0o2775])
def test_open_keeps_others_out_of_a_directory_that_was_there_before(tmp_path: Path, mode: int) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(mode)
    DataDir.open(tmp_path / "data")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


@pytest.mark.parametrize(("mode", "owner"), [(0o1777, None), (0o755, 54321)])
def test_open_on_what_is_not_ours_to_close_says_how_to(tmp_path: Path, mode: int, owner: int | None) -> None:
    root = tmp_path / "a folder"
    root.mkdir()
    root.chmod(mode)
    if owner is not None:
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder away")
        os.chown(root, owner, owner)
    with pytest.raises(DataDirError, match=r"chmod 700 '/.*a folder'.*--data-dir"):
        DataDir.open(root)
    assert stat.S_IMODE(root.stat().st_mode) == mode


def test_private_files_are_private_and_the_umask_comes_back(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with private_files():
            (tmp_path / "inside").touch()
        (tmp_path / "after").touch()
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("inside", "after")}
    assert modes == {"inside": 0o600, "after": 0o644}


def test_open_on_a_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataDirError, match=r"cannot write to the data directory .*--data-dir"):
        DataDir.open(tmp_path / "data")


def test_open_where_nothing_can_be_made_says_what_to_do() -> None:
    with pytest.raises(DataDirError, match="cannot write to the data directory '/proc/innkeeper'"):
        DataDir.open(Path("/proc/innkeeper"))


def test_open_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("innkeeper.gateway.process.data_dir.file_system_of", lambda path: "nfs4")
    with pytest.raises(DataDirError, match="network file system"):
        DataDir.open(tmp_path)


def test_second_holder_is_refused_with_pid_and_address_of_the_first(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            with pytest.raises(DataDirInUse, match=f"process {holder.pid} at http://127.0.0.1:1") as caught:
                DataLock.acquire(data)
            assert caught.value.details == {"pid": holder.pid, "address": "http://127.0.0.1:1"}
            assert holder_of(tmp_path) == caught.value.details
        finally:
            holder.kill()
    lock = DataLock.acquire(data)  # the lock of a killed holder is free at once
    lock.release()
    assert holder_of(tmp_path) is None


def test_lock_waits_for_the_children_of_a_killed_holder(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path)
    lock = DataLock.acquire(data)
    lock.tell({"pid": _dead_pid()})
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"], pass_fds=(lock.fd,)):
        os.close(lock.fd)  # as if its holder had been killed: the child still has the file open
        assert holder_of(tmp_path) is not None
        DataLock.acquire(data).release()


def test_holder_of_a_missing_directory_is_none(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "nothing") is None


def _dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_what_is_in_the_wrong_place_is_put_aside_and_what_its_owner_cannot_read_is_made_readable(
    tmp_path: Path,
) -> None:
    root = tmp_path / "data"
    DataDir.open(root)
    (root / "secret.key").write_text("k" * 43)
    (root / "secret.key").chmod(0o000)
    (root / "worker.token").mkdir()
    (root / "worker.token" / "inside").write_text("x")
    (root / "blobs").write_text("a file")
    DataDir.open(root)
    assert (root / "secret.key").stat().st_mode & 0o777 == 0o600
    (token,), (blobs,) = root.glob("worker.token.damaged-*"), root.glob("blobs.damaged-*")
    assert (token / "inside").read_text() == "x"
    assert blobs.read_text() == "a file"
    told = (root / "damage.log").read_text()
    assert [name for name in ("secret.key", token.name, blobs.name) if name not in told] == []
    DataDir.open(root)
    assert (root / "damage.log").read_text() == told
