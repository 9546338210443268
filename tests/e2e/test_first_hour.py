"""The first hour of somebody new, by the real command line on a real stack: what is built, and what goes wrong.

One folder as `innkeeper init` makes it, and one `innkeeper up` on it. Its plugin `greet` is well, `faults` runs and
errs, and the plugins of `broken/` cannot be loaded.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from innkeeper.gateway.cli.commands import command_line
from innkeeper.gateway.process.data_dir import holder_of
from tests.e2e.test_up import gone

TIMEOUT_S = 60
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith("INNKEEPER_")}
WIDE = {**CLEAN, "COLUMNS": "400"}
"""Tables as wide as their sentences."""


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said. Tables break lines: `words` has single spaces only."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        return " ".join((self.out + self.err).split())


def innkeeper(folder: Path, *arguments: str, **env: str) -> Said:
    command = (sys.executable, "-m", "innkeeper.gateway.cli.commands", *arguments)
    ended = subprocess.run(
        command, cwd=folder, env=WIDE | env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    return Said(ended.returncode, ended.stdout, ended.stderr)


def done(folder: Path, *arguments: str) -> str:
    """The output of a command that must succeed."""
    said = innkeeper(folder, *arguments)
    assert said.code == 0, said.words
    return said.out


def make(folder: Path, *arguments: str) -> None:
    """A command that must succeed, in this process: what it writes is looked at, and a process takes half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in os.environ.keys() - CLEAN.keys():
            patch.delenv(name)
        command_line()(list(arguments), standalone_mode=False)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{file.name} has no {old!r}"
    file.write_text(text.replace(old, new))


