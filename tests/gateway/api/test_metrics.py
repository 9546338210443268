"""`/metrics` of a real gateway, read as Prometheus reads it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from websockets.asyncio.client import ClientConnection, connect

from innkeeper.gateway.metrics import MAX_NODE_TYPES
from innkeeper.gateway.settings import worker_token
from tests.gateway.asking import until_started

Json = dict[str, Any]

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"

GAUGES = {
    "runs_running", "runs_queued", "runs_idle", "runs_followed", "clients_connected", "workers_connected",
    "temporal_reachable",
    "event_log_healthy", "blobs_kept", "blob_bytes_kept",
    "model_calls_waiting", "model_calls_under_way",
}  # fmt: skip
COUNTERS = {
    "runs_closed", "frames_sent", "collection_runs", "collection_blobs_deleted", "collection_bytes_deleted",
    "log_events", "log_commits", "log_commit_failures", "log_logged", "log_resend", "log_fenced", "log_late",
    "log_unknown_run", "log_protocol_errors",
    "model_calls_begun", "model_calls_waits", "model_calls_refused", "model_calls_lost",
    "schedule_starts_overlapped", "schedule_starts_missed", "schedule_starts_late",
}  # fmt: skip
HISTOGRAMS = {
    "node_duration_seconds", "run_queue_seconds", "run_first_event_seconds", "log_commit_seconds", "chunk_lag_seconds",
}  # fmt: skip
CLOSED = ("complete", "error", "interrupted")
TOYS = ("Say", "Hold", "Fail", "Count")


@dataclass
class Scrape:
    families: dict[str, Metric]

    @classmethod
    def of(cls, families: Iterable[Metric]) -> Scrape:
        found = list(families)
        assert len({family.name for family in found}) == len(found), "a metric is there twice"
        return cls({family.name: family for family in found})

    def value(self, name: str, **labels: str) -> float:
        """Of the series `innkeeper_<name>` with these labels; 0 when there is none."""
        samples = (sample for family in self.families.values() for sample in family.samples)
        found = [item.value for item in samples if item.name == f"innkeeper_{name}" and item.labels == labels]
        assert len(found) <= 1
        return found[0] if found else 0.0

    def labels(self, family: str, label: str) -> set[str]:
        return {sample.labels[label] for sample in self.families[f"innkeeper_{family}"].samples}


async def scrape(http: httpx.AsyncClient) -> Scrape:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    return Scrape.of(parse_text(answer.text))


def node(id: str, node_type: str, **inputs: Any) -> Json:
    return {"id": id, "fullType": f"toys:{node_type}", "inputs": inputs}


def graph(*nodes: Json) -> Json:
    return {"nodes": list(nodes), "edges": []}


async def run(http: httpx.AsyncClient, *nodes: Json) -> Json:
    """Run a graph to its end."""
    answer: Json = (await http.post("/api/prompt", json={**graph(*nodes), "wait": 20})).json()
    assert "completedAt" in answer, answer
    return answer


async def until_counted(http: httpx.AsyncClient, runs: int) -> Scrape:
    """A run's final status is seen a moment before it is counted."""
    async with asyncio.timeout(30):
        while True:
            found = await scrape(http)
            if sum(found.value("runs_closed_total", status=status) for status in CLOSED) >= runs:
                return found
            await asyncio.sleep(0.02)


async def test_every_metric_has_its_name_type_and_help(http: httpx.AsyncClient) -> None:
    found = await scrape(http)
    ours = {
        name.removeprefix("innkeeper_"): family.type
        for name, family in found.families.items()
        if name.startswith("innkeeper_")
    }
    assert ours == {
        **dict.fromkeys(GAUGES, "gauge"),
        **dict.fromkeys(COUNTERS, "counter"),
        **dict.fromkeys(HISTOGRAMS, "histogram"),
    }
    assert all(family.documentation.endswith(".") for name, family in found.families.items() if "innkeeper" in name)
    assert found.labels("runs_closed", "status") == set(CLOSED)
    assert not [name for name in found.families if name.endswith("_created")]


