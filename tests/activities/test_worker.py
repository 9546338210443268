"""The worker as a process of its own: it serves, stops when told, and says in one sentence what is missing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from temporalio.client import Client, WorkflowHandle

from innkeeper.activities import worker
from innkeeper.activities.settings import SettingsError, WorkerSettings
from innkeeper.gateway.process.temporal_server import free_port
from innkeeper.nodes.catalogue.plugin_states import STATES_FILE
from innkeeper.workflows.connection import connect_config
from innkeeper.workflows.engine.graph_workflow import TASK_QUEUE, RunStart
from innkeeper.workflows.plan import PlannedInput, PlannedNode, PlannedOutput, RunPlan
from tests.activities.fake_gateway import TOKEN, FakeGateway, until
from tests.signing import signing_client

PLUGIN = """
import asyncio

from innkeeper.nodes.definition import NodeDefinition, Output


async def hang(inputs, context):
    if context.attempt == 1:
        await asyncio.sleep(60)
    return {"out": context.attempt}


definition = NodeDefinition(
    type="Hang", category="test", display_name="Hang", description="Hangs once.",
    outputs={"out": Output("INTEGER")}, execute=hang,
)
"""
MANIFEST = """
name: slow
displayName: Slow
version: 1.0.0
nodes:
  entry: nodes
"""

STUBBORN_PLUGIN = """
import asyncio
import gc
import sys
import time

from innkeeper.activities import process_end
from innkeeper.nodes.definition import NodeDefinition, Output


async def exits():
    sys.exit(4)


async def parent(inputs, context):
    await asyncio.gather(asyncio.create_task(exits()))


async def blocker(inputs, context):
    time.sleep(300)


async def saboteur(inputs, context):
    process_end.SECOND_GRACE_S = 1.0  # ten seconds are long in a test
    gc.unfreeze()  # the loop is of the worker's start, which the collector no longer looks through
    for found in gc.get_objects():
        if type(found).__name__ in ("_UnixSelectorEventLoop", "Loop") and found.is_running():
            found.call_soon_threadsafe(time.sleep, 300)


async def ignorer(inputs, context):
    while True:
        try:
            await asyncio.sleep(300)
        except asyncio.CancelledError:
            pass


def node(name, execute):
    return NodeDefinition(
        type=name, category="test", display_name=name, description=name, outputs={"out": Output("STRING")},
        execute=execute,
    )


definitions = [
    node("Parent", parent), node("Blocker", blocker), node("Ignorer", ignorer), node("Saboteur", saboteur),
]
"""

SETTINGS_PLUGIN = """
from innkeeper.nodes.definition import NodeDefinition, Output


async def show(inputs, context):
    return {"out": dict(context.plugin_settings)}


definition = NodeDefinition(
    type="Show", category="test", display_name="Show", description="Gives the settings of its plugin.",
    outputs={"out": Output("OBJECT")}, execute=show,
)
"""
SETTINGS_MANIFEST = """
name: set
displayName: Set
version: 1.0.0
nodes:
  entry: nodes
configOptions:
  - {key: marks, label: Marks, type: slider, min: 1, max: 9, defaultValue: 1}
  - {key: mood, label: Mood, type: string, defaultValue: good}
