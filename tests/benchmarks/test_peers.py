"""Beside other engines: the arithmetic, and processes that end whatever happens."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from innkeeper.nodes.errors import InnkeeperError
from tests.benchmarks.peers.__main__ import LOADS, lines_of
from tests.benchmarks.peers.process import Peer
from tests.benchmarks.report import Spread

SERVING = Path(__file__).parent / "peers"
TOY = """
import asyncio, os, sys
sys.path.insert(0, {serving!r})
from serving import quiet_stdout, serve

async def run(shape, size):
    print("noise of a library", flush=True)
    if shape == "hang":
        await asyncio.sleep(600)
    if shape == "die":
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(1)
    return size

asyncio.run(serve(run, ("pytest",), quiet_stdout()))
"""


@pytest.fixture
def toy(tmp_path: Path) -> Peer:
    script = tmp_path / "toy.py"
    script.write_text(TOY.format(serving=str(SERVING)))
    return Peer((sys.executable, str(script)), tmp_path / "log")


def _taken(**others: list[float]) -> dict[str, list[float]]:
    return {"inline": [50, 100], "langgraph": [500, 250], "langgraph-normal": [50, 50], "dbos": [100, 50], **others}


async def test_peer_answers_loads_and_ends_with_the_block(toy: Peer) -> None:
    async with toy:
        assert list(toy.versions) == ["pytest"]
        assert (await toy.ask({"shape": "chain", "size": 5, "atOnce": 3}))["ms"] >= 0
        assert (await toy.ask({"shape": "chain", "size": 0, "atOnce": 1}))["ms"] >= 0

    assert not psutil.pid_exists(toy.pid)


async def test_peer_that_dies_is_an_error_with_its_last_words(toy: Peer) -> None:
    async with toy:
        with pytest.raises(InnkeeperError, match=r"toy\.py ended: out of luck"):
            await toy.ask({"shape": "die", "size": 1, "atOnce": 1})


async def test_peer_that_hangs_is_ended_too(toy: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with toy:
        monkeypatch.setattr("tests.benchmarks.peers.process.ANSWER_S", 0.2)
        monkeypatch.setattr("tests.benchmarks.peers.process.STOP_S", 0.2)
        with pytest.raises(InnkeeperError, match="did not answer"):
            await toy.ask({"shape": "hang", "size": 1, "atOnce": 1})

    assert not psutil.pid_exists(toy.pid)


def test_times_are_per_node_and_ratios_to_langgraph_round_by_round() -> None:
    line = lines_of(LOADS[0], _taken(), (1, 1))[0]

    assert line.key == "chain-inline"
    assert line.ours == Spread(1.5, 1, 2)
    assert line.ratio == Spread(0.25, 0.1, 0.4)
    assert line.further == {"/ NORMAL": 1.5, "/ DBOS": 1.25}
    assert line.verdict == "holds"


def test_only_our_inline_nodes_have_limits_and_runs_one_to_each_peer() -> None:
    lines = [line for load in LOADS for line in lines_of(load, _taken(activity=[1, 1]), (1, 1))]

    assert {line.key: [check.text for check in line.checks] for line in lines if line.checks} == {
        "chain-inline": ["ratio <= 0.40"],
        "chain-1000-inline": ["ratio <= 0.15"],
        "runs-inline": ["ratio <= 1.50", "/ DBOS <= 0.60"],
    }
    assert next(line for line in lines if line.key == "runs-inline").broken == ("/ DBOS <= 0.60",)