async def test_documentation_lists_every_metric_with_type_and_labels(http: httpx.AsyncClient) -> None:
    found = await scrape(http)
    documented = set(re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w`, ]*)\|", DOCUMENT.read_text(), re.MULTILINE))
    exposed = set()
    for family in found.families.values():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        if family.name == "innkeeper_node_duration_seconds":
            labels = {"type"}  # no node may have run yet
        name = family.name + ("_total" if family.type == "counter" else "")
        exposed.add((name, family.type, ", ".join(f"`{label}`" for label in sorted(labels))))
    missing = exposed - {(name, kind, labels.strip()) for name, kind, labels in documented}
    assert not missing
    only_documented = {name for name, *_ in documented} - {name for name, *_ in exposed}
    assert not [name for name in only_documented if not name.startswith("process_")]  # those are of Linux


async def test_process_is_measured_for_its_operator(http: httpx.AsyncClient) -> None:
    found = await scrape(http)
    assert found.families["python_info"].samples[0].labels["major"] == "3"
    if Path("/proc/self/stat").exists():
        assert found.families["process_resident_memory_bytes"].samples[0].value > 10_000_000


async def test_format_is_the_one_that_the_scraper_asks_for(http: httpx.AsyncClient) -> None:
    plain = await http.get("/metrics", headers={"accept": "text/html, */*"})
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    asked = {"accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"}
    modern = await http.get("/metrics", headers=asked)
    assert modern.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert modern.text.endswith("# EOF\n")
    families = Scrape.of(parse_openmetrics(modern.text)).families
    assert families.keys() == Scrape.of(parse_text(plain.text)).families.keys()
    assert {families[f"innkeeper_{name}"].unit for name in HISTOGRAMS} == {"seconds"}


async def test_histograms_count_what_ran_and_how_long(stack: Any) -> None:
    async with stack.up() as http:
        before = await scrape(http)
        assert [before.value(f"{name}_count") for name in sorted(HISTOGRAMS)] == [0] * len(HISTOGRAMS)
        began = time.monotonic()
        await run(http, node("a", "Say"), node("b", "Say"), node("hold", "Hold", seconds=0.4))
        await run(http, node("fail", "Fail"))
        await run(http, node("count", "Count", upto=20, pause=0.01), node("hold", "Hold", seconds=0.3))
        took = time.monotonic() - began
        found = await until_counted(http, 3)
    counts = {name: found.value("node_duration_seconds_count", type=f"toys:{name}") for name in TOYS}
    assert counts == {"Say": 2, "Hold": 2, "Fail": 1, "Count": 1}
    assert found.labels("node_duration_seconds", "type") == {f"toys:{name}" for name in TOYS}
    assert 0.68 <= found.value("node_duration_seconds_sum", type="toys:Hold") < took
    assert found.value("node_duration_seconds_bucket", type="toys:Hold", le="0.25") == 0
    assert found.value("node_duration_seconds_sum", type="toys:Count") >= 0.15
    assert [found.value("runs_closed_total", status=status) for status in CLOSED] == [2, 1, 0]
    assert found.value("run_queue_seconds_count") == found.value("run_first_event_seconds_count") == 3
    assert 0 < found.value("run_queue_seconds_sum") < took
    assert 0 < found.value("run_first_event_seconds_sum") < took
    assert found.value("log_commit_seconds_count") == found.value("log_commits_total")
    assert 0 < found.value("log_commit_seconds_sum") < took
    assert 1 <= found.value("chunk_lag_seconds_count") <= 21
    assert 0 < found.value("chunk_lag_seconds_sum") < took


async def test_queue_time_holds_the_wait_for_a_free_place(stack: Any) -> None:
    stack.settings = stack.settings.changed(max_concurrent_runs=1)
    async with stack.up() as http:
        await http.post("/api/prompt", json=graph(node("hold", "Hold", seconds=1.0)))
        await run(http, node("say", "Say"))
        found = await until_counted(http, 2)
    assert found.value("run_queue_seconds_count") == 2
    assert found.value("run_queue_seconds_sum") > 0.8
    assert found.value("run_first_event_seconds_sum") > 0.8


async def test_gateways_in_one_process_have_their_own_numbers(stack: Any, shared: Any, http: httpx.AsyncClient) -> None:
    await run(http, node("say", "Say"))
    there = (await scrape(http)).value("node_duration_seconds_count", type="toys:Say")
    async with stack.up() as other:
        assert (await scrape(other)).value("node_duration_seconds_count", type="toys:Say") == 0
        await run(other, node("a", "Say"), node("b", "Say"))
        found = await until_counted(other, 1)
    assert found.value("node_duration_seconds_count", type="toys:Say") == 2
    assert found.value("runs_closed_total", status="complete") == 1
    assert (await scrape(http)).value("node_duration_seconds_count", type="toys:Say") == there


async def test_node_that_outlives_its_gateway_counts_whole_and_its_run_not_again(stack: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with stack.http() as http, contextlib.AsyncExitStack() as working:
        async with stack.gateway():
            await working.enter_async_context(stack.worker())
            answer = await http.post("/api/prompt", json=graph(node("hold", "Hold", gate=str(gate))))
            id = answer.json()["promptId"]
            async with asyncio.timeout(20):
                while not (await http.get(f"/api/prompt/{id}")).json()["nodeStatus"]:
                    await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        async with stack.gateway():
            gate.touch()
            found = await until_counted(http, 1)
    assert found.labels("node_duration_seconds", "type") == {"unknown"}
    assert found.value("node_duration_seconds_count", type="unknown") == 1
    assert found.value("node_duration_seconds_sum", type="unknown") > 0.3
    assert found.value("run_queue_seconds_count") == found.value("run_first_event_seconds_count") == 0


async def test_thousand_made_up_types_give_a_hundred_labels(stack: Any, tmp_path: Path) -> None:
    stack.settings = stack.settings.changed(plugins=(*stack.settings.plugins, plugin_of(MAX_NODE_TYPES + 50, tmp_path)))
    types = [f"many:T{number}" for number in range(1000)]
    async with stack.gateway(), stack.http() as http:
        # No worker: the run waits in Temporal, and its log takes what ours says.
        async with asyncio.timeout(20):
            while (answer := await http.post("/api/prompt", json=graph(node("say", "Say")))).status_code != 200:
                await asyncio.sleep(0.05)
        id = answer.json()["promptId"]
        headers = {"Authorization": f"Bearer {worker_token(stack.settings)}"}
        url = f"{stack.url.replace('http', 'ws', 1)}/internal/worker"
        async with connect(url, additional_headers=headers, compression=None, proxy=None) as worker:
            await tell(worker, id, types)
        found = await scrape(http)
    await until_started(stack.temporal, id)
    await stack.temporal.get_workflow_handle(id).terminate()
    assert found.labels("node_duration_seconds", "type") == {*types[:MAX_NODE_TYPES], "other", "unknown"}
    assert found.value("node_duration_seconds_count", type="other") == 50
    assert found.value("node_duration_seconds_count", type="unknown") == 1000 - MAX_NODE_TYPES - 50
    # Nothing of the run itself is in a label.
    assert not [name for name in (id, "made-up-path") if name in (repr(found))]


def plugin_of(types: int, folder: Path) -> Path:
    """A folder of plugins: one named `many` with so many node types."""
    plugin = folder / "plugins" / "many"
    (plugin / "nodes").mkdir(parents=True)
    (plugin / "plugin.yaml").write_text("name: many\ndisplayName: Many\nversion: '1.0'\nnodes:\n  entry: nodes\n")
    (plugin / "nodes" / "many.py").write_text(
        "from innkeeper.nodes.definition import NodeDefinition\n"
        "async def execute(inputs, context): return {}\n"
        "definitions = [NodeDefinition(type=f'T{n}', category='Many', display_name='T', description='T',\n"
        f"    inputs={{}}, outputs={{}}, execute=execute) for n in range({types})]\n"
    )
    return plugin.parent


async def tell(worker: ClientConnection, run: str, types: list[str]) -> None:
    """Say that a node of each type began and ended, and wait until that is committed."""
    messages: list[Json] = []
    for number, node_type in enumerate(types):
        common = {"run": run, "path": f"made-up-path{number}", "epoch": [1, 0]}
        messages.append({"t": "open", "n": len(messages) + 1, "type": node_type, **common})
        messages.append({"t": "complete", "n": len(messages) + 1, "outputs": {}, **common})
    await worker.send(orjson.dumps({"hello": {"worker": "w"}}))
    await worker.send(orjson.dumps({"m": messages}))
    async with asyncio.timeout(20):
        while orjson.loads(await worker.recv()).get("ack") != len(messages):
            pass