"""

START_S = 80
"""A process takes 1.5 s of a processor to start, which a busy machine gave it only after half a minute."""


class Process:
    """A running worker process and what it has written."""

    def __init__(self, inner: asyncio.subprocess.Process) -> None:
        self.inner = inner
        self.err = bytearray()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.inner.stderr is not None
        while piece := await self.inner.stderr.read(4096):
            self.err.extend(piece)

    @property
    def lines(self) -> list[str]:
        return self.err.decode().splitlines()

    async def ready(self) -> None:
        await until(lambda: b"worker ready" in self.err or self.inner.returncode is not None, START_S)
        assert self.inner.returncode is None, self.err.decode()

    async def ended(self, timeout_s: float) -> int:
        async with asyncio.timeout(timeout_s):
            code = await self.inner.wait()
            await self._reading
        return code

    async def kill(self) -> None:
        if self.inner.returncode is None:
            self.inner.kill()
        await self.ended(STOP_S)


@pytest.fixture
def temporal(temporal: Client, tmp_path: Path) -> Client:
    return signing_client(temporal, tmp_path)


@pytest.fixture
def environ(temporal: Client, gateway: FakeGateway, tmp_path: Path) -> dict[str, str]:
    """A worker that reaches the test's Temporal server and gateway."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("INNKEEPER_", "TEMPORAL_"))}
    return {
        **kept,
        "INNKEEPER_DATA_DIR": str(tmp_path),
        "INNKEEPER_TEMPORAL_ADDRESS": temporal.service_client.config.target_host,
        "INNKEEPER_NAMESPACE": temporal.namespace,
        "INNKEEPER_GATEWAY_URL": gateway.url,
        "INNKEEPER_WORKER_TOKEN": TOKEN,
        "INNKEEPER_STOP_GRACE_S": "0.5",
        # The client of these tests has no keys.
        "INNKEEPER_PAYLOAD_ENCRYPTION": "off",
    }


@asynccontextmanager
async def process(environ: dict[str, str]) -> AsyncIterator[Process]:
    inner = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "innkeeper.activities.worker",
        env=environ,
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    running = Process(inner)
    try:
        yield running
    finally:
        await running.kill()


async def start(temporal: Client, *nodes: PlannedNode) -> WorkflowHandle[Any, dict[str, Any]]:
    return await temporal.start_workflow(
        "GraphWorkflow", args=[RunPlan(nodes).encode(), RunStart()], id=f"r-{uuid.uuid4()}", task_queue=TASK_QUEUE
    )


def planned(id: str, type: str, **inputs: Any) -> PlannedNode:
    slots: Any = {key: PlannedInput(value=value, has_value=True) for key, value in inputs.items()}
    outputs: Any = {"out": PlannedOutput()}
    return PlannedNode(id, type, inputs=slots, outputs=outputs)  # type: ignore[arg-type]


def hanging_plugin(folder: Path, module: str = PLUGIN) -> None:
    (folder / "slow" / "nodes").mkdir(parents=True)
    (folder / "slow" / "plugin.yaml").write_text(MANIFEST)
    (folder / "slow" / "nodes" / "hang.py").write_text(module)


STOP_S = 25
"""On a calm machine a worker ends within 5 s; what keeps it longer than this is the node that hangs for a minute."""


def assert_one_sentence(running: Process) -> str:
    assert len(running.lines) == 1, running.err.decode()
    assert "Traceback" not in running.lines[0]
    return running.lines[0]


# --- serving and stopping -----------------------------------------------------------------------------------------


async def test_it_runs_nodes_of_the_library_and_ends_soon_after_sigterm(
    temporal: Client, gateway: FakeGateway, environ: dict[str, str], tmp_path: Path
) -> None:
    """With the token from the data directory, as 'innkeeper up' starts it."""
    del environ["INNKEEPER_WORKER_TOKEN"]
    (tmp_path / "worker.token").write_text(f"{TOKEN}\n")
    async with process(environ) as running:
        await running.ready()
        handle = await start(temporal, planned("m", "core:CreateMessage", role="user", content="Hi"))
        async with asyncio.timeout(30):
            result = await handle.result()
        assert result["nodes"]["m"]["status"] == "complete"
        assert gateway.kinds("m") == ["open", "complete"]
        assert gateway.tokens[0] == f"Bearer {TOKEN}"
        running.inner.send_signal(signal.SIGTERM)
        assert await running.ended(STOP_S) == 0
    # Every line a process writes is one JSON object.
    assert all(isinstance(orjson.loads(line), dict) for line in running.lines)


