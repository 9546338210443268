"""The messages of docs/troubleshooting.md are those of the code, and the files of docs/operating.md are usable."""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.gateway.cli.commands import command_line
from innkeeper.nodes.process.variables import KNOWN_VARIABLES
from tests.docs.pages import DOCS, ROOT

PAGE = (DOCS / "troubleshooting.md").read_text()
GAP = "\0"
UNIT = ROOT / "deploy" / "systemd" / "innkeeper.service"
OPERATING = [DOCS / "operating.md", UNIT, *sorted((ROOT / "examples" / "proxy").iterdir())]


def quoted_messages() -> list[str]:
    """The first cell of each row that holds a message."""
    return re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)


@functools.cache
def texts_of_the_code() -> str:
    """All texts in the sources, one a line; where something is filled in there is a gap."""
    files = [file for name in ("nodes", "workflows", "activities", "gateway") for file in (ROOT / name).rglob("*.py")]
    return "\n".join(text for file in files for text in texts_in(ast.parse(file.read_text())))


def texts_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else GAP for part in node.values]
            yield "".join(map(str, parts)).replace("\n", " ")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # What `%s` stands for in a line of the log.
            yield re.sub(r"%(\.\d)?[sdrfg]", GAP, node.value.replace("\n", " "))


def is_said(message: str) -> bool:
    """Does one text of the code hold the pieces between the dots, each dots standing for something filled in?"""
    pieces = [re.escape(piece) for piece in message.split("...")]
    return re.search(f"[^\n{GAP}]*{GAP}[^\n]*?".join(pieces), texts_of_the_code()) is not None


@pytest.mark.parametrize("message", quoted_messages())
def test_every_quoted_message_is_in_the_code(message: str) -> None:
    assert is_said(message)


def test_a_message_that_nobody_says_is_noticed() -> None:
    assert len(quoted_messages()) > 60
    assert is_said("no gateway answers at ...")
    assert not is_said("no gateway answers on ...")
    assert not is_said("no gateway ... answers at")


@pytest.mark.parametrize("file", OPERATING, ids=lambda file: file.name)
def test_every_setting_that_is_named_is_known(file: Path) -> None:
    named = set(re.findall(r"INNKEEPER_[A-Z_]+[A-Z]", file.read_text()))
    assert named - KNOWN_VARIABLES == set()


def test_unit_starts_a_command_with_options_that_there_are() -> None:
    (name, arguments), *others = re.findall(r"^ExecStart=\S+/innkeeper ([a-z-]+)(.*)$", UNIT.read_text(), re.MULTILINE)
    command = command_line().commands[name]
    assert not others
    assert command.parse_args(command.make_context(name, [], resilient_parsing=True), arguments.split()) == []


def test_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("systemd-analyze is not on PATH")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/innkeeper/bin/innkeeper", "/bin/true"))
    checked = subprocess.run(
        [checker, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=30, check=False
    )
    assert UNIT.name not in checked.stderr
    assert checked.returncode == 0, checked.stderr
