"""Ends of runs start other runs, each once; on the real stack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.deliveries.book import StoredTrigger
from innkeeper.gateway.deliveries.chains import MAX_OUTPUT_BYTES, error_of
from innkeeper.gateway.triggers.decisions import MAX_DEPTH
from innkeeper.gateway.triggers.reading import read_trigger
from tests.gateway.asking import submit, until
from tests.gateway.conftest import Stack
from tests.gateway.deliveries.test_intake import ended, interface, said, until_true

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def up(temporal: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    stack = Stack(temporal, tmp_path_factory.mktemp("chains"))
    async with stack.up() as http:
        for document in (said(), shouting(), failing(), {**said(), "id": "tell", "name": "tell"}):
            assert (await http.post("/api/workflows", json=document)).status_code == 201
        yield stack
    stack.close()


@pytest.fixture
async def http(up: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client; the triggers of a test go with it, for they would follow the runs of the next one."""
    async with up.http() as client:
        yield client
    for trigger in up.container.triggers.everything():
        await up.container.triggers.delete(trigger)


def shouting() -> Json:
    """A workflow with an output of 5 KB, which is kept apart, and one that no trigger can have."""
    nodes = [{"id": id, "type": "toys:Shout", "inputValues": {"text": "x", "times": times}}
             for id, times in (("large", 5_000), ("huge", MAX_OUTPUT_BYTES))]  # fmt: skip
    return {
        "id": "shout",
        "name": "Shout",
        "nodes": [*nodes, {"id": "out", "type": "core:GroupOutput"}],
        "edges": [
            {"id": id, "source": id, "sourceHandle": "text", "target": "out", "targetHandle": id}
            for id in ("huge", "large")
        ],
        "interfaceOutputs": interface("huge", "large"),
    }


def failing() -> Json:
    return {
        "id": "fail",
        "name": "Fail",
        "nodes": [{"id": "ok", "type": "toys:Say"}, {"id": "bad", "type": "toys:Fail"}],
        "edges": [{"id": "e", "source": "ok", "sourceHandle": "text", "target": "bad", "targetHandle": "text"}],
    }


async def follows(stack: Stack, name: str, after: Json, workflow: str = "tell", **more: Any) -> StoredTrigger:
    """A trigger that tells of ends of runs; without a mapping the id of the run that ended."""
    definition = {
        "name": name,
        "kind": "run",
        "workflow": {"id": workflow},
        "run": {"statuses": ["complete"], **after},
        "mapping": {"word": {"expression": "run.id"}},
        **more,
    }
    trigger, _ = await stack.container.triggers.create(stack.settings.user, read_trigger(definition))
    return trigger


async def line_of(stack: Stack, http: httpx.AsyncClient, trigger: StoredTrigger) -> str:
    """What the one run says that a trigger has started."""

    async def has_fired() -> bool:
        return bool(await stack.container.intake.results(trigger))

    await until_true(has_fired)
    (result,) = await stack.container.intake.results(trigger)
    assert result["outcome"] == "fired", result
    return str((await ended(http, result["runId"]))["outputs"]["line"])


async def outcomes_of(stack: Stack, trigger: StoredTrigger) -> list[str]:
    return [result["outcome"] for result in await stack.container.intake.results(trigger)]


async def test_run_that_completes_starts_the_next_with_its_outputs(up: Stack, http: httpx.AsyncClient) -> None:
    word = "join(' ', [run.id, run.workflowId, run.projectId, run.status, run.outputs.line])"
    trigger = await follows(up, "next", {"workflow": {"id": "say"}}, mapping={"word": {"expression": word}})
    other = await follows(up, "of another", {"workflow": {"id": "shout"}})
    elsewhere = await follows(up, "of another project", {"workflow": {"id": "say", "project": "p"}})
    errors = await follows(up, "errors", {"workflow": {"id": "say"}, "statuses": ["error", "interrupted"]})
    run = await submit(http, {"workflowId": "say", "inputs": {"word": "hello"}})
    assert await line_of(up, http, trigger) == f"{run} say default complete hello"
    status = await ended(http, (await up.container.intake.results(trigger))[0]["runId"])
    assert status["trigger"]["kind"] == "run"
    for silent in (other, elsewhere, errors):
        assert await outcomes_of(up, silent) == []


