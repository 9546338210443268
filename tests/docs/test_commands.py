"""What the pages tell their readers to do works, in an empty folder, beside a real stack."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT
from tests.docs.shell_session import (
    Command,
    File,
    Session,
    commands_of,
    missing,
    numbers_learned,
    steps_of,
)

README = ROOT / "README.md"
READINGS = [
    pytest.param((README,), id="README.md"),
    pytest.param(
        (README, DOCS / "cards.md", DOCS / "workflow-library.md"), id="others after it", marks=pytest.mark.slow
    ),
    pytest.param((DOCS / "tutorial.md",), id="tutorial.md", marks=pytest.mark.slow),
    pytest.param((DOCS / "triggers.md",), id="triggers.md", marks=pytest.mark.slow),
]
"""Pages whose commands run here, one after the other, in a folder with `examples/`.

A page that types no `innkeeper up` takes for granted what the page before it has started.
"""


def recipes() -> dict[str, str]:
    """`make up` and the like to the command behind them: a reader's environment is there already."""
    text = (ROOT / "Makefile").read_text()
    found = re.findall(r"^(\w+): \$\(STAMP\) ##.*\n\t\$\(BIN\)/(innkeeper [^>]*?)$", text, re.MULTILINE)
    return {f"make {target}": command for target, command in found}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("pages", READINGS)
def test_a_reader_can_do_what_the_pages_say(pages: tuple[Path, ...], tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    shutil.copytree(ROOT / "examples", folder / "examples")
    with Session(folder, recipes()) as session:
        for page in pages:
            steps = list(steps_of(page.read_text()))
            assert len(steps) > 5
            for step in steps:
                session.do(step)


def test_make_targets_stand_for_their_commands() -> None:
    assert recipes() == {"make demo": "innkeeper run examples/story.json", "make up": "innkeeper up"}


def test_steps_of_a_page_are_its_files_and_commands_in_order() -> None:
    page = (
        "Text.\n\n<!-- file: a.json -->\n```json\n{}\n```\n\n```console\n$ innkeeper run a.json  # exit code 1\n"
        "failed\n$ echo a \\\n  b\n```\n<!-- not run: needs a key -->\n```console\n$ rm -r /\n```\n```python\n1\n```\n"
    )
    steps = list(steps_of(page))
    assert steps == [
        File("a.json", "{}\n"),
        Command("innkeeper run a.json  # exit code 1", ("failed",)),
        Command("echo a   b", ()),
    ]
    assert [step.exit_code for step in steps if isinstance(step, Command)] == [1, 0]


def test_a_block_without_commands_is_what_the_stack_prints() -> None:
    assert list(commands_of("shout.py changed: loading the plugins anew\n")) == [
        Command("", ("shout.py changed: loading the plugins anew",))
    ]


def test_lines_may_differ_in_times_and_ids_but_not_in_words_or_order() -> None:
    printed = "run 5f0c2a9be1d34477a810: running\njoin:  complete  0.13 s\nHello, Ada\n"
    assert missing(("run 00000000000000000000: running", "...", "join: complete 9.99 s"), printed) == []
    assert missing(("Hello, Ada", "join: complete 0.13 s"), printed) == ["join: complete 0.13 s"]
    assert missing(("Hello, Bob",), printed) == ["Hello, Bob"]


def test_ports_and_process_ids_of_a_page_stand_for_the_real_ones() -> None:
    page = ("ready at http://127.0.0.1:8090 after 1.6 s", "Processes: gateway 4712, worker-1 4713.")
    real = "ready at http://127.0.0.1:39999 after 3.2 s\nProcesses: gateway 31, worker-1 100002.\n"
    assert numbers_learned(page, real) == {"8090": "39999", "4712": "31", "4713": "100002"}


def test_a_command_must_end_and_print_as_the_page_says(tmp_path: Path) -> None:
    with Session(tmp_path, {}) as session:
        session.do(File("a/b.txt", "one\ntwo\n"))
        session.do(Command("cd a; X=b", ()))
        session.do(Command("cat $X.txt; false  # exit code 1", ("one", "two")))
        with pytest.raises(AssertionError, match="ended with 1"):
            session.do(Command("false", ()))
        with pytest.raises(AssertionError, match="but not, in this order"):
            session.do(Command("cat b.txt", ("three",)))


def test_a_page_cannot_kill_a_process_it_did_not_start(tmp_path: Path) -> None:
    with Session(tmp_path, {}) as session, pytest.raises(AssertionError, match="no process that"):
        session.do(Command("kill -9 4713", ()))
