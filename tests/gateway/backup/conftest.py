"""A small data directory with a bit of everything, without processes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from innkeeper.gateway.events.sqlite import create_log
from innkeeper.gateway.process.data_dir import DataDir
from innkeeper.gateway.store.engine import create_store
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.nodes.services.secrets import OPERATOR, SecretStore, load_or_create_key


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = DataDir.open(tmp_path_factory.mktemp("made") / "data").root
    create_store(root / "gateway.db")
    create_log(root / "events.db")
    with contextlib.closing(sqlite3.connect(root / "temporal" / "temporal.db")) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE history(text)")
        db.executemany("INSERT INTO history VALUES(?)", [(str(number) * 100,) for number in range(300)])
        db.commit()
    for number in range(20):
        asyncio.run(FolderBlobs(root / "blobs").put(hashlib.sha256(bytes([number])).digest() * 100 * number))
    SecretStore(root / "secrets", load_or_create_key(root, {})).put("sk-1", OPERATOR)
    notes = root / "users" / "default_user" / ("very long " * 20).strip()
    notes.mkdir(parents=True)
    (notes / "ünïcode\nand \\more.txt").write_text("mine")
    (notes / "empty").mkdir()
    if sys.platform == "linux":
        Path(os.fsdecode(bytes(notes) + b"/no \xff text.txt")).write_text("yours")
    for name in ("signing.json", "worker.token", "results/ab/cd", "logs/gateway.log", "blobs/ab.damaged-20261129"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """A data directory of the test's own."""
    return Path(shutil.copytree(made, tmp_path / "data"))