async def test_error_workflow_gets_the_message_and_the_node(up: Stack, http: httpx.AsyncClient) -> None:
    word = "join(' | ', [run.error.nodeId, run.error.code, run.error.message, run.workflowName])"
    trigger = await follows(up, "oops", {"statuses": ["error"]}, mapping={"word": {"expression": word}})
    run = await submit(http, {"workflowId": "fail"})
    await until(http, run, "error")
    assert await line_of(up, http, trigger) == "bad | bad_luck | node 'bad' failed: no luck today | Fail"


async def test_outputs_that_are_too_large_are_left_out_and_named(up: Stack, http: httpx.AsyncClient) -> None:
    word = "join(' ', [to_string(length(run.outputs.large)), to_string(run.outputsLeftOut)])"
    trigger = await follows(up, "sizes", {"workflow": {"id": "shout"}}, mapping={"word": {"expression": word}})
    await submit(http, {"workflowId": "shout"})
    assert await line_of(up, http, trigger) == '5000 ["huge"]'


async def test_previews_refused_runs_and_own_runs_start_nothing(up: Stack, http: httpx.AsyncClient) -> None:
    any_end: Json = {"statuses": ["complete", "error", "interrupted"]}
    trigger = await follows(up, "any end", any_end)
    base = await submit(http, {"workflowId": "say", "inputs": {"word": "x"}})
    # It starts a run of its own, whose end it does not follow.
    assert await line_of(up, http, trigger) == base
    changed = {"workflowId": "say", "baseRun": base, "changed": "say", "preview": True, "inputs": {"word": "y"}}
    preview = await http.post("/api/prompt", json=changed)
    assert preview.status_code == 200, preview.text
    await ended(http, preview.json()["promptId"])
    document = {"nodes": [{"id": "n", "fullType": "no:Such"}], "edges": []}
    try:
        await up.container.admission.check(document, up.settings.user)
    except Exception as error:
        refusal = await up.container.clients._services.refusals.record(document, up.settings.user, error)
    assert refusal.is_kept
    await asyncio.sleep(0.5)
    assert await outcomes_of(up, trigger) == ["fired"]


async def test_workflows_that_start_each_other_end(up: Stack, http: httpx.AsyncClient) -> None:
    one = await follows(up, "to and", {"workflow": {"id": "say"}}, "tell")
    two = await follows(up, "fro", {"workflow": {"id": "tell"}}, "say")
    await submit(http, {"workflowId": "say", "inputs": {"word": "x"}})

    async def is_refused() -> bool:
        return "refused" in await outcomes_of(up, one) + await outcomes_of(up, two)

    await until_true(is_refused)
    found = await outcomes_of(up, one) + await outcomes_of(up, two)
    assert sorted(found) == [*["fired"] * MAX_DEPTH, "refused"]


async def test_end_that_is_told_twice_starts_one_run(stack: Stack, tmp_path: Path) -> None:
    """A gateway that does not tell stands for one that was killed when a run had ended."""
    async with stack.up() as http:
        assert (await http.post("/api/workflows", json=said())).status_code == 201
        trigger = await follows(stack, "chain", {"workflow": {"id": "say"}}, "say", dedupe="none")
        listeners, stack.container.run_ends.listeners = stack.container.run_ends.listeners, []

        async def broken(end: Any) -> None:
            for listener in listeners:
                await listener(end)
            raise OSError("the gateway dies before it notes that it has told")

        stack.container.run_ends.listeners.append(broken)
        run = await submit(http, {"workflowId": "say", "inputs": {"word": "x"}})
        assert await line_of(stack, http, trigger) == run
    async with stack.up() as http:

        async def was_told_again() -> bool:
            return "duplicate" in await outcomes_of(stack, trigger)

        await until_true(was_told_again)
        outcomes = await outcomes_of(stack, trigger)
        assert outcomes.count("fired") == 1
        assert set(outcomes) == {"fired", "duplicate"}
        assert len((await http.get("/api/history")).json()["history"]) == 2


@pytest.mark.parametrize(
    ("info", "told"),
    [
        (None, {"message": "the run failed"}),
        ({"message": "m", "code": "c"}, {"message": "m", "code": "c"}),
        (
            {"message": "m", "nodes": [{"nodeId": "g"}, {"nodeId": "g/a"}, {"nodeId": "ga"}]},
            {"message": "m", "nodeId": "g/a", "nodes": [{"nodeId": "g"}, {"nodeId": "g/a"}, {"nodeId": "ga"}]},
        ),
        ({"nodes": "damaged"}, {"message": "the run failed"}),
    ],
)
def test_node_that_failed_first_is_named_and_not_the_group_around_it(info: Any, told: Json) -> None:
    assert error_of(info) == told
