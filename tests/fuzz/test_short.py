"""A short form of `make fuzz`, always the same; and that the long one would notice what it looks for."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.effort import LONG
from tests.fuzz import campaign as campaign_module
from tests.fuzz.__main__ import all_targets, split
from tests.fuzz.campaign import Broken, Campaign, Target
from tests.fuzz.mutation import Mutator

INPUTS = 40_000 if LONG else 6_000


async def test_nothing_breaks_on_inputs_that_nobody_means(temporal: Client, tmp_path: Path) -> None:
    async with all_targets(1, temporal, tmp_path) as targets:
        with Campaign(tmp_path / "found") as campaign:
            for target in targets:
                await campaign.run(target, split(targets, INPUTS)[target.name])
    assert {name: dict(tally.crashes) for name, tally in campaign.tallies.items() if tally.crashes} == {}
    assert campaign.hangs == 0
    assert campaign.inputs >= INPUTS - len(targets)


async def test_campaign_finds_crashes_and_hangs_and_saves_their_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign_module, "HANG_S", 0.5)

    until = time.process_time() + 1.5

    def feed(number: int) -> None:
        if number == 3:
            raise ZeroDivisionError
        if number == 5:
            while time.process_time() < until:
                pass

    async def check() -> None:
        raise Broken("unwell")

    numbers = iter(range(6))
    with Campaign(tmp_path) as campaign:
        await campaign.run(Target("toy", 1, lambda: next(numbers), feed, check), 6)
    assert [kind.split(" ")[0] for kind in campaign.tallies["toy"].crashes] == ["ZeroDivisionError", "Broken"]
    assert campaign.hangs == 1
    saved = {file.name: file.read_text() for file in tmp_path.glob("*.input")}
    assert saved == {"toy-crash-1.input": "3", "toy-hang-1.input": "5", "toy-unhealthy-crash-2.input": "None"}


def test_one_seed_gives_the_same_inputs() -> None:
    rows = [[mutator.json_input([{"a": [1, {"b": "c"}]}]) for _ in range(200)] for mutator in _alike(2)]
    assert rows[0] == rows[1]
    assert len(set(rows[0])) > 100


def _alike(count: int) -> list[Mutator]:
    return [Mutator(random.Random(7)) for _ in range(count)]
