"""Large values by content hash."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.node import Blobs
from innkeeper.nodes.services import blobs as module
from innkeeper.nodes.services.blobs import FolderBlobs


def code_of(caught: pytest.ExceptionInfo[ResourceError]) -> str:
    return caught.value.code


async def test_value_comes_back_by_its_hash_also_in_another_process_view(tmp_path: Path) -> None:
    blobs: Blobs = FolderBlobs(tmp_path / "blobs")
    data = b"\0once upon a time\xff" * 1000
    sha256 = await blobs.put(data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert await FolderBlobs(tmp_path / "blobs").get(sha256) == data
    assert await blobs.get(await blobs.put(b"")) == b""


def test_same_value_is_stored_once_even_at_the_same_moment(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(FolderBlobs(tmp_path).put_sync, [b"same" * 5000] * 20))
    assert len(set(names)) == 1
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]
    assert [file.name for file in files] == [names[0]]
    assert files[0].parent.name == names[0][:2]
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600


def aged(path: Path, seconds: float = 100) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_value_that_is_stored_again_or_kept_is_new(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    sha256 = blobs.put_sync(b"value")
    for again in (lambda: blobs.put_sync(b"value"), lambda: blobs.keep(sha256)):
        aged(tmp_path / sha256[:2] / sha256)
        again()
        assert not blobs.delete(sha256, time.time() - 10)
        assert blobs.get_sync(sha256) == b"value"
    aged(tmp_path / sha256[:2] / sha256)
    assert blobs.delete(sha256, time.time() - 10)
    assert not blobs.delete(sha256, time.time() - 10)
    assert not blobs.keep(sha256)
    assert not blobs.keep("../../etc/passwd")


def test_value_that_is_kept_in_the_moment_of_its_deletion_stays(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    sha256 = blobs.put_sync(b"value")
    aged(tmp_path / sha256[:2] / sha256)
    with ThreadPoolExecutor(1) as pool:
        with blobs._locked(fcntl.LOCK_SH):
            deletion = pool.submit(blobs.delete, sha256, time.time() - 10)
            time.sleep(0.05)
            assert not deletion.done()
            os.utime(tmp_path / sha256[:2] / sha256)
        assert deletion.result(5) is False
    assert blobs.get_sync(sha256) == b"value"


def test_value_that_goes_while_it_is_stored_again_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = FolderBlobs(tmp_path)
    sha256 = blobs.put_sync(b"value")
    aged(tmp_path / sha256[:2] / sha256)
    holds = module._holds

    def deleted_after_the_look(path: Path, data: bytes) -> bool:
        return holds(path, data) and blobs.delete(sha256, time.time() - 10)

    monkeypatch.setattr(module, "_holds", deleted_after_the_look)
    assert blobs.put_sync(b"value") == sha256
    assert blobs.get_sync(sha256) == b"value"


PUTS = """
import random, sys, time
from pathlib import Path
from innkeeper.nodes.services.blobs import FolderBlobs
blobs = FolderBlobs(Path(sys.argv[1]))
end = time.monotonic() + 2
while time.monotonic() < end:
    began = time.time()
    names = [blobs.put_sync(b"%d" % number) for number in range(5)]
    found = [blobs.keep(name) for name in names]
    assert all(found) or time.time() - began > 0.04
    time.sleep(random.uniform(0, 0.12))
"""


def test_processes_that_store_and_delete_lose_nothing(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    writers = [subprocess.Popen([sys.executable, "-c", PUTS, str(tmp_path)]) for _ in range(2)]
    names = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(5)]
    deleted = 0
    while any(writer.poll() is None for writer in writers):
        deleted += sum(blobs.delete(name, time.time() - 0.05) for name in names)
        time.sleep(0.001)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert deleted > 10


def test_limit_is_named_and_inclusive(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path, max_bytes=10)
    assert blobs.get_sync(blobs.put_sync(b"0123456789")) == b"0123456789"
    with pytest.raises(ResourceError, match="11 bytes is over the limit of 10") as caught:
        blobs.put_sync(b"0123456789a")
    assert code_of(caught) == "blob_too_large"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a" * 63, "A" * 64, "g" * 64, "a" * 64 + "\n", None, 7])
def test_name_that_is_no_hash_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResourceError) as caught:
        FolderBlobs(tmp_path).get_sync(name)
    assert code_of(caught) == "invalid_blob"


def test_missing_value_is_told_without_paths(tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as caught:
        FolderBlobs(tmp_path).get_sync("a" * 64)
    assert code_of(caught) == "blob_not_found"
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"other bytes!", b"longer than it was before"])
def test_damaged_value_is_never_given_and_heals_when_stored_again(tmp_path: Path, content: bytes) -> None:
    blobs = FolderBlobs(tmp_path)
    sha256 = blobs.put_sync(b"right bytes!")
    (tmp_path / sha256[:2] / sha256).write_bytes(content)
    with pytest.raises(ResourceError) as caught:
        blobs.get_sync(sha256)
    assert code_of(caught) == "blob_damaged"
    assert blobs.put_sync(b"right bytes!") == sha256
    assert blobs.get_sync(sha256) == b"right bytes!"


def test_disk_that_refuses_is_a_retryable_error_without_paths(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be")
    with pytest.raises(ResourceError, match="cannot be written") as caught:
        FolderBlobs(tmp_path / "blobs").put_sync(b"x")
    assert (code_of(caught), caught.value.retryable) == ("storage_failed", True)
    assert str(tmp_path) not in str(caught.value)
