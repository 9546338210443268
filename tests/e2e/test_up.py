"""`innkeeper up` and `innkeeper run` as a user starts them: real processes, a real Temporal server."""

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

import httpx
import psutil
import pytest

from innkeeper.gateway.process.data_dir import holder_of

INNKEEPER = (sys.executable, "-m", "innkeeper.gateway.cli.commands")
STORY = Path(__file__).resolve().parents[2] / "examples" / "story.json"
GREETING: dict[str, Any] = {
    "id": "greeting",
    "name": "Greeting",
    "nodes": [
        {"id": "hi", "type": "core:CreateMessage", "inputValues": {"role": "user", "content": "Hi"}},
        {"id": "out", "type": "core:GroupOutput"},
    ],
    "edges": [{"id": "e", "source": "hi", "sourceHandle": "messages", "target": "out", "targetHandle": "line"}],
    "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "STRING"}},
}
TIMEOUT_S = 60


class Up:
    """A running `innkeeper up`."""

    def __init__(self, data: Path, env: dict[str, str] | None = None, *options: str) -> None:
        self.data = data
        command = (*INNKEEPER, "up", "--port", "0", "--data-dir", str(data), *options)
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env or environment()
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"ready at (\S+)", line)
        assert found, line + self.end(signal.SIGKILL)
        self.url = found[1]

    def children(self) -> dict[str, psutil.Process]:
        """The processes it supervises, by a word of their command."""
        words = ("start-dev", "innkeeper.gateway.serve", "innkeeper.activities.worker")
        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            for word in words:
                if word in child.cmdline():
                    found[word] = child
        return found

    def end(self, number: int) -> str:
        """Send a signal, wait for the end, give what it said on stderr."""
        self.process.send_signal(number)
        try:
            return self.process.communicate(timeout=TIMEOUT_S)[1]
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("INNKEEPER_")}


def innkeeper(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = (*INNKEEPER, *map(str, arguments))
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment())


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(processes: list[psutil.Process]) -> bool:
    """Ended, or at least dead and waiting for somebody to notice."""
    return all(not item.is_running() or item.status() == psutil.STATUS_ZOMBIE for item in processes)


@pytest.fixture
def greeting(tmp_path: Path) -> Path:
    path = tmp_path / "greeting.json"
    path.write_text(json.dumps(GREETING))
    return path


@dataclass(frozen=True)
class Interrupted:
    """A run that was begun without a gateway, and how its command ended by Ctrl-C."""

    data: Path
    code: int
    said: str


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    folder = tmp_path_factory.mktemp("up")
    data, story = folder / "data", folder / "story.json"
    story.write_text(STORY.read_text().replace('"demo-describer"', '"demo-describer@500"'))
    command = (*INNKEEPER, "run", str(story), "--json", "--data-dir", str(data))
    first = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    assert first.stdout is not None
    for line in first.stdout:
        if json.loads(line)["type"] == "NODE_YIELD":
            break
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=TIMEOUT_S)
    return Interrupted(data, first.returncode, said)


@pytest.fixture(scope="module")
def up(interrupted: Interrupted) -> Iterator[Up]:
    """One that tests share; the last of them kills it. test_first_hour.py ends one by Ctrl-C."""
    browser = interrupted.data.parent / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {interrupted.data.parent / "opened"}\n')
    browser.chmod(0o755)
    started = Up(interrupted.data, {**environment(), "BROWSER": f"{browser} %s"}, "--open")
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.end(signal.SIGINT)


@pytest.mark.slow
def test_run_without_a_gateway_goes_on_with_the_next_one(interrupted: Interrupted, up: Up) -> None:
    assert interrupted.code == 130
    found = re.search(r"The run (\S+) is kept", interrupted.said)
    assert found, interrupted.said
    with httpx.Client(base_url=up.url, trust_env=False) as http:
        until(lambda: http.get(f"/api/prompt/{found[1]}").json()["status"] in ("complete", "error"))
    shown = innkeeper("show", found[1], "--json", "--data-dir", up.data)
    assert json.loads(shown.stdout)["status"] == "complete", shown.stderr
    listed = json.loads(innkeeper("runs", "--json", "--data-dir", up.data).stdout)
    assert found[1] in {run["promptId"] for run in listed}
    missing = innkeeper("cancel", "nobody", "--data-dir", up.data)
    assert missing.returncode == 1
    assert "Traceback" not in missing.stderr


