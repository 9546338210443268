"""`docs/cli.md` is what the code writes, and every example in it is a command line that is understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.gateway.cli.command_reference import command_page, commands, examples_of, typed, words_of
from innkeeper.gateway.cli.commands import GROUPS, command_line
from tests.docs.pages import DOCS

EXAMPLES = [example for command in commands().values() for example in examples_of(command)]


def test_page_is_what_the_code_writes() -> None:
    assert (DOCS / "cli.md").read_text() == command_page()


def test_every_command_has_a_section() -> None:
    page = command_page()
    assert [name for name in commands() if f"### innkeeper {name}\n" not in page] == []
    assert len(commands()) == sum(map(len, GROUPS.values()))


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_is_understood(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, command, arguments = typed(words_of(example))
    with command.make_context(name, arguments) as context:
        assert set(context.params) == {item.name for item in command.params}


def test_an_example_with_an_unknown_option_would_be_noticed() -> None:
    group = command_line()
    with pytest.raises(Exception, match=r"(?i)no such option"):
        group.commands["runs"].make_context("runs", ["--colour"])