async def test_a_plugin_gets_what_the_operator_wrote_though_another_one_cannot_be_loaded(
    temporal: Client, gateway: FakeGateway, environ: dict[str, str], tmp_path: Path
) -> None:
    plugin = tmp_path / "plugins" / "set"
    (plugin / "nodes").mkdir(parents=True)
    (plugin / "plugin.yaml").write_text(SETTINGS_MANIFEST)
    (plugin / "nodes" / "show.py").write_text(SETTINGS_PLUGIN)
    written = tmp_path / "system" / "config" / "extensions" / "set.json"
    written.parent.mkdir(parents=True)
    written.write_text('{"marks": 3}')
    (tmp_path / "plugins" / "broken").mkdir()
    (tmp_path / "plugins" / "broken" / "plugin.yaml").write_text("name: broken\n")
    environ["INNKEEPER_PLUGINS"] = str(tmp_path / "plugins")
    async with process(environ) as running:
        await running.ready()
        inline = replace(planned("i", "set:Show"), placement="inline")
        handle = await start(temporal, planned("s", "set:Show"), inline)
        async with asyncio.timeout(30):
            result = await handle.result()
        told = [orjson.loads(line)["message"] for line in running.lines]
    assert any("broken" in message and "not loaded" in message for message in told)
    assert [result["nodes"][id]["output"] for id in "si"] == [{"out": {"marks": 3, "mood": "good"}}] * 2


async def test_a_worker_loads_changed_plugins_while_a_node_runs_which_ends_with_its_own_code(
    temporal: Client, gateway: FakeGateway, environ: dict[str, str], tmp_path: Path
) -> None:
    def write(version: int, disabled: bool) -> None:
        (tmp_path / "plugins" / "slow" / "nodes" / "hang.py").write_text(
            PLUGIN.replace("asyncio.sleep(60)", "asyncio.sleep(3)").replace("context.attempt}", f"{version}}}")
        )
        (tmp_path / STATES_FILE).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / STATES_FILE).write_text('{"slow": {"enabled": false}}' if disabled else "{}")

    async def reload(token: str) -> None:
        await gateway.say(reload=token)
        await until(lambda: gateway.reloaded[-1:] == [{"token": token}], START_S)

    hanging_plugin(tmp_path / "plugins")
    write(1, disabled=False)
    environ["INNKEEPER_PLUGINS"] = str(tmp_path / "plugins")
    async with process(environ) as running:
        await running.ready()
        first = await start(temporal, planned("h", "slow:Hang"))
        await until(lambda: bool(gateway.sent("open", "h")))
        write(2, disabled=False)
        await reload("a")
        second = await start(temporal, planned("i", "slow:Hang"))
        await until(lambda: bool(gateway.sent("open", "i")))
        write(3, disabled=True)
        await reload("b")
        third = await start(temporal, planned("k", "slow:Hang"))  # a run that began before, and comes to it now
        async with asyncio.timeout(60):
            found = [await handle.result() for handle in (first, second, third)]
    assert [result["nodes"][id]["output"] for result, id in zip(found, "hik", strict=True)] == [
        {"out": 1},
        {"out": 2},
        {"out": 2},
    ]


async def test_a_running_node_is_handed_to_the_next_worker_when_the_first_is_stopped(
    temporal: Client, gateway: FakeGateway, environ: dict[str, str], tmp_path: Path
) -> None:
    hanging_plugin(tmp_path / "plugins")
    environ["INNKEEPER_PLUGINS"] = str(tmp_path / "plugins")
    async with process(environ) as first:
        await first.ready()
        handle = await start(temporal, planned("h", "slow:Hang"))
        await until(lambda: bool(gateway.sent("open", "h")))
        first.inner.send_signal(signal.SIGTERM)
        assert await first.ended(STOP_S) == 0
    async with process(environ) as second:
        await second.ready()
        async with asyncio.timeout(30):
            result = await handle.result()
        second.inner.send_signal(signal.SIGINT)
        assert await second.ended(STOP_S) == 0
    assert result["nodes"]["h"]["status"] == "complete"
    assert result["nodes"]["h"]["output"] == {"out": 2}


