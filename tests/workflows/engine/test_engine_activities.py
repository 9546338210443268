"""The engine's own activities fail for ever, as they do when the disk is full: an interrupted run ends all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client

from innkeeper.nodes.call import EXECUTE_NODE
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


async def test_what_can_never_be_stored_fails_its_node_with_the_reason(
    player: Player, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_activities, "RETRIED_FOR", timedelta(seconds=1))
    result = await player.play(document([each("each", "work", [TEXT] * 100), node("free", "toy:Work", {"item": 1})]))
    error = result["nodes"]["each"]["error"]
    assert (result["status"], error["code"]) == ("error", "storage_failed")
    assert error["message"].startswith("the engine could not open_value within 1 s; last: ")
    assert result["nodes"]["free"]["status"] == "complete"