def test_up_opens_its_page_when_it_is_asked_to(up: Up) -> None:
    opened = up.data.parent / "opened"
    until(lambda: opened.exists() and opened.read_text().endswith("\n"))
    assert opened.read_text() == f"{up.url}/\n"
    with httpx.Client(trust_env=False) as http:
        assert "/main.js" in http.get(opened.read_text().strip()).text


def test_run_tells_error_and_invalid_by_its_exit_code(up: Up, tmp_path: Path) -> None:
    failing = tmp_path / "failing.json"
    prompt = {"id": "ask", "type": "core:OpenAI", "inputValues": {"prompt": "x"}, "retry": {"maximumAttempts": 1}}
    settings = {"id": "set", "type": "core:APISettings", "inputValues": {"base_url": "http://127.0.0.1:9/v1"}}
    edge = {"id": "e", "source": "set", "sourceHandle": "api_settings", "target": "ask", "targetHandle": "api_settings"}
    failing.write_text(json.dumps({"nodes": [settings, prompt], "edges": [edge]}))
    failed = innkeeper("run", failing, "--data-dir", up.data)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "ask:" in failed.stderr
    assert "error" in failed.stderr

    failing.write_text(json.dumps({"nodes": [{"id": "x", "type": "core:Nope"}], "edges": []}))
    invalid = innkeeper("run", failing, "--data-dir", up.data, "--plugins", tmp_path)
    assert invalid.returncode == 2
    assert "--plugins has no effect" in invalid.stderr
    assert "core:Nope" in invalid.stderr


def test_up_runs_and_starts_again_what_dies(up: Up, greeting: Path) -> None:
    children = up.children()
    assert len(children) == 3

    second = innkeeper("up", "--port", "0", "--data-dir", up.data)
    assert second.returncode == 1
    assert f"in use by process {up.process.pid} at {up.url}" in second.stderr

    for word in ("start-dev", "innkeeper.activities.worker", "innkeeper.gateway.serve"):
        children[word].kill()
    again = innkeeper("run", greeting, "--data-dir", up.data, "--json")
    assert again.returncode == 0, again.stderr
    assert _result(again)["status"] == "complete"
    assert {word: child.pid for word, child in up.children().items()}.keys() == children.keys()
    assert not {child.pid for child in up.children().values()} & {child.pid for child in children.values()}


def test_status_and_logs_say_what_runs_here(up: Up, greeting: Path) -> None:
    # The run that was begun without a gateway goes on with this one, and ends in its own time.
    with httpx.Client(base_url=up.url, trust_env=False, timeout=TIMEOUT_S) as http:
        until(lambda: http.get("/api/executions").json()["running"] == [])
    told = json.loads(innkeeper("status", "--json", "--data-dir", up.data).stdout)
    assert told["runningExecutions"] == 0
    assert (told["url"], told["ready"]) == (up.url, True)
    assert set(told["pids"]) == {"temporal", "gateway", "worker-1"}
    assert told["pids"]["worker-1"] == up.children()["innkeeper.activities.worker"].pid
    assert up.url in innkeeper("status", "--data-dir", up.data).stdout
    logs = innkeeper("logs", "--data-dir", up.data, "--lines", 1000)
    assert {"gateway", "worker-1"} <= {line.split()[1] for line in logs.stdout.splitlines() if len(line.split()) > 1}
    with httpx.Client(base_url=up.url, trust_env=False, timeout=TIMEOUT_S) as http:
        page = http.get("/")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        for link in re.findall(r'href="([^"]+)"', page.text):
            assert http.get(link).status_code == 200, link
    assert innkeeper("run", greeting, "--quiet", "--data-dir", up.data).returncode == 0
    shown = json.loads(innkeeper("show", "last", "--json", "--data-dir", up.data).stdout)
    assert innkeeper("delete", shown["promptId"][:8], "--data-dir", up.data).returncode == 0
    nowhere = innkeeper("status", "--data-dir", up.data.parent / "nothing")
    assert (nowhere.returncode, "nothing runs here" in nowhere.stdout) == (3, True)


def test_up_that_is_killed_leaves_no_process_and_no_lock(up: Up) -> None:
    family = psutil.Process(up.process.pid).children(recursive=True)
    up.end(signal.SIGKILL)
    until(lambda: gone(family) and holder_of(up.data) is None)


def _result(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    last = json.loads(ended.stdout.splitlines()[-1])
    assert last["type"] == "RESULT"
    payload: dict[str, Any] = last["payload"]
    return payload
