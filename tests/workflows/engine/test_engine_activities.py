"""The engine's own activities: they fail for ever when the disk is full, and die with their worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client

from innkeeper.activities.execution.heartbeat import Heartbeat
from innkeeper.nodes.call import EXECUTE_NODE, OPEN_VALUE
from innkeeper.workflows.engine import activation, engine_activities
from tests.workflows.engine.iteration_bench import Bench, Json, Player, each
from tests.workflows.toy_graphs import document, node
from tests.workflows.toys import toy_worker

ENDS_WITHIN_S = 20.0


@pytest.fixture
async def player(temporal: Client, tmp_path: Path) -> AsyncIterator[Player]:
    bench = Bench()
    async with toy_worker(temporal, bench, tmp_path) as worker:
        yield Player(worker, bench)


@pytest.fixture
def tried(player: Player, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engine's activities that found the disk full; what nodes give can still be stored."""
    found: list[str] = []
    for name in ("store", "resolve"):
        _fill(player, name, found, monkeypatch)
    return found


def _fill(player: Player, name: str, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    works = getattr(player.worker.values, name)

    async def fails(*args: Any, **more: Any) -> Any:
        if activity.in_activity() and activity.info().activity_type != EXECUTE_NODE:
            found.append(activity.info().activity_type)
            raise OSError(28, "No space left on device")
        return await works(*args, **more)

    monkeypatch.setattr(player.worker.values, name, fails)


TEXT = "x" * 3_000
WIDE = [node(f"n{index}", "toy:Work", {"item": 1}) for index in range(205)]
CASES: dict[str, tuple[Sequence[Json], Sequence[str]]] = {
    "items": ([each("each", "work", [TEXT] * 100)], []),
    "history": (
        [node("ask", "core:Approval"), *(node(f"c{index}", "toy:Work", {"item": 1}) for index in range(5))],
        [f"c{index}.out > c{index + 1}.item" for index in range(4)],
    ),
    "node table": ([*WIDE, node("ask", "core:Approval")], []),
}


@pytest.mark.parametrize("case", CASES)
async def test_an_interrupted_run_ends_though_nothing_can_be_stored(
    player: Player, tried: list[str], case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_activities, "INTERRUPTED_FOR", timedelta(seconds=1))
    if case == "history":
        monkeypatch.setattr(activation, "DRAIN_EVENTS", 15)
    nodes, edges = CASES[case]
    handle = await player.start(document(list(nodes), *edges))
    async with asyncio.timeout(40):
        while case != "node table" and not tried:
            await asyncio.sleep(0.05)
        while case == "node table" and (await handle.query("status"))["counts"].get("complete", 0) < len(WIDE):
            await asyncio.sleep(0.1)
    await handle.cancel()
    async with asyncio.timeout(ENDS_WITHIN_S):
        result = await handle.result()
    assert result["status"] == "interrupted"
    assert tried


@pytest.mark.parametrize(("beats", "attempts"), [(True, [1]), (False, [1, 2])], ids=["slow", "killed"])
async def test_death_of_a_worker_is_noticed_by_the_heartbeat_and_slowness_is_no_death(
    player: Player, monkeypatch: pytest.MonkeyPatch, beats: bool, attempts: list[int]
) -> None:
    """`killed`: the first attempt says nothing any more, as after a SIGKILL."""
    works, found = player.worker.values.resolve, []
    timeout_s = 3.0  # three times what lies between two heartbeats
    monkeypatch.setattr(engine_activities, "HEARTBEAT_TIMEOUT", timedelta(seconds=timeout_s))

    async def slow(reference: Any) -> Any:
        if activity.in_activity() and activity.info().activity_type == OPEN_VALUE:
            found.append(activity.info().attempt)
            if found == [1]:
                await asyncio.sleep(timeout_s + 1 if beats else 25)
        return await works(reference)

    monkeypatch.setattr(player.worker.values, "resolve", slow)
    if not beats:
        monkeypatch.setattr(Heartbeat, "start", lambda self: None)
    async with asyncio.timeout(20):
        result = await player.play(document([each("each", "work", [TEXT] * 100)]))
    assert result["status"] == "complete"
    assert found[: len(attempts)] == attempts
    assert beats is (2 not in found)


async def test_what_can_never_be_stored_fails_its_node_with_the_reason(
    player: Player, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_activities, "RETRIED_FOR", timedelta(seconds=1))
    result = await player.play(document([each("each", "work", [TEXT] * 100), node("free", "toy:Work", {"item": 1})]))
    error = result["nodes"]["each"]["error"]
    assert (result["status"], error["code"]) == ("error", "storage_failed")
    assert error["message"].startswith("the engine could not open_value within 1 s; last: ")
    assert result["nodes"]["free"]["status"] == "complete"