def until(true: Callable[[], object], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


GIVES = 'return {"text": inputs["text"].upper()}'
FAULTS = {
    "Raises": (GIVES, 'return {"text": inputs["txt"].upper()}'),
    "Missing": (GIVES, "return {}"),
    "Unknown": (GIVES, 'return {"txt": "A"}'),
    "Other": (GIVES, 'print("seven is", 7)\n    return {"text": 7}'),
    "Blocks": (GIVES, 'import time\n    time.sleep(3.5)\n    return {"text": "A"}'),
}
"""Node type to how its author spoilt it: nodes that load and run."""
BROKEN = {
    "silent": ("definition = ", "node = ", "exports no 'definition'"),
    "typo": ("definition = ", "defintion = ", "it exports 'defintion'; did you mean 'definition'?"),
    "wrong": ("execute(inputs, context)", "execute(text)", "must take (inputs, context), two positional parameters"),
}
"""Plugin to how its author spoilt it, and what is said: plugins that are not loaded."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What somebody new has made, all by the command line and an editor."""
    above = tmp_path_factory.mktemp("hour")
    make(above, "init", "greet")
    folder = above / "greet"
    make(folder, "new", "node", "Slow", "--stream")
    make(folder, "new", "node", "Wait", "--blocking")
    make(folder, "new", "plugin", "faults")
    for type_, (old, new) in FAULTS.items():
        make(folder, "new", "node", type_, "--plugin", "faults")
        edit(folder / "plugins" / "faults" / "faults" / f"{type_.lower()}.py", old, new)
    edit(folder / "plugins" / "faults" / "faults" / "missing.py", 'Output("STRING")', 'Output("STRING", required=True)')
    for plugin, (old, new, _) in BROKEN.items():
        make(folder, "new", "plugin", plugin, "--plugins", "broken")
        edit(folder / "broken" / plugin / plugin / "shout.py", old, new)
    make(folder, "new", "plugin", "deep", "--plugins", "broken/above")
    return folder


@dataclass(frozen=True)
class Up:
    """A running `innkeeper up`, and the file of what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture(scope="module")
def up(project: Path) -> Iterator[Up]:
    """`innkeeper up` in the folder; the last test ends it."""
    command = (sys.executable, "-m", "innkeeper.gateway.cli.commands", "up", "--port", "0")
    command += ("--plugins", "plugins", "--plugins", "broken")
    with (project / "up.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=project, env=WIDE, stdout=log, stderr=log)
    running = Up(process, project / "up.log")

    def is_ready() -> bool:
        assert process.poll() is None, running.said()
        return "plugin greet:" in running.said()

    try:
        until(is_ready)
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT_S)


@dataclass(frozen=True)
class FaultyRun:
    """What was said of it, its nodes as `show --json` tells them, and its lines of the logs."""

    said: Said
    nodes: dict[str, Any]
    logs: list[str]


@pytest.fixture(scope="module")
def faulty_run(project: Path, up: Up) -> FaultyRun:
    """The run of a workflow with every node that errs; none waits for another."""
    once = {"maximumAttempts": 1}
    nodes = [
        {"id": name.lower(), "type": f"faults:{name}", "inputValues": {"text": "a"}, "retry": once} for name in FAULTS
    ]
    (project / "faulty.json").write_text(json.dumps({"nodes": nodes, "edges": []}))
    said = innkeeper(project, "run", "faulty.json")
    states = json.loads(done(project, "show", "last", "--json"))["nodeStatus"]
    return FaultyRun(said, states, done(project, "logs", "last", "--lines", "1000").splitlines())


# --- what is built --------------------------------------------------------------------------------------------------


def test_plugin_of_three_nodes_passes_its_tests_and_runs(project: Path, up: Up) -> None:
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "plugins/greet"],
        *(), cwd=project, env=CLEAN, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert "3 passed" in tests.stdout
    make(project, "new", "workflow", "three")
    file = project / "workflows" / "three.json"
    flow: dict[str, Any] = json.loads(file.read_text())
    flow["nodes"] += [{"id": name.lower(), "type": f"greet:{name}"} for name in ("Shout", "Wait", "Slow")]
    flow["edges"] = [
        {"id": "e1", "source": "in", "sourceHandle": "who", "target": "greet", "targetHandle": "input"},
        {"id": "e2", "source": "greet", "sourceHandle": "text", "target": "shout", "targetHandle": "text"},
        {"id": "e3", "source": "shout", "sourceHandle": "text", "target": "wait", "targetHandle": "text"},
        {"id": "e4", "source": "wait", "sourceHandle": "text", "target": "slow", "targetHandle": "text"},
        {"id": "e5", "source": "slow", "sourceHandle": "stream", "target": "out", "targetHandle": "text"},
    ]
    file.write_text(json.dumps(flow))
    assert "is valid" in done(project, "validate", "workflows/three.json")
    assert done(project, "run", "workflows/three.json", "-i", "who=Ada Lovelace", "-q").strip() == "HELLO ADA LOVELACE!"


def test_workflow_with_an_approval_goes_on_with_what_was_answered(project: Path, up: Up) -> None:
    make(project, "new", "workflow", "ask")
    file = project / "workflows" / "ask.json"
    flow: dict[str, Any] = json.loads(file.read_text())
    form = [{"key": "data", "dataFlowType": "STRING", "displayName": "Text"}]
    flow["nodes"].insert(2, {"id": "check", "type": "core:Approval", "configValues": {"form": form}})
    flow["edges"][1] |= {"target": "check", "targetHandle": "data"}
    flow["edges"].append(
        {"id": "e3", "source": "check", "sourceHandle": "approved", "target": "out", "targetHandle": "text"}
    )
    file.write_text(json.dumps(flow))
    done(project, "run", "workflows/ask.json", "--detach")
    until(lambda: "Hello world!" in innkeeper(project, "approvals").out)
    assert "innkeeper approve" in done(project, "show", "last")
    done(project, "approve", "last", "--set", "data=Good evening!")
    assert done(project, "watch", "last", "-o", "text", "-q").strip() == "Good evening!"


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broken_plugins(project: Path) -> Said:
    return innkeeper(project, "nodes", "--plugins", "broken")


@pytest.mark.parametrize("plugin", BROKEN)
def test_plugin_that_cannot_be_loaded_is_told_with_its_file(broken_plugins: Said, plugin: str) -> None:
    (line,) = [line for line in broken_plugins.err.splitlines() if f"plugin {plugin}" in line and "shout.py" in line]
    assert BROKEN[plugin][2] in line


def test_plugin_one_level_too_deep_is_told(broken_plugins: Said) -> None:
    assert "the folder has no plugin.yaml, but the folder 'deep' in it has: move 'deep' one level up" in (
        broken_plugins.words
    )


def line_of(project: Path, node: str, text: str) -> int:
    """Where in the file of a node of `faults` a text stands."""
    source = (project / "plugins" / "faults" / "faults" / f"{node}.py").read_text().splitlines()
    return next(number for number, line in enumerate(source, 1) if text in line)


def test_exception_is_told_with_the_line_of_its_author(project: Path, faulty_run: FaultyRun) -> None:
    error = faulty_run.nodes["raises"]["error"]
    where = error["details"]["where"]
    assert faulty_run.said.code == 1
    assert "KeyError" in error["message"]
    assert re.search(rf"raises\.py:{line_of(project, 'raises', 'txt')}\b", where)
    shown = done(project, "show", "last", "--trace")
    assert where in shown
    assert 'inputs["txt"]' in shown
    assert 'inputs["txt"]' in "".join(faulty_run.logs)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("missing", "the node gave no output 'text'; it gave nothing"),
        ("unknown", "the node gave output 'txt', which it does not declare; did you mean 'text'?"),
        ("other", "output 'text' is declared STRING; the node gave"),
    ],
)
def test_outputs_that_do_not_fit_are_told(faulty_run: FaultyRun, node: str, message: str) -> None:
    state = faulty_run.nodes[node]
    told = [state["error"]] if "error" in state else state["warnings"]
    assert any(message in problem["message"] for problem in told)
    assert message in faulty_run.said.words


def test_blocking_call_is_named_in_the_log_and_by_up(project: Path, up: Up, faulty_run: FaultyRun) -> None:
    place = rf"'blocks' of run .* at .*blocks\.py:{line_of(project, 'blocks', 'sleep')}\b"
    assert re.search(place, up.said())
    assert re.search(rf"blocks\.py:{line_of(project, 'blocks', 'sleep')}\b", "".join(faulty_run.logs))


def test_what_a_node_prints_is_in_the_log_of_its_run(faulty_run: FaultyRun) -> None:
    # It may have begun anew: another node of this run blocks the thread that they share.
    lines = [line for line in faulty_run.logs if "seven is 7" in line]
    assert lines
    assert all("node=other" in line for line in lines)


FAULTY_NODES: dict[str, tuple[dict[str, Any], str]] = {
    "near": ({"type": "core:Templat"}, "which no loaded plugin defines; did you mean 'core:Template'"),
    "nowhere": (
        {"type": "else:Node"},
        "load the plugin that brings it ('innkeeper nodes' tells why one was not loaded)",
    ),
    "empty": ({"type": "greet:Shout"}, "needs a value for input 'text'"),
    "setting": (
        {"type": "core:Approval", "configValues": {"timeoutSecond": 3}},
        "has no setting 'timeoutSecond'; did you mean 'timeoutSeconds'?",
    ),
    "key": ({"type": "core:Template", "inputValuse": {}}, "which is not read; did you mean 'inputValues'?"),
}
"""Node id to a node of a workflow, and what is said of it."""


@pytest.fixture(scope="module")
def checked(project: Path, up: Up) -> Said:
    """All faults of a workflow are told at once."""
    nodes = [{"id": name, **node} for name, (node, _) in FAULTY_NODES.items()]
    (project / "checked.json").write_text(json.dumps({"nodes": nodes, "edges": []}))
    return innkeeper(project, "validate", "checked.json")


@pytest.mark.parametrize("node", FAULTY_NODES)
def test_fault_of_a_workflow_is_told(checked: Said, node: str) -> None:
    assert checked.code == 2
    assert any(f"node {node}" in line and FAULTY_NODES[node][1] in line for line in checked.out.splitlines()), (
        checked.out
    )


def test_misspelt_setting_is_told(project: Path) -> None:
    said = innkeeper(project, "settings", INNKEEPER_MAX_ACTIVITES="5")
    assert "did you mean INNKEEPER_MAX_ACTIVITIES?" in said.words


def test_plugin_that_was_not_loaded_is_told_by_up_and_by_nodes(project: Path, up: Up) -> None:
    """Also while a gateway runs; else all that is told is that its nodes are unknown."""
    for told in (up.said(), innkeeper(project, "nodes").err):
        assert [plugin for plugin, (_, _, message) in BROKEN.items() if message not in told] == []


def test_ctrl_c_ends_up_and_all_that_it_started(project: Path, up: Up) -> None:
    family = psutil.Process(up.process.pid).children(recursive=True)
    assert len(family) >= 3
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(TIMEOUT_S) == 0
    assert "Traceback" not in up.said()
    assert gone(family)
    assert holder_of(project / ".innkeeper") is None
