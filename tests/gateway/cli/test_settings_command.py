"""`innkeeper settings`, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

COMMAND = (sys.executable, "-P", "-m", "innkeeper.gateway.cli.main", "settings")


def innkeeper_settings(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    ours = {f"INNKEEPER_{name}": text for name, text in variables.items()}
    others = {name: text for name, text in os.environ.items() if not name.startswith("INNKEEPER_")}
    environ = {**others, **ours, "COLUMNS": "80"}
    return subprocess.run(
        [*COMMAND, *options], env=environ, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_table_names_each_variable_in_full_with_value_and_source(tmp_path: Path) -> None:
    done = innkeeper_settings(tmp_path, "--port", "0", USER="anna", WORKER_TOKEN="canary", PROT="1")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["INNKEEPER_PORT", "0", "argument"] in lines
    assert ["INNKEEPER_USER", "anna", "environment"] in lines
    assert ["INNKEEPER_RESULT_DAYS", "7", "days", "default"] in lines
    assert ["INNKEEPER_WORKER_TOKEN", "***", "environment"] in lines
    assert "did you mean INNKEEPER_PORT?" in done.stderr
    assert done.returncode == 0


def test_json_is_for_programs(tmp_path: Path) -> None:
    done = innkeeper_settings(tmp_path, "--json", "--plugins", "some", LOG_LEVEL="debug")
    report = json.loads(done.stdout)
    assert set(report) == {"gateway", "worker", "other"}
    for process in ("gateway", "worker"):
        rows = {row["variable"]: row for row in report[process]}
        assert rows["INNKEEPER_LOG_LEVEL"]["value"] == "DEBUG"
        assert rows["INNKEEPER_PLUGINS"]["value"] == [str(tmp_path / "some")]
        assert rows["INNKEEPER_PLUGINS"]["source"] == "argument"


def test_wrong_values_are_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    done = innkeeper_settings(tmp_path, PORT="web", RESULT_BYTES="nan")
    assert (done.returncode, done.stdout) == (1, "")
    assert "INNKEEPER_PORT='web'" in done.stderr
    assert "INNKEEPER_RESULT_BYTES='nan'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
