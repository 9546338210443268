"""`innkeeper put | get | ls` against a real gateway, and without one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.gateway.cli.conftest import Innkeeper, call

pytestmark = pytest.mark.usefixtures("no_settings")


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
    code, out, err = await innkeeper("ls", "system://nothing")  # other tests leave settings of plugins there
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
    assert call(monkeypatch, *command) == 3
    assert "innkeeper up" in capsys.readouterr().err