async def test_it_stops_although_the_gateway_acknowledges_nothing(
    temporal: Client, gateway: FakeGateway, environ: dict[str, str]
) -> None:
    gateway.holds = lambda message: True
    async with process(environ) as running:
        await running.ready()
        handle = await start(temporal, planned("m", "core:CreateMessage", role="user", content="Hi"))
        await until(lambda: bool(gateway.sent("complete", "m")))
        running.inner.send_signal(signal.SIGTERM)
        try:
            assert await running.ended(STOP_S) == 0
        finally:
            await handle.terminate()


async def test_exit_in_a_task_that_a_node_started_ends_that_node_only(
    temporal: Client, gateway: FakeGateway, environ: dict[str, str], tmp_path: Path
) -> None:
    hanging_plugin(tmp_path / "plugins", STUBBORN_PLUGIN)
    environ["INNKEEPER_PLUGINS"] = str(tmp_path / "plugins")
    async with process(environ) as running:
        await running.ready()
        handle = await start(temporal, planned("p", "slow:Parent"))
        async with asyncio.timeout(60):
            result = await handle.result()
        assert result["nodes"]["p"]["error"]["message"].startswith("the node called exit(4)")
        running.inner.send_signal(signal.SIGTERM)
        assert await running.ended(STOP_S) == 0
    assert any("SystemExit" in line for line in running.lines)


@pytest.mark.parametrize("kind", ["Blocker", "Ignorer"])
async def test_a_node_of_a_plugin_does_not_keep_the_worker_from_stopping(
    temporal: Client, gateway: FakeGateway, environ: dict[str, str], tmp_path: Path, kind: str
) -> None:
    hanging_plugin(tmp_path / "plugins", STUBBORN_PLUGIN)
    environ["INNKEEPER_PLUGINS"] = str(tmp_path / "plugins")
    async with process(environ) as running:
        await running.ready()
        handle = await start(temporal, planned("b", f"slow:{kind}"))
        await asyncio.sleep(2)
        running.inner.send_signal(signal.SIGTERM)
        try:
            assert await running.ended(STOP_S) == 0
        finally:
            await handle.terminate()


async def test_a_worker_whose_loop_is_kept_from_stopping_ends_itself(
    temporal: Client, gateway: FakeGateway, environ: dict[str, str], tmp_path: Path
) -> None:
    hanging_plugin(tmp_path / "plugins", STUBBORN_PLUGIN)
    environ["INNKEEPER_PLUGINS"] = str(tmp_path / "plugins")
    async with process(environ) as running:
        await running.ready()
        handle = await start(temporal, planned("b", "slow:Saboteur"))
        await asyncio.sleep(2)
        running.inner.send_signal(signal.SIGTERM)
        try:
            assert await running.ended(STOP_S) == 1
        finally:
            await handle.terminate()
    assert "did not stop within 1.5 s" in running.lines[-1]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc to see when signals are taken")
async def test_it_can_be_stopped_while_temporal_is_away(environ: dict[str, str]) -> None:
    environ["INNKEEPER_TEMPORAL_ADDRESS"] = f"127.0.0.1:{free_port()}"
    async with process(environ) as running:
        await until(lambda: takes_sigterm(running.inner.pid), START_S)
        running.inner.send_signal(signal.SIGTERM)
        await running.ended(STOP_S)


def takes_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


# --- what is missing ----------------------------------------------------------------------------------------------


async def test_a_run_with_an_unknown_key_waits_and_the_log_says_what_to_do(
    temporal: Client, environ: dict[str, str], tmp_path: Path
) -> None:
    async with process(environ) as running:
        await running.ready()
        handle = await start(signing_client(temporal, tmp_path / "another"), planned("c", "core:CreateMessage"))
        await until(lambda: b"restore signing.json" in running.err, START_S)
        assert (await handle.describe()).close_time is None
        assert b"never awaited" not in running.err
        await handle.terminate()


