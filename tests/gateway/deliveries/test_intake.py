"""What comes for a trigger becomes one run, whatever crashes; on the real stack."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.deliveries.book import NameTaken, StoredTrigger, TriggerChanged
from innkeeper.gateway.deliveries.intake import Arrival, Handled
from innkeeper.gateway.triggers.reading import read_trigger
from innkeeper.nodes.errors import InnkeeperError
from tests.gateway.asking import until
from tests.gateway.conftest import Stack

Json = dict[str, Any]
HOLD = "hold"
SAY = "say"


@pytest.fixture(scope="module")
async def up(temporal: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack with a workflow that says its input, and one that holds until a file is there."""
    stack = Stack(temporal, tmp_path_factory.mktemp("intake"))
    async with stack.up() as http:
        for document in (said(), holding()):
            assert (await http.post("/api/workflows", json=document)).status_code == 201
        yield stack
    stack.close()


@pytest.fixture
async def http(up: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with up.http() as client:
        yield client


def interface(*keys: str, required: bool = False) -> Json:
    return {key: {"key": key, "dataFlowType": "STRING", "required": required} for key in keys}


def said() -> Json:
    return {
        "id": SAY,
        "name": SAY,
        "nodes": [
            {"id": "in", "type": "core:GroupInput"},
            {"id": "say", "type": "toys:Say"},
            {"id": "out", "type": "core:GroupOutput"},
        ],
        "edges": [
            {"id": "a", "source": "in", "sourceHandle": "word", "target": "say", "targetHandle": "text"},
            {"id": "b", "source": "say", "sourceHandle": "text", "target": "out", "targetHandle": "line"},
        ],
        "interfaceInputs": interface("word", required=True),
        "interfaceOutputs": interface("line"),
    }


def holding() -> Json:
    return {
        "id": HOLD,
        "name": HOLD,
        "nodes": [{"id": "in", "type": "core:GroupInput"}, {"id": "hold", "type": "toys:Hold"}],
        "edges": [{"id": "a", "source": "in", "sourceHandle": "gate", "target": "hold", "targetHandle": "gate"}],
        "interfaceInputs": interface("gate"),
    }


def definition(name: str, workflow: str = SAY, **more: Any) -> Json:
    mapping = {"word": {"expression": "data.word"}} if workflow == SAY else {"gate": {"expression": "data.gate"}}
    base: Json = {"name": name, "kind": "event", "workflow": {"id": workflow}, "event": {"name": name}}
    return {**base, "mapping": mapping, **more}


async def made(stack: Stack, name: str, workflow: str = SAY, **more: Any) -> StoredTrigger:
    user = stack.settings.user
    trigger, _ = await stack.container.triggers.create(user, read_trigger(definition(name, workflow, **more)))
    return trigger


async def take(stack: Stack, trigger: StoredTrigger, data: Json, delivery: str | None = None, **more: Any) -> Handled:
    current = stack.container.triggers.find(trigger.id)
    assert current is not None
    return await stack.container.intake.take(current, Arrival({"data": data, "event": {}}, delivery, **more))


async def until_true(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await look():
            await asyncio.sleep(0.02)


async def ended(http: httpx.AsyncClient, run: str | None) -> Json:
    return await until(http, str(run), "complete", "error", "interrupted")


async def test_delivery_becomes_one_run_with_its_inputs_and_labels(up: Stack, http: httpx.AsyncClient) -> None:
    trigger = await made(up, "greet", labels={"team": "a"})
    handled = await take(up, trigger, {"word": "hello"}, "d1")
    assert handled.outcome == "fired"
    # The run was promised: it can be asked for at once.
    first = (await http.get(f"/api/prompt/{handled.run}")).json()
    assert first["status"] in ("queued", "running", "complete")
    status = await ended(http, handled.run)
    assert status["outputs"] == {"line": "hello"}
    assert status["labels"] == {"team": "a"}
    assert status["trigger"] == {"id": trigger.id, "name": "greet", "kind": "event", "deliveryId": handled.delivery}
    again = await take(up, trigger, {"word": "hello"}, "d1")
    assert (again.outcome, again.run) == ("duplicate", handled.run)
    results = await up.container.intake.results(trigger)
    assert [(result["outcome"], result.get("runId")) for result in results] == [
        ("duplicate", handled.run),
        ("fired", handled.run),
    ]
    assert results[1]["sample"] == {"data": {"word": "hello"}, "event": {}}


async def test_many_copies_at_once_are_one_run(up: Stack, http: httpx.AsyncClient) -> None:
    trigger = await made(up, "copies")
    all_handled = await asyncio.gather(*(take(up, trigger, {"word": "x"}, f"d{n % 5}") for n in range(50)))
    assert Counter(handled.outcome for handled in all_handled) == {"fired": 5, "duplicate": 45}
    assert len({handled.run for handled in all_handled}) == 5
    for run in {handled.run for handled in all_handled}:
        assert (await ended(http, run))["status"] == "complete"


async def test_copy_with_the_same_proof_is_no_second_run(up: Stack) -> None:
    trigger = await made(up, "replayed", dedupe="none")
    first = await take(up, trigger, {"word": "x"}, "d", replay_key="signed:1")
    again = await take(up, trigger, {"word": "x"}, "d", replay_key="signed:1")
    sent_again = await take(up, trigger, {"word": "x"}, "d", replay_key="signed:2")
    assert [first.outcome, again.outcome, sent_again.outcome] == ["fired", "duplicate", "fired"]
    assert again.run == first.run != sent_again.run


async def test_why_nothing_starts_is_told(up: Stack) -> None:
    trigger = await made(up, "reasons", filter="data.go", mapping={"word": {"expression": "sum(data.word)"}})
    cases = {"filtered": {"go": False}, "refused": {"go": 1}, "failed": {"go": True, "word": "x"}}
    for outcome, data in cases.items():
        handled = await take(up, trigger, data)
        assert (handled.outcome, handled.run) == (outcome, None), handled
    results = await up.container.intake.results(trigger)
    assert [result["outcome"] for result in results] == ["failed", "refused", "filtered"]
    assert "'word'" in results[0]["reason"]
    assert "must give true or false" in results[1]["reason"]
    assert trigger.counters == {"filtered": 1, "refused": 1, "failed": 1}


async def test_missing_input_ends_as_a_run_that_says_so(up: Stack, http: httpx.AsyncClient) -> None:
    trigger = await made(up, "missing")
    handled = await take(up, trigger, {})
    assert handled.outcome == "fired"
    assert await up.container.starter.wait_settled(str(handled.delivery), 5) == "failed"
    status = await ended(http, handled.run)
    assert status["status"] == "error"
    assert "word" in status["errorInfo"]["message"]
    (result,) = await up.container.intake.results(trigger)
    assert result["outcome"] == "failed"
    assert "word" in result["reason"]


async def test_workflow_that_is_gone_fails_the_delivery(up: Stack) -> None:
    trigger = await made(up, "gone", "nowhere")
    handled = await take(up, trigger, {"word": "x"})
    assert await up.container.starter.wait_settled(str(handled.delivery), 5) == "failed"
    (result,) = await up.container.intake.results(trigger)
    assert "nowhere" in result["reason"]


async def test_rate_and_debounce_bound_what_fires(up: Stack) -> None:
    often = await made(up, "often", rate={"limit": 2, "perSeconds": 3600})
    outcomes = [(await take(up, often, {"word": "x"}, str(n))).outcome for n in range(3)]
    assert outcomes == ["fired", "fired", "refused"]
    # What came before is told of its run, whatever the rate says.
    assert (await take(up, often, {"word": "x"}, "0")).outcome == "duplicate"
    burst = await made(up, "burst", debounce={"seconds": 3600})
    assert [(await take(up, burst, {"word": "x"})).outcome for _ in range(2)] == ["fired", "skipped"]


async def test_deliveries_that_come_together_find_no_place_twice(up: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    alone = await made(up, "alone together", HOLD, concurrency={"policy": "skip"})
    both = await asyncio.gather(*(take(up, alone, {"gate": str(gate)}, str(n)) for n in range(5)))
    assert Counter(handled.outcome for handled in both) == {"fired": 1, "skipped": 4}
    bounded = await made(up, "bounded together", rate={"limit": 2, "perSeconds": 3600})
    # The large one takes longer to be packed; it has its place all the same.
    words = ["x" * 500_000, *"abcd"]
    found = await asyncio.gather(*(take(up, bounded, {"word": word}, str(n)) for n, word in enumerate(words)))
    assert [handled.outcome for handled in found] == ["fired", "fired", "refused", "refused", "refused"]
    gate.write_text("")


async def test_queue_lets_runs_follow_each_other(up: Stack, http: httpx.AsyncClient, tmp_path: Path) -> None:
    trigger = await made(up, "line", HOLD, concurrency={"policy": "queue"})
    gates = [tmp_path / str(n) for n in range(3)]
    handled = [await take(up, trigger, {"gate": str(gate)}) for gate in gates]
    assert [one.outcome for one in handled] == ["fired", "queued", "queued"]
    waiting = (await http.get(f"/api/prompt/{handled[2].run}")).json()
    assert waiting["status"] == "queued"
    assert (await http.post(f"/api/interrupt/{handled[2].run}")).status_code == 200
    for one, gate in zip(handled[:2], gates, strict=False):
        gate.write_text("")
        assert (await ended(http, one.run))["status"] == "complete"
    outcomes = [result["outcome"] for result in await up.container.intake.results(trigger)]
    assert outcomes == ["skipped", "fired", "fired"]


async def test_newer_run_takes_the_place_of_the_older(up: Stack, http: httpx.AsyncClient, tmp_path: Path) -> None:
    trigger = await made(up, "newest", HOLD, concurrency={"policy": "cancel_running"})
    gate = tmp_path / "gate"
    handled = [await take(up, trigger, {"gate": str(gate)}) for _ in range(4)]
    assert {one.outcome for one in handled} == {"fired"}

    async def others_are_over() -> bool:
        rows = [await up.container.intake.pending_run(str(one.run)) for one in handled[:3]]
        statuses = [(await http.get(f"/api/prompt/{one.run}")) for one in handled[:3]]
        return all(
            row is None or answer.json().get("status") in ("interrupted", "queued")
            for row, answer in zip(rows, statuses, strict=True)
        )

    await until_true(others_are_over)
    gate.write_text("")
    assert (await ended(http, handled[3].run))["status"] == "complete"


async def test_skip_while_a_run_is_open(up: Stack, http: httpx.AsyncClient, tmp_path: Path) -> None:
    trigger = await made(up, "alone", HOLD, concurrency={"policy": "skip", "key": "data.who"})
    gate = tmp_path / "gate"
    first = await take(up, trigger, {"gate": str(gate), "who": 1}, "1")
    assert (await take(up, trigger, {"gate": str(gate), "who": 1}, "2")).outcome == "skipped"
    assert (await take(up, trigger, {"gate": str(gate), "who": 2}, "3")).outcome == "fired"
    gate.write_text("")
    await ended(http, first.run)

    async def fires() -> bool:
        return (await take(up, trigger, {"gate": str(gate), "who": 1})).outcome == "fired"

    await until_true(fires)


async def test_changes_are_made_on_the_version_that_was_read(up: Stack) -> None:
    trigger = await made(up, "edited")
    changed = await up.container.triggers.change(trigger, read_trigger(definition("edited", filter="data.go")))
    assert changed.version == 2
    with pytest.raises(TriggerChanged):
        await up.container.triggers.change(trigger, read_trigger(definition("edited")))
    with pytest.raises(NameTaken):
        await made(up, "edited")
    await up.container.triggers.delete(changed)
    with pytest.raises(InnkeeperError, match="there is no trigger"):
        up.container.triggers.get(changed.user, changed.id)


async def test_restart_goes_on_with_what_was_accepted(stack: Stack, tmp_path: Path) -> None:
    """A gateway without its starter stands for one that was killed right after it had answered."""
    async with stack.gateway(), stack.http() as http:
        for document in (said(), holding()):
            assert (await http.post("/api/workflows", json=document)).status_code == 201
        stack.container.intake.on_accepted = lambda: None
        counted = await made(stack, "counted", rate={"limit": 1, "perSeconds": 3600})
        queued = await made(stack, "queued", HOLD, concurrency={"policy": "queue"})
        gate = tmp_path / "gate"
        first = [await take(stack, queued, {"gate": str(gate)}) for _ in range(2)]
        once = await take(stack, counted, {"word": "x"}, "1")
    gate.write_text("")
    async with stack.up() as http:
        for handled in (*first, once):
            assert (await ended(http, handled.run))["status"] == "complete"
        assert (await take(stack, counted, {"word": "x"}, "1")).outcome == "duplicate"
        assert (await take(stack, counted, {"word": "x"}, "2")).outcome == "refused"
        assert len((await http.get("/api/history")).json()["history"]) == 3
        found = stack.container.triggers.find(counted.id)
        assert found is not None
        assert found.definition == counted.definition


async def test_results_stay_few_though_much_is_refused(up: Stack) -> None:
    trigger = await made(up, "flood", filter="data.go", mapping={"word": {"expression": "join('', data.word)"}})
    kept = await take(up, trigger, {"go": True, "word": ["x"]}, "kept")
    for _ in range(6):
        for _ in range(60):
            await take(up, trigger, {"go": False})
            await take(up, trigger, {"go": True, "word": "x"})
        await up.container.intake.write_notes()
    results = await up.container.intake.results(trigger, 1_000)
    assert len(results) <= 300
    assert trigger.counters == {"fired": 1, "filtered": 360, "failed": 360}
    assert (await take(up, trigger, {"go": True, "word": ["x"]}, "kept")).run == kept.run


async def test_results_hold_what_is_being_written_down_just_now(up: Stack) -> None:
    trigger = await made(up, "noted", filter="data.ok")
    for _ in range(3):
        await take(up, trigger, {"ok": False})
        _, results = await asyncio.gather(up.container.intake.write_notes(), up.container.intake.results(trigger))
    assert [result["outcome"] for result in results] == ["filtered"] * 3


async def test_a_run_that_was_deleted_is_not_waited_for(up: Stack, http: httpx.AsyncClient) -> None:
    trigger = await made(up, "deleted run")
    handled = await take(up, trigger, {"word": "x"}, "d1")
    await ended(http, handled.run)
    assert (await http.delete(f"/api/history/{handled.run}")).status_code == 204
    assert (await http.get(f"/api/prompt/{handled.run}")).json()["code"] == "run_not_found"


async def test_runs_that_end_together_let_each_that_waits_follow(
    up: Stack, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    trigger = await made(up, "together", HOLD, concurrency={"policy": "queue"})
    gate = tmp_path / "gate"
    handled = [await take(up, trigger, {"gate": str(gate)}) for _ in range(4)]
    assert [one.outcome for one in handled] == ["fired", "queued", "queued", "queued"]
    row = await up.container.intake._store.of_run(str(handled[0].run))
    assert row is not None
    await asyncio.gather(*(up.container.intake.run_ended(row) for _ in range(3)))
    outcomes = Counter(result["outcome"] for result in await up.container.intake.results(trigger))
    assert outcomes == {"fired": 2, "queued": 2}
    gate.write_text("")
    for one in handled:
        assert (await ended(http, one.run))["status"] == "complete"
