"""Every command line of README and docs/ names commands, arguments and options that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.gateway.cli.command_reference import commands
from innkeeper.gateway.cli.command_reference import typed as resolved
from tests.docs.pages import PAGES, ROOT, code_blocks

OURS = re.compile(r"^\$ (?:\w+=\S+ )*(?:\.venv/bin/)?innkeeper (.*)$", re.MULTILINE)
INLINE = re.compile(r"`(?:\.venv/bin/)?innkeeper ([a-z][a-z-]*)([^`]*)`")
OPERATORS = {"|", ">", "2>", "&&", ";", "&"}


def typed() -> Iterator[tuple[str, str]]:
    """Page and arguments of every command line in a block of shell commands."""
    for page in (ROOT / "README.md", *PAGES):
        for language in ("console", "shell", "bash", "sh"):
            for block in code_blocks(page.read_text(), language):
                for line in OURS.findall(block.replace("\\\n", " ")):
                    yield str(page.relative_to(ROOT)), line


def words_of(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    return words[: next((place for place, word in enumerate(words) if word in OPERATORS), len(words))]


@pytest.mark.parametrize(("page", "line"), dict.fromkeys(typed()))
def test_command_line_is_understood(page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugins").mkdir()
    monkeypatch.chdir(tmp_path)
    words = words_of(line)
    if words[0].startswith("-"):
        return
    name, command, arguments = resolved(words)
    with command.make_context(name, arguments):
        pass


def test_commands_and_options_in_sentences_are_there() -> None:
    known = commands()
    wrong = []
    for page in (ROOT / "README.md", *PAGES):
        for name, rest in INLINE.findall(page.read_text()):
            two = " ".join((name, *rest.split()[:1]))
            name = two if two in known else name
            options = {option for item in known[name].params for option in item.opts} if name in known else set()
            used = re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest)
            if name not in known or not {*used} <= {*options, "--help"}:
                wrong.append(f"{page.name}: innkeeper {name}{rest}")
    assert wrong == []