async def test_a_missing_worker_token_is_told_in_one_sentence(environ: dict[str, str]) -> None:
    del environ["INNKEEPER_WORKER_TOKEN"]
    async with process(environ) as running:
        assert await running.ended(START_S) == 1
    assert "worker.token" in assert_one_sentence(running)


async def test_a_bad_setting_is_told_in_one_sentence(environ: dict[str, str]) -> None:
    """It is refused before the log is set up, other than what is missing."""
    environ["INNKEEPER_FLUSH_TIMEOUT_S"] = "soon"
    async with process(environ) as running:
        assert await running.ended(START_S) == 1
    assert "INNKEEPER_FLUSH_TIMEOUT_S='soon'" in assert_one_sentence(running)


async def test_an_unknown_namespace_is_told_without_a_traceback(environ: dict[str, str]) -> None:
    environ["INNKEEPER_NAMESPACE"] = "nowhere"
    async with process(environ) as running:
        assert await running.ended(START_S) == 1
    assert "Traceback" not in running.err.decode()
    assert "nowhere" in running.err.decode()


async def test_log_settings_hold_for_a_worker_and_a_misspelled_one_is_told(environ: dict[str, str]) -> None:
    environ |= {"INNKEEPER_LOG_FORMAT": "text", "INNKEEPER_LOG_LEVEL": "warning", "INNKEEPER_QUEUE": "gpu"}
    environ["INNKEEPER_TEMPORAL_ADDRESS"] = "nowhere"
    async with process(environ) as running:
        assert await running.ended(START_S) == 1
    first = running.err.decode().splitlines()[0]
    assert " WARNING innkeeper.worker: the variable INNKEEPER_QUEUE is not known" in first
    assert "did you mean INNKEEPER_QUEUES?" in first
    assert "'nowhere', has no port: write host:port" in running.err.decode()


async def test_an_absent_temporal_server_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker, "CONNECT_S", 0.2)
    address = f"127.0.0.1:{free_port()}"
    settings = WorkerSettings(data_dir=tmp_path, temporal_address=address, payload_encryption="off")
    with pytest.raises(SettingsError, match=address) as refused:
        await worker.connect(settings, {}, asyncio.Event())
    assert "innkeeper up" in refused.value.message
    assert "\n" not in refused.value.message


# --- composition --------------------------------------------------------------------------------------------------


async def test_each_queue_has_a_second_one_for_streams(temporal: Client, tmp_path: Path) -> None:
    assert await queues_polled(temporal, tmp_path, ("gpu",)) == [
        "innkeeper",
        "innkeeper.callbacks",
        "innkeeper.streams",
        "gpu",
        "gpu.streams",
    ]


async def test_a_queue_named_twice_or_the_own_one_is_polled_once(temporal: Client, tmp_path: Path) -> None:
    polled = await queues_polled(temporal, tmp_path, ("gpu", "innkeeper", "gpu"))
    assert sorted(polled) == sorted(set(polled))


async def queues_polled(temporal: Client, folder: Path, queues: tuple[str, ...]) -> list[str]:
    client = await Client.connect(**connect_config(temporal.service_client.config.target_host, temporal.namespace, {}))
    execute: Any = SimpleNamespace(execute_node=worker.ExecuteNode.execute_node.__get__(object()))
    segments: Any = SimpleNamespace(execute_segment=worker.ExecuteSegment.execute_segment.__get__(object()))
    engine_activities: Any = SimpleNamespace(activities=tuple)
    nothing: Any = None
    callbacks = worker.CallbackActivities(nothing, nothing)
    settings = WorkerSettings.load({"INNKEEPER_DATA_DIR": str(folder), "INNKEEPER_QUEUES": ",".join(queues)})
    activities = worker.Activities(execute, segments, engine_activities, engine_activities, callbacks)
    workers = worker.build_workers(client, settings, activities)
    return [item.task_queue for item in workers]


def test_no_gateway_url_turns_events_off(tmp_path: Path) -> None:
    assert isinstance(worker.build_link(WorkerSettings(data_dir=tmp_path, gateway_url="")), worker.NullLink)
