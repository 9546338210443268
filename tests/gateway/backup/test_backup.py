"""Backup and restore of a data directory: what is in it, who is refused, and what a kill leaves."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.backup import restore as restoring
from innkeeper.gateway.backup.errors import BackupUnusable, CannotBackUp, CannotRestore
from innkeeper.gateway.backup.make import BackupOptions, Written, make_backup
from innkeeper.gateway.backup.restore import Restored, restore_backup
from innkeeper.gateway.process.data_dir import DataDir, DataDirInUse, DataLock
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.nodes.services.deletion_hold import deletions_held
from innkeeper.nodes.services.secrets import SecretStore, load_or_create_key

LEFT_OUT = {"lock", "logs", "logs/gateway.log", "results", "results/ab", "results/ab/cd", "blobs/ab.damaged-20261129"}
OF_THIS_COPY = {".innkeeper-data", "lock", "blobs/.lock", "blobs/.hold", "secrets/.lock", "secrets/.hold"}
KEYS = {"secret.key", "signing.json", "worker.token"}


def content_of(root: Path) -> dict[str, bytes | None]:
    """All files and folders below a folder, with what is in them."""
    paths = (path for path in root.rglob("*") if path.suffix not in (".db-wal", ".db-shm"))
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in paths}


def backup(data: Path, target: Path, **options: bool) -> Written:
    return make_backup(data, target, BackupOptions(**options), environ={}, progress=lambda *_: None)


def restore(source: Path, root: Path, *, replace: bool = False) -> Restored:
    return restore_backup(source, root, replace=replace, environ={}, progress=lambda *_: None)


@pytest.fixture
def archive(data: Path, tmp_path: Path) -> Path:
    backup(data, tmp_path / "backup.tar.gz", with_keys=True)
    return tmp_path / "backup.tar.gz"


def rows(path: Path) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT * FROM history").fetchall()


def test_restored_directory_holds_everything_but_what_belongs_to_the_old_place(
    data: Path, archive: Path, tmp_path: Path
) -> None:
    found = restore(archive, tmp_path / "new" / "data")
    old, new = content_of(data), content_of(tmp_path / "new" / "data")
    assert new.keys() - OF_THIS_COPY == old.keys() - LEFT_OUT - OF_THIS_COPY
    same = {name for name in new if name not in OF_THIS_COPY and not name.endswith(".db")}
    assert {name: new[name] for name in same} == {name: old[name] for name in same}
    assert rows(tmp_path / "new" / "data" / "temporal" / "temporal.db") == rows(data / "temporal" / "temporal.db")
    assert (found.has_keys, found.before) == (True, None)
    assert found.files == sum(content is not None for name, content in new.items() if name != ".innkeeper-data")


def test_all_that_is_made_is_for_its_user_only(archive: Path, tmp_path: Path) -> None:
    restore(archive, tmp_path / "new")
    paths = [archive, tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600, 0o700}
    assert not list(tmp_path.glob(".*"))


def test_keys_are_in_a_backup_only_when_asked_for_and_come_back_from_the_directory_that_is_replaced(
    data: Path, tmp_path: Path
) -> None:
    backup(data, tmp_path / "no-keys")
    assert not restore(tmp_path / "no-keys", tmp_path / "elsewhere").has_keys
    assert not KEYS & content_of(tmp_path / "elsewhere").keys()
    token = (data / "secret.key").read_bytes()
    assert token not in (tmp_path / "no-keys").read_bytes()

    replaced = restore(tmp_path / "no-keys", data, replace=True)
    assert replaced.has_keys
    assert replaced.before is not None
    assert (data / "secret.key").read_bytes() == (replaced.before / "secret.key").read_bytes() == token
    (data / "secret.key").write_text("another key, of somebody else's directory")
    assert not restore(tmp_path / "no-keys", data, replace=True).has_keys
    assert not (data / "secret.key").exists()


def test_other_programs_can_read_and_check_a_backup(data: Path, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path / "out"], check=True)
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=tmp_path / "out", check=True)
    with tarfile.open(archive) as packed:
        assert len(packed.getnames()) == len(set(packed.getnames())) > 30


def test_links_and_pipes_are_left_out_and_told(data: Path, tmp_path: Path) -> None:
    (data / "users" / "link").symlink_to("/etc/passwd")
    os.mkfifo(data / "shared" / "pipe")
    (data / "blobs").rename(tmp_path / "other-disk")
    (data / "blobs").symlink_to(tmp_path / "other-disk")
    assert backup(data, tmp_path / "b").left_out == 2
    restore(tmp_path / "b", tmp_path / "new")
    found = content_of(tmp_path / "new")
    assert not {"users/link", "shared/pipe"} & found.keys()
    assert sum(name.startswith("blobs/") and len(name) == 73 for name in found) == 20


# --- the databases ----------------------------------------------------------------------------------------------------

WRITE = """
import sqlite3, sys, time
paths = sys.argv[1:]
dbs = [sqlite3.connect(path, isolation_level=None, timeout=30) for path in paths]
for db in dbs:
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE IF NOT EXISTS counted(number)")
print("ready", flush=True)
number = 0
while True:
    number += 1
    for db in dbs:  # the first one is never behind the others, by more than one
        db.execute("INSERT INTO counted VALUES(?)", (number,))
