"""`innkeeper put | get | ls` against a real gateway, and without one."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.cli import commands, run_command


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current directory, no settings from outside, and a width that breaks no line."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("INNKEEPER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(run_command, "DEFAULT_URL", "http://127.0.0.1:9")


Innkeeper = Callable[..., Awaitable[tuple[int, bytes, str]]]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["innkeeper", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    return int(ended.value.code or 0)


@pytest.fixture
def innkeeper(shared: Any, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Innkeeper:
    """A command with the address of the running gateway; gives exit code, output and errors."""

    async def run(*arguments: object) -> tuple[int, bytes, str]:
        # In a thread: the gateway that it talks to lives in this one.
        code = await asyncio.to_thread(call, monkeypatch, *arguments, "--url", shared.url)
        said = capsysbinary.readouterr()
        return code, said.out, said.err.decode()

    return run


async def test_file_goes_there_and_back(innkeeper: Innkeeper) -> None:
    data = os.urandom(70_000)
    Path("my card.png").write_bytes(data)
    code, out, _ = await innkeeper("put", "my card.png", "user://cli/")
    assert (code, out.decode()) == (0, "user://cli/my card.png written (70,000 bytes)\n")
    code, out, _ = await innkeeper("put", "my card.png", "user://cli/my card.png", "--json")
    assert json.loads(out)["created"] is False
    code, _, err = await innkeeper("put", "my card.png", "user://cli/", "--no-overwrite")
    assert code == 1
    assert "already" in err
    code, out, _ = await innkeeper("ls", "user://cli")
    assert "user://cli/my card.png" in out.decode()
    assert "70,000" in out.decode()
    Path("my card.png").unlink()
    assert (await innkeeper("get", "user://cli/my card.png"))[0] == 0
    assert Path("my card.png").read_bytes() == data
    code, out, _ = await innkeeper("get", "user://cli/my card.png", "-")
    assert out == data
    code, out, _ = await innkeeper("ls", "user://cli", "--json")
    assert [item["path"] for item in json.loads(out)] == ["user://cli/my card.png"]


async def test_get_replaces_no_file_unless_told_and_leaves_nothing_of_a_failure(innkeeper: Innkeeper) -> None:
    Path("a.txt").write_text("mine")
    Path("b.txt").write_text("theirs")
    await innkeeper("put", "b.txt", "user://cli/a.txt")
    code, _, err = await innkeeper("get", "user://cli/a.txt")
    assert code == 1
    assert "--force" in err
    assert Path("a.txt").read_text() == "mine"
    assert (await innkeeper("get", "user://cli/a.txt", "--force"))[0] == 0
    assert Path("a.txt").read_text() == "theirs"
    code, _, err = await innkeeper("get", "user://cli/nothing.txt", "c.txt")
    assert code == 1
    assert "there is no file 'user://cli/nothing.txt'" in err
    assert sorted(path.name for path in Path().iterdir()) == ["a.txt", "b.txt"]


async def test_empty_folder_says_how_to_fill_it(innkeeper: Innkeeper) -> None:
    code, out, err = await innkeeper("ls", "shared://nothing/here")
    assert (code, out) == (0, b"")
    assert "'innkeeper put FILE shared://nothing/here/' uploads one" in err
    code, out, err = await innkeeper("ls", "system://")
    assert (code, out) == (0, b"")
    assert "the operator puts them there" in err
    assert "innkeeper put" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("put", "missing.png", "user://x"), "'missing.png' is not there"),
        (("put", ".", "user://x"), "is a folder"),
        (("get", "user://cards/"), "names a folder"),
    ],
)
async def test_mistakes_are_one_sentence(innkeeper: Innkeeper, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = await innkeeper(*arguments)
    assert code == 1
    assert said in err
    assert err.count("\n") == 1


async def test_path_without_scheme_shows_how_to_write_it(innkeeper: Innkeeper) -> None:
    Path("a.png").write_bytes(b"x")
    code, _, err = await innkeeper("put", "a.png", "cards/a.png")
    assert code == 1
    assert "write it like user://cards/name.png" in err


@pytest.mark.parametrize("command", [("put", "a.png", "user://a.png"), ("get", "user://a.png"), ("ls",)])
def test_without_a_gateway_they_say_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    Path("a.png").write_bytes(b"x")
    assert call(monkeypatch, *command) == 1
    assert "innkeeper up" in capsys.readouterr().err
