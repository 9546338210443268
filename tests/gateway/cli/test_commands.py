"""The command line: what it prints, its exit codes, and that no user sees a traceback."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from innkeeper.activities.settings import WorkerSettings
from innkeeper.gateway.cli import command_reference, commands, run_command, run_commands
from innkeeper.gateway.cli.run_command import UsageError, parse_inputs, with_values
from innkeeper.gateway.cli.signals import Stopping
from innkeeper.gateway.process.data_dir import DataDir, DataLock
from innkeeper.gateway.process.listening_socket import listen
from tests.gateway.cli.conftest import call as innkeeper

STRING_SLOT = {"key": "title", "dataFlowType": "STRING", "config": {"default": "x"}}
DOCUMENT: dict[str, Any] = {
    "nodes": [],
    "edges": [],
    "interfaceInputs": {
        "title": STRING_SLOT,
        "count": {"key": "count", "dataFlowType": "INTEGER"},
        "loud": {"key": "loud", "dataFlowType": "BOOLEAN"},
    },
}
GREETING = {
    "nodes": [{"id": "hi", "type": "core:CreateMessage", "inputValues": {"role": "user", "content": "Hi"}}],
    "edges": [],
}


pytestmark = pytest.mark.usefixtures("no_settings")


def write(name: str, content: Any) -> Path:
    path = Path(name)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def downloaded() -> Path:
    """A folder somebody made elsewhere, with a data directory in it."""
    folder = Path(".innkeeper")
    folder.mkdir(mode=0o700)
    channel = {"id": "c", "baseUrl": "http://evil.example/v1", "apiKey": "env:DEEPSEEK_API_KEY"}
    (folder / "channels.yaml").write_text(json.dumps({"channels": [channel], "models": [{"modelId": "m"}]}))
    (folder / ".innkeeper-data").write_text('{"inode": 1}')
    return folder


@pytest.mark.parametrize(
    "command", [("up",), ("run", "g.json"), ("channels",), ("validate", "g.json"), ("worker",), ("gateway",)]
)
def test_a_data_directory_that_came_with_a_download_is_not_used(
    downloaded: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    write("g.json", GREETING)
    assert innkeeper(monkeypatch, *command) == 1
    assert "accept it by naming it: --data-dir .innkeeper" in capsys.readouterr().err
    assert {path.name for path in downloaded.iterdir()} == {"channels.yaml", ".innkeeper-data"}


@pytest.mark.parametrize("module", ["innkeeper.gateway.serve", "innkeeper.activities.worker"])
def test_no_process_uses_a_data_directory_that_came_with_a_download(downloaded: Path, module: str) -> None:
    said = subprocess.run([sys.executable, "-m", module], capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 1
    assert "accept it by naming it" in said.stderr


def test_a_data_directory_counts_when_it_is_named(
    downloaded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert innkeeper(monkeypatch, "channels", "--data-dir", downloaded) == 0
    assert "evil.example" in capsys.readouterr().out
    monkeypatch.setenv("INNKEEPER_DATA_DIR", str(downloaded))
    assert innkeeper(monkeypatch, "channels") == 0


def test_a_worker_is_told_on_which_host_its_gateway_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    data = DataDir.open(Path("data"))
    lock = DataLock.acquire(data)
    lock.tell({"pid": os.getpid(), "address": "http://127.0.0.1:5", "host": "0.0.0.0", "temporal": "127.0.0.1:6"})
    told: list[dict[str, str]] = []

    def become(path: str, command: tuple[str, ...], env: dict[str, str]) -> None:
        told.append(env)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", become)
    assert innkeeper(monkeypatch, "worker", "--data-dir", "data") == 0
    lock.release()
    names = ("INNKEEPER_HOST", "INNKEEPER_GATEWAY_URL", "INNKEEPER_TEMPORAL_ADDRESS")
    assert [told[0][name] for name in names] == ["0.0.0.0", "http://127.0.0.1:5", "127.0.0.1:6"]
    assert not WorkerSettings.load(told[0]).allow_loopback


@pytest.mark.parametrize(("embedded", "named"), [(True, ()), (True, ("--temporal", "127.0.0.1:6")), (False, ())])
def test_a_worker_of_an_embedded_server_forgets_the_users_own_one(
    monkeypatch: pytest.MonkeyPatch, embedded: bool, named: tuple[str, ...]
) -> None:
    data = DataDir.open(Path("data"))
    lock = DataLock.acquire(data)
    lock.tell({"pid": os.getpid(), "address": "http://127.0.0.1:5", "temporal": "127.0.0.1:6", "embedded": embedded})
    told: list[dict[str, str]] = []

    def become(path: str, command: tuple[str, ...], env: dict[str, str]) -> None:
        told.append(env)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", become)
    monkeypatch.setenv("TEMPORAL_API_KEY", "of the user's own server")
    assert innkeeper(monkeypatch, "worker", "--data-dir", "data", *named) == 0
    lock.release()
    assert ("TEMPORAL_API_KEY" in told[0]) is not embedded
    assert WorkerSettings.load(told[0]).temporal_embedded is embedded
    assert WorkerSettings.load(told[0]).encrypts_payloads is not embedded


def test_version_names_every_part(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert innkeeper(monkeypatch, "version") == 0
    assert "Temporal CLI" in capsys.readouterr().out


def test_nodes_as_json_are_the_catalogue(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert innkeeper(monkeypatch, "nodes", "--json") == 0
    assert "core:TextMerge" in {node["fullType"] for node in json.loads(capsys.readouterr().out)}


def test_nodes_in_a_table_are_named_in_full(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert innkeeper(monkeypatch, "nodes") == 0
    assert "core:CreateMessage" in capsys.readouterr().out


def test_validate_good_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert innkeeper(monkeypatch, "validate", write("good.json", GREETING)) == 0
    assert "'good.json' is valid (1 nodes)" in capsys.readouterr().out


def test_validate_finds_the_workflows_that_groups_refer_to(monkeypatch: pytest.MonkeyPatch) -> None:
    group = {"id": "g", "type": "core:NodeGroup", "configValues": {"referencedWorkflowId": "inner"}}
    file = write("outer.json", {"nodes": [group], "edges": []})
    assert innkeeper(monkeypatch, "validate", file, "--data-dir", "data") == 2
    library = Path("data/shared/library/workflows")
    library.mkdir(parents=True)
    (library / "any.json").write_text(json.dumps({"id": "inner", "name": "Inner", "nodes": [], "edges": []}))
    assert innkeeper(monkeypatch, "validate", file, "--data-dir", "data") == 0


def test_validate_tells_every_problem_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [{"id": "a", "type": "core:Nope"}, {"id": "b", "type": "also:Nope"}]
    file = write("bad.json", {"nodes": nodes, "edges": []})
    assert innkeeper(monkeypatch, "validate", file, "--json") == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["valid"] is False
    assert {problem["node"] for problem in answer["problems"]} == {"a", "b"}
    assert innkeeper(monkeypatch, "validate", file) == 2
    table = capsys.readouterr().out
    assert "core:Nope" in table
    assert "also:Nope" in table


@pytest.mark.parametrize("command", ["validate", "run"])
def test_malformed_json_is_told_with_line_and_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    file = write("broken.json", '{\n  "nodes": [,]\n}')
    assert innkeeper(monkeypatch, command, file) == 2
    said = capsys.readouterr()
    assert "line 2, column 13" in said.out + said.err


def test_missing_file_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert innkeeper(monkeypatch, "run", "nope.json") == 2
    assert capsys.readouterr().err == "innkeeper: cannot read 'nope.json' (No such file or directory): check the path\n"


@pytest.mark.parametrize("command", [("runs",), ("show", "r"), ("cancel", "r")])
def test_questions_without_a_gateway_say_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    assert innkeeper(monkeypatch, *command) == 3
    assert "innkeeper up" in capsys.readouterr().err


def test_run_detached_without_a_gateway_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert innkeeper(monkeypatch, "run", write("good.json", GREETING), "--detach") == 2
    assert "--detach needs a gateway that stays" in capsys.readouterr().err
    assert not Path(".innkeeper").exists()


def test_run_with_an_address_where_nobody_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write("good.json", GREETING)
    assert innkeeper(monkeypatch, "run", file, "--url", "http://127.0.0.1:9") == 3
    assert "no gateway answers at http://127.0.0.1:9" in capsys.readouterr().err


def test_up_on_a_taken_port_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with listen("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        assert innkeeper(monkeypatch, "up", "--port", port) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"innkeeper: port {port} on 127.0.0.1 is taken by another program")
    assert said.count("\n") == 1


def test_up_on_a_locked_data_directory_names_the_address_of_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = DataLock.acquire(DataDir.open(Path("data")))
    lock.tell({"pid": os.getpid(), "address": "http://127.0.0.1:4711"})
    assert innkeeper(monkeypatch, "up", "--port", 0, "--data-dir", "data") == 1
    lock.release()
    assert f"in use by process {os.getpid()} at http://127.0.0.1:4711" in capsys.readouterr().err


def test_up_in_the_open_without_a_token_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert innkeeper(monkeypatch, "up", "--host", "0.0.0.0") == 1
    assert "INNKEEPER_ACCESS_TOKEN" in capsys.readouterr().err


def test_options_come_from_the_environment_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INNKEEPER_URL", "http://127.0.0.1:9")
    assert innkeeper(monkeypatch, "runs") == 3
    assert "http://127.0.0.1:9" in capsys.readouterr().err


def test_our_own_bug_shows_no_traceback_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise TypeError("secret detail")

    monkeypatch.setattr(run_commands, "ask_gateway", broken)
    assert innkeeper(monkeypatch, "runs") == 1
    said = capsys.readouterr().err
    assert "TypeError" in said
    assert "Traceback" not in said
    assert "secret detail" not in said
    monkeypatch.setenv("INNKEEPER_DEBUG", "1")
    with pytest.raises(TypeError):
        commands.main()


@pytest.mark.parametrize(
    "url", ["nonsense", "http://", "ftp://host", "http://127.0.0.1:99999", "http://[::1", "http://a b", "http://\udcff"]
)
def test_what_is_no_address_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert innkeeper(monkeypatch, "runs", "--url", url) == 1
    said = capsys.readouterr().err
    assert "is no address of a gateway" in said
    assert said.count("\n") == 1


def test_folder_of_plugins_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert innkeeper(monkeypatch, "validate", write("good.json", GREETING), "--plugins", "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err


def test_terminal_that_lacks_characters_shows_others(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(output, encoding="ascii"))
    document = {"nodes": [{"id": "größe", "type": "core:Nope"}], "edges": []}
    assert innkeeper(monkeypatch, "validate", write("bad.json", document)) == 2
    assert b"gr??e" in output.getvalue()


# --- inputs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("title=1984", {"title": "1984"}),
        ("title=a=b", {"title": "a=b"}),
        ('title="quoted"', {"title": "quoted"}),
        ("count=3", {"count": 3}),
        ('count={"a": [1]}', {"count": {"a": [1]}}),
        ("count=three", {"count": "three"}),
        ("loud=False", {"loud": False}),
        ("loud=yes", {"loud": True}),
        ("loud=0", {"loud": False}),
        ("loud=perhaps", {"loud": "perhaps"}),
        ("title=true", {"title": "true"}),
    ],
)
def test_inputs_are_json_where_they_are_json_and_text_for_text_slots(pair: str, expected: dict[str, Any]) -> None:
    assert parse_inputs([pair], DOCUMENT) == expected


def test_unknown_input_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no input 'titel': its inputs are 'title', 'count'"):
        parse_inputs(["titel=x"], DOCUMENT)


def test_input_without_a_value_is_refused() -> None:
    with pytest.raises(UsageError, match="name=value"):
        parse_inputs(["title"], DOCUMENT)


def test_input_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        parse_inputs(["title=\udcff"], DOCUMENT)


def test_inputs_of_a_malformed_document_are_left_to_the_gateway() -> None:
    assert parse_inputs([], {"nodes": [], "interfaceInputs": [1]}) == {}
    assert with_values({"inputs": [1]}, {"a": 1}) == {"inputs": [1]}


def test_inputs_of_a_stored_workflow_pass_unchecked_and_join_those_of_the_file() -> None:
    document = {"workflowId": "w", "inputs": {"a": 1}}
    assert with_values(document, parse_inputs(["b=2"], document)) == {"workflowId": "w", "inputs": {"a": 1, "b": 2}}


# --- signals and the question -------------------------------------------------------------------------------------


def test_a_stop_signal_closes_everything_and_becomes_the_exit_code() -> None:
    closed = []

    async def work() -> int:
        try:
            os.kill(os.getpid(), 15)
            await asyncio.sleep(5)
        finally:
            closed.append(True)
        return 0

    stopping = Stopping()
    assert stopping.run(work()) == 128 + 15
    assert closed == [True]


def test_ctrl_c_can_be_taken_over_for_a_while() -> None:
    async def work(stopping: Stopping) -> int:
        pressed = asyncio.Event()
        with stopping.interrupts(pressed.set):
            os.kill(os.getpid(), 2)
            await asyncio.wait_for(pressed.wait(), 30)
        return 7

    stopping = Stopping()
    assert stopping.run(work(stopping)) == 7


@pytest.mark.parametrize(("typed", "choice"), [("s\n", "stop"), ("i\n", "interrupt"), ("\n", "watch")])
async def test_the_question_takes_one_letter(monkeypatch: pytest.MonkeyPatch, typed: str, choice: str) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as terminal, os.fdopen(ours, "wb", buffering=0) as keyboard:
        monkeypatch.setattr("sys.stdin", terminal)
        keyboard.write(typed.encode())
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        assert await asyncio.wait_for(run_command.ask(asyncio.Event(), never), 30) == choice


async def test_without_a_terminal_ctrl_c_means_stop_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        assert await run_command.ask(asyncio.Event(), never) == "stop"


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (
            "from innkeeper.gateway.cli.commands import app; app(['--help'])",
            "fastapi sqlalchemy openai temporalio httpx pydantic_settings",
        ),
        (
            "from innkeeper.gateway.cli.commands import app; app(['version'])",
            "fastapi sqlalchemy openai temporalio httpx pydantic_settings",
        ),
        ("import innkeeper.gateway.app", "alembic openai numpy PIL"),
        ("import innkeeper.activities.worker", "fastapi sqlalchemy openai numpy PIL"),
    ],
    ids=["help", "version", "gateway", "worker"],
)
def test_nothing_is_loaded_that_is_not_needed_at_the_start(code: str, heavy: str) -> None:
    told = f"import atexit, sys\natexit.register(lambda: print('loaded:', *sys.modules))\n{code}"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=100, check=False)
    loaded = done.stdout.partition("loaded:")[2].split()
    assert loaded, done.stderr
    assert set(heavy.split()) & set(loaded) == set()


def test_validate_takes_values_for_required_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {**GREETING, "interfaceInputs": {"who": {"dataFlowType": "STRING", "required": True}}}
    file = write("g.json", document)
    assert innkeeper(monkeypatch, "validate", file, "--offline") == 2
    assert innkeeper(monkeypatch, "validate", file, "--offline", "-i", "who=Ada") == 0


# --- help ---------------------------------------------------------------------------------------------------------

WITHOUT_JSON = frozenset({"up", "worker", "gateway", "get", "schema"})
"""They go on until they are stopped, write what they are asked for as it is, or write JSON in any case."""


def test_every_command_has_an_example_and_speaks_json() -> None:
    commands_by_name = command_reference.commands()
    assert len(commands_by_name) > 40
    for name, command in commands_by_name.items():
        assert "Example: innkeeper " in (command.help or ""), name
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--json" in options) != (name in WITHOUT_JSON), name