"""


def test_all_databases_are_of_one_moment_while_they_are_written_to(data: Path, tmp_path: Path) -> None:
    names = ("events.db", "gateway.db", "temporal/temporal.db")
    command = [sys.executable, "-c", WRITE, *(str(data / name) for name in names)]
    lock = DataLock.acquire(DataDir(data))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        try:
            time.sleep(0.2)
            backup(data, tmp_path / "b")
            assert writer.poll() is None, "the writer was never refused"
        finally:
            writer.kill()
            lock.release()
    restore(tmp_path / "b", tmp_path / "new")
    counts = []
    for name in names:
        with contextlib.closing(sqlite3.connect(tmp_path / "new" / name)) as db:
            counts.append(db.execute("SELECT COUNT(*), MAX(number) FROM counted").fetchone())
    assert all(count == number > 0 for count, number in counts)
    first, *others = (count for count, _ in counts)
    assert others == sorted(others, reverse=True)
    assert first - others[-1] <= 1


def test_backup_of_a_stopped_directory_keeps_its_write_ahead_log(data: Path, tmp_path: Path) -> None:
    """It may have been noted as it is: one that is gone would be taken for damage."""
    path = data / "temporal" / "temporal.db"
    insert = "import sqlite3, os, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
    insert += "db.execute(\"INSERT INTO history VALUES('last')\"); os._exit(0)"
    subprocess.run([sys.executable, "-c", insert, path], check=True)
    wal = path.with_name("temporal.db-wal")
    before = (wal.read_bytes(), path.read_bytes())
    assert before[0]
    backup(data, tmp_path / "b")
    assert (wal.read_bytes(), path.read_bytes()) == before
    restore(tmp_path / "b", tmp_path / "new")
    assert rows(tmp_path / "new" / "temporal" / "temporal.db")[-1] == ("last",)


def test_damaged_database_makes_no_backup(data: Path, tmp_path: Path) -> None:
    path = data / "temporal" / "temporal.db"
    raw = bytearray(path.read_bytes())
    raw[4096:8192] = os.urandom(4096)
    path.write_bytes(raw)
    with pytest.raises(CannotBackUp, match="damaged"):
        backup(data, tmp_path / "b")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["data"]


def test_database_whose_schema_is_no_text_any_more_makes_no_backup(data: Path, tmp_path: Path) -> None:
    """SQLite quotes the place in its message, which then is no text either."""
    with contextlib.closing(sqlite3.connect(data / "events.db")) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    content = (data / "events.db").read_bytes()
    (data / "events.db").write_bytes(content.replace(b"NOT NULL", b"NOT N\xd5LL"))
    with pytest.raises(CannotBackUp, match="damaged"):
        backup(data, tmp_path / "b")


def test_collection_deletes_nothing_while_values_are_copied(data: Path) -> None:
    blobs = FolderBlobs(data / "blobs")
    value = next(blob.sha256 for folder in blobs.folders() for blob in blobs.stored(folder))
    store = SecretStore(data / "secrets", load_or_create_key(data, {}))
    secret = store.put("typed", "default_user").id
    later = time.time() + 60
    with deletions_held(data / "blobs"), deletions_held(data / "secrets"):
        assert not blobs.delete(value, later)
        assert not store.delete(secret, later)
        assert blobs.put_sync(b"writers go on")
    assert blobs.delete(value, later)
    assert store.delete(secret, later)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_backup_overwrites_nothing_and_never_backs_itself_up(data: Path, archive: Path, tmp_path: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(CannotBackUp, match="not overwritten"):
        backup(data, archive)
    assert archive.read_bytes() == before
    with pytest.raises(CannotBackUp, match="outside"):
        backup(data, data / "users" / "b")
    with pytest.raises(CannotBackUp, match="no folder"):
        backup(data, tmp_path / "missing" / "b")
    with pytest.raises(CannotBackUp, match="no data"):
        backup(tmp_path / "missing", tmp_path / "b")


def test_mount_point_is_not_exchanged(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "volume").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path / "volume")
    with pytest.raises(CannotRestore, match="volume/data"):
        restore(archive, tmp_path / "volume")
    restore(archive, tmp_path / "volume" / "data")


def test_restore_refuses_a_filled_or_used_directory(data: Path, archive: Path, tmp_path: Path) -> None:
    before = content_of(data)
    with pytest.raises(CannotRestore, match="--force"):
        restore(archive, data)
    lock = DataLock.acquire(DataDir(data))
    with pytest.raises(DataDirInUse):
        restore(archive, data, replace=True)
    lock.release()
    assert {**content_of(data), "lock": b""} == {**before, "lock": b""}
    (tmp_path / "empty").mkdir()
    restore(archive, tmp_path / "empty")
    assert (tmp_path / "empty" / "gateway.db").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_other_user_makes_no_files_in_a_directory(data: Path, archive: Path, tmp_path: Path) -> None:
    """The gateway could not open the lock files that root makes, and would collect nothing any more."""
    os.chown(data, 54321, 54321)
    with pytest.raises(CannotBackUp, match="another user"):
        backup(data, tmp_path / "b")
    with pytest.raises(CannotRestore, match="another user"):
        restore(archive, data, replace=True)


def refuses(source: Path, root: Path) -> str:
    """Why a file is refused; nothing is left of the attempt."""
    with pytest.raises(BackupUnusable) as refused:
        restore(source, root)
    assert not root.exists()
    assert not list(root.parent.glob(f".{root.name}.*"))
    return refused.value.message


def test_flipped_bit_or_lost_end_is_refused_or_harms_nothing(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    restore(archive, tmp_path / "good")
    dice = random.Random(7)
    spoilt, refused = tmp_path / "spoilt", 0
    for number in range(24):
        raw = bytearray(whole)
        if number % 4 == 0:
            raw = raw[: dice.randrange(len(raw))]
        else:
            raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        spoilt.write_bytes(raw)
        try:
            restore(spoilt, tmp_path / f"r{number}")
        except BackupUnusable:
            refused += 1
            assert not (tmp_path / f"r{number}").exists()
        else:  # a bit that says nothing: of the time in gzip's header, or of a code that no byte uses
            assert gzip.decompress(raw) == gzip.decompress(whole)
    assert refused >= 12  # most of them


@pytest.mark.parametrize("end", [b"\0" * 10, b"more", b"\x1f\x8b"])
def test_something_behind_the_end_is_refused_unless_it_is_empty(archive: Path, tmp_path: Path, end: bytes) -> None:
    (tmp_path / "longer").write_bytes(archive.read_bytes() + end)
    if end.strip(b"\0"):
        refuses(tmp_path / "longer", tmp_path / "new")
    else:
        restore(tmp_path / "longer", tmp_path / "new")


Change = Callable[[tarfile.TarInfo], None]


def link_to(target: str, kind: bytes = tarfile.SYMTYPE) -> Change:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.size = kind, target, 0

    return change


def named(name: str) -> Change:
    def change(info: tarfile.TarInfo) -> None:
        info.name = name

    return change


def of_kind(kind: bytes) -> Change:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.size = kind, 0

    return change


HOSTILE: dict[str, Change] = {
    "parent": named("data/../../evil"),
    "absolute": named("/tmp/evil"),
    "outside": named("evil"),
    "inner parent": named("data/blobs/../../evil"),
    "double slash": named("data//evil"),
    "write-ahead log": named("data/gateway.db-wal"),
    "journal": named("data/temporal/temporal.db-journal"),
    "mark": named("data/.innkeeper-data"),
    "lock": named("data/lock"),
    "twice": named("data/gateway.db"),
    "below a file": named("data/gateway.db/evil"),
    "symbolic link": link_to("/etc/passwd"),
    "hard link": link_to("data/gateway.db", tarfile.LNKTYPE),
    "device": of_kind(tarfile.CHRTYPE),
    "pipe": of_kind(tarfile.FIFOTYPE),
    "sparse": of_kind(tarfile.GNUTYPE_SPARSE),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_archive_with_what_no_backup_holds_is_refused(archive: Path, tmp_path: Path, change: Change) -> None:
    """Each has right sums: who made it knows the format."""
    hostile = tmp_path / "hostile"
    with tarfile.open(archive) as good, tarfile.open(hostile, "w:gz", format=tarfile.PAX_FORMAT) as bad:
        for info in good.getmembers():
            if info.name == "data/port" or info.name == "SHA256SUMS":
                continue
            bad.addfile(info, good.extractfile(info))
        info = tarfile.TarInfo("data/evil")
        change(info)
        bad.addfile(info)
    refuses(hostile, tmp_path / "new")
    assert not (tmp_path / "evil").exists()


def test_archive_that_unpacks_to_more_than_the_disk_is_refused_before_it_fills_it(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(CannotRestore, match="is full"):
        restore(archive, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_header_that_would_fill_the_memory_is_refused(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as good, tarfile.open(tmp_path / "bad", "w:gz", format=tarfile.PAX_FORMAT) as bad:
        first = good.getmembers()[0]
        bad.addfile(first, good.extractfile(first))
        info = tarfile.TarInfo("data/x")
        info.pax_headers = {"comment": "x" * 200_000}
        bad.addfile(info)
    assert "too long" in refuses(tmp_path / "bad", tmp_path / "new")


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08"])
def test_other_file_is_no_backup(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b").write_bytes(content)
    refuses(tmp_path / "b", tmp_path / "new")
    with tarfile.open(tmp_path / "c", "w:gz") as packed:
        packed.add(tmp_path / "b", "data/b")
    assert "no backup" in refuses(tmp_path / "c", tmp_path / "new")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("gateway.db", "UPDATE alembic_version SET version_num='9999'"),
        ("events.db", "INSERT OR REPLACE INTO meta VALUES('format_version', '9')"),
    ],
)
def test_backup_of_a_newer_version_is_refused(data: Path, tmp_path: Path, name: str, change: str) -> None:
    with contextlib.closing(sqlite3.connect(data / name, isolation_level=None)) as db:
        db.execute(change)
    backup(data, tmp_path / "b")
    assert "newer version" in refuses(tmp_path / "b", tmp_path / "new")


# --- crashes and full disks -------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from innkeeper.gateway.backup import make, restore
module, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
target = {"make": make, "restore": restore}[module]
original, calls = getattr(target, name), 0
def dying(*arguments, **options):
    global calls
    calls += 1
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)
setattr(target, name, dying)
source, place = map(Path, sys.argv[4:])
if module == "make":
    make.make_backup(source, place, make.BackupOptions(), environ={}, progress=lambda *_: None)
else:
    restore.restore_backup(source, place, replace=True, environ={}, progress=lambda *_: None)
"""


def killed(module: str, name: str, count: int, source: Path, place: Path) -> None:
    command = [sys.executable, "-c", KILLED, module, name, str(count), str(source), str(place)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize(("name", "count"), [("copy_database", 2), ("part_of", 40), ("_put_in_place", 1)])
def test_killed_backup_leaves_no_file_and_the_next_one_removes_its_rest(
    data: Path, tmp_path: Path, name: str, count: int
) -> None:
    killed("make", name, count, data, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert len(list(tmp_path.glob(".innkeeper-backup-*"))) == 1
    backup(data, tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "data"]


@pytest.mark.parametrize(("name", "count"), [("_write", 10), ("begin_new_log", 1), ("_put_in_place", 1)])
def test_killed_restore_leaves_the_directory_as_it_was(
    data: Path, archive: Path, tmp_path: Path, name: str, count: int
) -> None:
    before = content_of(data)
    killed("restore", name, count, archive, data)
    assert {**content_of(data), "lock": b""} == {**before, "lock": b""}
    restore(archive, data, replace=True)
    assert not list(tmp_path.glob(".*"))


def test_full_disk_is_told_and_leaves_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotBackUp, match="is full: make room"):
        backup(data, tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
