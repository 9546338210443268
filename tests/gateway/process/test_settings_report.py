"""The list of all settings: complete, true, and without a secret; and the page that is made of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from innkeeper.gateway.process.settings_report import report_json, report_of, report_page, value_text
from innkeeper.nodes.process.settings import SettingsError
from innkeeper.nodes.process.variables import KNOWN_VARIABLES

ROOT = Path(__file__).parents[3]
PACKAGES = ("nodes", "workflows", "activities", "gateway")


@pytest.fixture
def environ() -> dict[str, str]:
    """What a process of ours needs, without a setting from outside."""
    return {name: value for name, value in os.environ.items() if not name.startswith("INNKEEPER_")}


def test_page_is_what_the_command_prints(environ: dict[str, str]) -> None:
    printed = report_page({**environ, "INNKEEPER_PORT": "not looked at"})
    assert (ROOT / "docs/settings.md").read_text("utf-8") == printed, "run: innkeeper settings --markdown"


def test_every_variable_that_the_code_names_is_on_the_page() -> None:
    sources = (file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    named = {name for file in sources for name in re.findall(r"\bINNKEEPER_[A-Z_]*[A-Z]\b", file.read_text("utf-8"))}
    page = (ROOT / "docs/settings.md").read_text("utf-8")
    assert {name for name in named | KNOWN_VARIABLES if f"| `{name}` |" not in page} == set()
    assert "INNKEEPER_DEBUG" in named


def test_every_number_has_bounds_and_every_setting_a_meaning(environ: dict[str, str]) -> None:
    for rows in report_of(environ).values():
        for row in rows:
            assert row.meaning, row.variable
            assert " number" not in row.allowed or " between " in row.allowed, row.variable
            assert row.unit or not row.variable.endswith(("_S", "_DAYS", "_BYTES", "_MB")), row.variable


def test_each_value_says_where_it_comes_from(environ: dict[str, str]) -> None:
    environ |= {"INNKEEPER_FLUSH_TIMEOUT_S": "5", "INNKEEPER_PORT": "1", "INNKEEPER_DEBUG": "1"}
    report = report_of(environ, {"INNKEEPER_PORT": "2"})
    rows = {(section, row.variable): row for section, found in report.items() for row in found}
    for section in ("gateway", "worker"):
        row = rows[section, "INNKEEPER_FLUSH_TIMEOUT_S"]
        assert (row.value, row.source, row.default) == (5.0, "environment", 30.0)
    assert (rows["gateway", "INNKEEPER_PORT"].value, rows["gateway", "INNKEEPER_PORT"].source) == (2, "argument")
    assert rows["gateway", "INNKEEPER_HOST"].source == "default"
    assert rows["other", "INNKEEPER_DEBUG"].source == "environment"


def test_secrets_are_masked_whatever_their_length(environ: dict[str, str]) -> None:
    names = ("INNKEEPER_ACCESS_TOKEN", "INNKEEPER_WORKER_TOKEN", "INNKEEPER_SECRET_KEY")
    short = report_json(report_of({**environ, **dict.fromkeys(names, "canary")}))
    long = report_json(report_of({**environ, **dict.fromkeys(names, "canary" * 20)}))
    assert short == long
    assert "canary" not in str(short)


def test_wrong_values_of_both_processes_are_told_together(environ: dict[str, str]) -> None:
    environ |= {"INNKEEPER_PORT": "x", "INNKEEPER_MAX_ACTIVITIES": "0", "INNKEEPER_QUEUES": "gpu"}
    with pytest.raises(SettingsError) as refused:
        report_of(environ)
    assert "gateway: INNKEEPER_PORT='x'" in refused.value.message
    assert "worker: INNKEEPER_MAX_ACTIVITIES='0'" in refused.value.message


@pytest.mark.parametrize(
    ("value", "text"),
    [(7.0, "7"), (0.5, "0.5"), (None, "-"), ([], "-"), (True, "true"), (["a", "b"], "a,b"), ("", "-")],
)
def test_values_are_written_as_people_would(value: object, text: str) -> None:
    assert value_text(value) == text  # type: ignore[arg-type]
