"""`innkeeper workflows ...` and `innkeeper run ID` against a real gateway."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from innkeeper.gateway.cli.library_transfer import file_names, in_rounds
from innkeeper.gateway.cli.run_command import RunOptions, UsageError, run_file
from innkeeper.gateway.cli.signals import Stopping
from innkeeper.gateway.client import GatewayClient, GatewayRefused
from tests.effort import LONG
from tests.gateway.cli.conftest import Innkeeper, call
from tests.gateway.conftest import Stack
from tests.gateway.library.test_library import greeter

pytestmark = pytest.mark.usefixtures("no_settings")
MANY = 1_000 if LONG else 150
MANY_S = 120.0
"""An import of 1,000 files takes 10 s on two cores; this is for a machine that does other things."""


def write(name: str, document: Any) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(json.dumps(document))


def taking(identity: str) -> dict[str, Any]:
    """Says what its input `who` is."""
    return {
        "id": identity,
        "name": identity,
        "nodes": [
            {"id": "in", "type": "core:GroupInput"},
            {"id": "say", "type": "toys:Say"},
            {"id": "out", "type": "core:GroupOutput"},
        ],
        "edges": [
            {"id": "a", "source": "in", "sourceHandle": "who", "target": "say", "targetHandle": "text"},
            {"id": "b", "source": "say", "sourceHandle": "text", "target": "out", "targetHandle": "line"},
        ],
        "interfaceInputs": {"who": {"key": "who", "dataFlowType": "STRING"}},
        "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "STRING"}},
    }


def with_group(identity: str, group: str) -> dict[str, Any]:
    node = {"id": "group", "type": "core:NodeGroup", "configValues": {"referencedWorkflowId": group}}
    return {"id": identity, "name": identity, "nodes": [node], "edges": []}


async def run(identity: str, url: str, **options: Any) -> tuple[int, str]:
    """`innkeeper run ID -q`: exit code and outputs."""
    shown, notes = Console(file=io.StringIO(), width=200), Console(file=io.StringIO(), width=200)
    code = await run_file(RunOptions(Path(identity), url=url, quiet=True, **options), shown, notes, Stopping())
    return code, shown.file.getvalue()  # type: ignore[attr-defined]


async def test_saving_again_makes_a_version_and_says_what_changed(innkeeper: Innkeeper) -> None:
    write("cli-save.json", greeter("cli-save", "one"))
    code, out, _ = await innkeeper("workflows", "save", "cli-save.json", "--note", "first")
    assert (code, out.decode()) == (0, "made 'cli-save' as version 1 in the project default\n")
    code, out, _ = await innkeeper("workflows", "save", "cli-save.json")
    assert (code, out.decode()) == (0, "'cli-save' is what version 1 says already: no version was made\n")
    write("cli-save.json", greeter("cli-save", "two"))
    code, out, _ = await innkeeper("workflows", "save", "cli-save.json")
    assert out.decode().splitlines() == [
        "saved 'cli-save' as version 2; version 1 stays",
        "~ node say",
        '    inputValues.text: "one" -> "two"',
    ]
    code, out, _ = await innkeeper("workflows", "save", "cli-save.json", "--json", "--overwrite")
    assert (json.loads(out)["version"], json.loads(out)["isNewVersion"]) == (2, False)
    code, out, _ = await innkeeper("workflows", "show", "cli-save")
    assert code == 0
    assert "outputs: line (STRING)" in out.decode()
    assert "first" in out.decode()


async def test_file_without_an_id_is_one_workflow_under_its_name(innkeeper: Innkeeper) -> None:
    document = greeter("", "one")
    del document["id"]
    write("cli-nameless.json", {**document, "name": "nameless"})
    await innkeeper("workflows", "save", "cli-nameless.json")
    _, out, _ = await innkeeper("workflows", "save", "cli-nameless.json")
    assert out.decode() == "'cli-nameless' is what version 1 says already: no version was made\n"


async def test_draft_is_stored_and_its_problems_are_told(innkeeper: Innkeeper) -> None:
    write("cli-draft.json", greeter("cli-draft", "x", "toys:NoSuchNode"))
    code, out, err = await innkeeper("workflows", "save", "cli-draft.json")
    assert (code, out.decode()) == (0, "made 'cli-draft' as version 1 in the project default\n")
    assert "unknown_node_type" in err
    assert "it cannot run or be published" in err
    code, out, _ = await innkeeper("workflows", "show", "cli-draft", "--json")
    assert (json.loads(out)["valid"], json.loads(out)["problems"][0]["code"]) == (False, "unknown_node_type")
    code, _, err = await innkeeper("workflows", "publish", "cli-draft")
    assert (code, "unknown_node_type" in err) == (2, True)


async def test_published_version_is_what_diff_and_run_start_from(innkeeper: Innkeeper, shared: Any) -> None:
    for word in ("one", "two", "three"):
        write("p.json", greeter("cli-published", word))
        await innkeeper("workflows", "save", "p.json")
    code, out, _ = await innkeeper("workflows", "diff", "cli-published")
    assert (code, out.decode().splitlines()[0]) == (1, "from version 2 to version 3")
    code, out, _ = await innkeeper("workflows", "publish", "cli-published", "--version", 1)
    assert (code, out.decode()) == (0, "version 1 of 'cli-published' is published: runs by id take it\n")
    code, out, _ = await innkeeper("workflows", "diff", "cli-published")
    assert (code, out.decode().splitlines()) == (
        1,
        ["from version 1 to version 3", "~ node say", '    inputValues.text: "one" -> "three"'],
    )
    code, out, _ = await innkeeper("workflows", "diff", "cli-published", "--from", "published", "--to", 1)
    assert (code, out.decode()) == (0, "from version 1 to version 1: they say the same\n")
    assert await run("cli-published", shared.url) == (0, "one\n")
    assert await run("cli-published", shared.url, version="2") == (0, "two\n")
    assert await run("cli-published", shared.url, version="latest") == (0, "three\n")
    code, out, _ = await innkeeper("workflows", "publish", "cli-published", "--none")
    assert await run("cli-published", shared.url) == (0, "three\n")


async def test_stored_workflow_runs_by_its_id_where_no_file_has_the_name(innkeeper: Innkeeper, shared: Any) -> None:
    write("g.json", taking("cli-run"))
    await innkeeper("workflows", "save", "g.json")
    assert await run("cli-run", shared.url, inputs=["who=1984"]) == (0, "1984\n")
    with pytest.raises(UsageError, match="the workflow has no input 'whom': its inputs are 'who'"):
        await run("cli-run", shared.url, inputs=["whom=ada"])
    write("cli-run", greeter("another", "from the file"))
    assert await run("cli-run", shared.url) == (0, "from the file\n")
    assert await run("cli-run", shared.url, inputs=["who=ada"], project="default") == (0, "ada\n")


async def test_run_says_where_it_looked(shared: Any) -> None:
    with pytest.raises(UsageError, match=r"there is no file 'cli-nothing', and http://.* has no workflow with this id"):
        await run("cli-nothing", shared.url)
    with pytest.raises(UsageError, match="'x' is no version"):
        await run("cli-nothing", shared.url, version="x")
    with pytest.raises(GatewayRefused, match="the project 'elsewhere' has no workflow 'cli-nothing'"):
        await run("cli-nothing", shared.url, project="elsewhere")


def test_without_a_gateway_only_files_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "run", "greeter") == 2
    assert "cannot read 'greeter'" in capsys.readouterr().err
    assert call(monkeypatch, "run", "greeter", "--version", "2") == 3
    assert call(monkeypatch, "workflows", "list") == 3
    assert "innkeeper up" in capsys.readouterr().err


async def test_deleting_asks_and_can_be_taken_back(innkeeper: Innkeeper) -> None:
    write("d.json", greeter("cli-delete", "one"))
    await innkeeper("workflows", "save", "d.json")
    code, _, err = await innkeeper("workflows", "delete", "cli-delete")
    assert (code, "say --yes" in err) == (2, True)
    code, out, _ = await innkeeper("workflows", "delete", "cli-delete", "--yes")
    assert (code, "'innkeeper workflows restore cli-delete'" in out.decode()) == (0, True)
    assert b"cli-delete " not in (await innkeeper("workflows", "list"))[1]
    assert b"cli-delete " in (await innkeeper("workflows", "list", "--deleted"))[1]
    code, out, _ = await innkeeper("workflows", "restore", "cli-delete")
    assert (code, out.decode()) == (0, "'cli-delete' is back, in version 1, in the project default\n")
    assert b"cli-delete " in (await innkeeper("workflows", "list"))[1]


@pytest.mark.parametrize(("answer", "is_there"), [(b"n\n", True), (b"y\n", False)])
async def test_deleting_is_asked_about_on_a_terminal(
    innkeeper: Innkeeper, shared: Any, answer: bytes, is_there: bool
) -> None:
    write("q.json", greeter("cli-asked", "one"))
    await innkeeper("workflows", "save", "q.json")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "innkeeper.gateway.cli.main", "workflows", "delete", "cli-asked"]
    process = await asyncio.create_subprocess_exec(
        *command, "--url", shared.url, stdin=theirs, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    os.write(ours, answer)
    _, err = await process.communicate()
    os.close(ours)
    os.close(theirs)
    assert b"delete 'cli-asked' (version 1, project default)?" in err
    assert process.returncode == is_there
    assert (b"cli-asked " in (await innkeeper("workflows", "list"))[1]) is is_there


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "cli-none"), "there is no stored workflow 'cli-none'"),
        (("delete", "cli-none", "--yes"), "there is no stored workflow 'cli-none'"),
        (("restore", "cli-none"), "no workflow 'cli-none' is in the bin"),
        (("publish", "cli-none"), "no stored workflow has the id 'cli-none'"),
        (("diff", "cli-none"), "no stored workflow has the id 'cli-none'"),
        (("export", "cli-none"), "no stored workflow has the id 'cli-none'"),
        (("import", "missing.json", "--project", "nowhere"), "there is no project 'nowhere'"),
    ],
)
async def test_what_is_not_there_is_one_sentence(innkeeper: Innkeeper, arguments: tuple[str, ...], said: str) -> None:
    Path("missing.json").write_text("{}")
    code, _, err = await innkeeper("workflows", *arguments)
    assert (code, err.count("\n")) == (1, 1)
    assert said in err


async def test_export_and_import_lose_nothing(innkeeper: Innkeeper, shared: Any) -> None:
    document = {
        "zone": {"b": [1, 2.5, None, True], "a": 'ä "x" \U0001f600'},
        **greeter("cli-lossless", "one"),
        "viewport": {"zoom": 0.5, "x": -10, "y": 3},
        "extra": [],
    }
    document["nodes"][0] |= {"mystery": {"y": 1, "x": 2}, "position": {"x": 1.25, "y": 0}}
    write("in/cli-lossless.json", document)
    code, out, _ = await innkeeper("workflows", "import", "in")
    assert (code, out.decode()) == (0, "made 1, new versions 0, unchanged 0, refused 0\n")
    code, out, _ = await innkeeper("workflows", "export", "cli-lossless")
    assert json.dumps(json.loads(out)) == json.dumps(document)
    code, out, _ = await innkeeper("workflows", "export", "cli-lossless", "-o", "out.json")
    assert (code, out) == (0, b"wrote out.json\n")
    code, _, err = await innkeeper("workflows", "export", "cli-lossless", "-o", "out.json")
    assert (code, "--force replaces it" in err) == (1, True)
    code, out, _ = await innkeeper("workflows", "import", "out.json")
    assert out.decode() == "made 0, new versions 0, unchanged 1, refused 0\n"


async def test_import_says_what_became_of_each_file(innkeeper: Innkeeper) -> None:
    write("old.json", greeter("cli-old", "one"))
    write("same.json", greeter("cli-same", "one"))
    await innkeeper("workflows", "import", "old.json", "same.json")
    write("all/a-old.json", greeter("cli-old", "two"))
    write("all/b-same.json", greeter("cli-same", "one"))
    write("all/c-outer.json", with_group("cli-outer", "cli-inner"))
    write("all/d-inner.json", greeter("cli-inner", "one"))
    write("all/e-again.json", greeter("cli-inner", "other"))
    write("all/f-list.json", [])
    write("all/g-draft.json", greeter("cli-broken", "x", "toys:NoSuchNode"))
    write("all/h-taken.json", {**greeter("cli-else", "x"), "name": "cli-same"})
    Path("all/i-text.json").write_text("hello")
    write("all/deeper/j.json", greeter("cli-deeper", "one"))
    code, out, err = await innkeeper("workflows", "import", "all")
    assert (code, out.decode()) == (1, "made 3, new versions 1, unchanged 1, refused 4; 1 cannot run yet\n")
    assert "refused all/e-again.json: it has the id 'cli-inner', as 'all/d-inner.json' has" in err
    assert "refused all/f-list.json" in err
    assert "refused all/h-taken.json: the project 'default' has another workflow named 'cli-same'" in err
    assert "refused all/i-text.json" in err
    code, out, _ = await innkeeper("workflows", "import", "all", "--json")
    told = json.loads(out)
    assert (told["made"], told["newVersions"], len(told["unchanged"]), len(told["refused"])) == ([], [], 5, 4)
    # A group is stored before what runs it, whatever its file is called.
    code, out, _ = await innkeeper("workflows", "show", "cli-outer", "--json")
    assert json.loads(out)["valid"] is True


async def test_export_of_all_can_be_repeated_and_keeps_what_was_edited(innkeeper: Innkeeper, shared: Any) -> None:
    async with GatewayClient(shared.url) as client:
        home = (await client.projects.create("cli tales"))["id"]
        for name, word in (("Twin", "one"), ("twin", "two"), ("ends. ", "three")):
            await client.workflows.create(greeter(name, word), project=home)
    code, out, _ = await innkeeper("workflows", "export", "--all", "backup", "--project", home)
    assert (code, out.decode()) == (0, "wrote 3, unchanged 0, refused 0\n")
    found = {json.loads(file.read_text())["id"]: file for file in Path("backup").iterdir()}
    assert set(found) == {"Twin", "twin", "ends. "}
    assert len({file.name.lower() for file in found.values()}) == 3
    found["Twin"].write_text("edited")
    code, out, _ = await innkeeper("workflows", "export", "--all", "backup", "--project", home)
    assert (code, found["Twin"].read_text()) == (1, "edited")
    assert out.decode().startswith("wrote 0, unchanged 2, refused 0; kept 1 that differ")
    code, out, _ = await innkeeper("workflows", "export", "--all", "backup", "--project", home, "--force")
    assert (code, out.decode()) == (0, "wrote 1, unchanged 2, refused 0\n")
    await innkeeper("workflows", "export", "--all", "everything")
    assert len(list(Path("everything", home).iterdir())) == 3
    code, out, _ = await innkeeper("workflows", "import", f"everything/{home}", "--project", home)
    assert (code, out.decode()) == (0, "made 0, new versions 0, unchanged 3, refused 0\n")


def test_names_of_files_stay_inside_their_folder() -> None:
    long = "é" * 200
    names = file_names([("", "../up"), ("..", "a"), ("", "a/b"), ("", long), ("", long[:-1] + "e")])
    assert names[:3] == ["%2e.%2fup.json", "%2e%2e/a.json", "a%2fb.json"]
    assert len({*names}) == 5
    assert all(len(name.encode()) < 255 for name in names)


def test_groups_come_before_what_runs_them_and_circles_come_last() -> None:
    needs = {"top": {"mid", "gone"}, "mid": {"low"}, "low": set(), "x": {"y"}, "y": {"x"}, "self": {"self"}}
    assert list(in_rounds(needs)) == [["low", "self"], ["mid"], ["top"], ["x", "y"]]


@pytest.mark.slow
async def test_many_files_are_imported_in_reasonable_time(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(MANY):
        write(f"many/m{number}.json", greeter(f"cli-m{number}", str(number)))
    # A stack of its own: the lists of other tests would be full of these.
    async with stack.gateway():
        begun = time.monotonic()
        command = ("workflows", "import", "many", "--url", stack.url)
        assert await asyncio.to_thread(call, monkeypatch, *command) == 0
        took = time.monotonic() - begun
        assert capsys.readouterr().out == f"made {MANY}, new versions 0, unchanged 0, refused 0\n"
        assert await asyncio.to_thread(call, monkeypatch, *command) == 0
        assert capsys.readouterr().out == f"made 0, new versions 0, unchanged {MANY}, refused 0\n"
    assert took < MANY_S
