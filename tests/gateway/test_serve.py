"""The gateway process: what it says when it cannot start, and how it is served."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from innkeeper.gateway import serve
from innkeeper.gateway.process.listening_socket import listen
from innkeeper.gateway.settings import Settings
from innkeeper.nodes.errors import InnkeeperError


def other_log_format(data: Path) -> None:
    with sqlite3.connect(data / "events.db") as db:
        db.execute("CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        db.executemany("INSERT INTO meta VALUES(?, '99')", [("format",), ("format_version",)])


def newer_store(data: Path) -> None:
    with sqlite3.connect(data / "gateway.db") as db:
        db.execute("CREATE TABLE alembic_version(version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        db.execute("INSERT INTO alembic_version VALUES('9999')")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (other_log_format, ("events.db", "format 99", "use the version that wrote it")),
        (newer_store, ("gateway.db", "another version", "backup")),
    ],
)
def test_data_directory_that_cannot_be_opened_is_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    spoil(tmp_path)
    with listen("127.0.0.1", 0) as sock, pytest.raises(InnkeeperError) as refused:
        serve.serve(Settings(data_dir=tmp_path, temporal_address="127.0.0.1:9"), sock)
    said = refused.value.message
    assert [word for word in words if word not in said] == []
    assert "\n" not in said


def test_bug_at_the_start_is_named_by_its_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("secret detail")

    monkeypatch.setattr("innkeeper.gateway.container.load_catalogue", broken)
    with listen("127.0.0.1", 0) as sock, pytest.raises(serve.CannotStart, match="reference") as refused:
        serve.serve(Settings(data_dir=tmp_path, temporal_address="127.0.0.1:9"), sock)
    assert "secret" not in refused.value.message


def test_process_that_cannot_start_ends_with_the_sentence_and_without_traceback(tmp_path: Path) -> None:
    other_log_format(tmp_path)
    env = {**os.environ, "INNKEEPER_PORT": "0", "INNKEEPER_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "innkeeper.gateway.serve"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "use the version that wrote it" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_misspelled_setting_is_told_in_a_line_of_the_log_and_secrets_of_the_environment_are_not(tmp_path: Path) -> None:
    other_log_format(tmp_path)
    variables = {"PROT": "0", "PORT": "0", "DATA_DIR": str(tmp_path), "WORKER_TOKEN": "gateway listens"}
    env = {**os.environ, **{f"INNKEEPER_{name}": text for name, text in variables.items()}}
    command = [sys.executable, "-m", "innkeeper.gateway.serve"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    first, second = (orjson.loads(line) for line in ended.stderr.splitlines()[:2])
    assert (first["level"], "did you mean INNKEEPER_PORT?" in first["message"]) == ("warning", True)
    assert second["message"].startswith("the *** at http://")


def test_gateway_may_have_many_connections() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1000, before[1]), before[1]))
    try:
        serve._allow_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(serve.MAX_OPEN_FILES, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_threads_of_databases_wait_one_millisecond_for_a_busy_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = sys.getswitchinterval(), []
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: seen.append(sys.getswitchinterval()))
    try:
        with listen("127.0.0.1", 0) as sock:
            serve.serve(Settings(data_dir=tmp_path, temporal_address="127.0.0.1:9"), sock)
    finally:
        sys.setswitchinterval(before)
    assert seen == [pytest.approx(0.001)]
