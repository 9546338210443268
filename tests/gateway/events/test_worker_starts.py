"""Starts are spread over workers that can take them, and nobody waits for long for one that does not answer."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from innkeeper.gateway.events import worker_starts
from innkeeper.gateway.events.worker_starts import StartsOfWorker, WorkerStarts
from innkeeper.nodes.worker_protocol import MAX_START_BYTES, MAX_STARTS, StartPlace
from tests.gateway.events.test_worker_socket import Gateway, connected, serve, until

PLACE = StartPlace("innkeeper", "an id")
HELLO = {"queue": "innkeeper", "namespace": "an id"}


class Workers(WorkerStarts):
    """Workers by name; each keeps what it was asked."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.by_name = {name: StartsOfWorker(PLACE, lambda: None) for name in names}
        for worker in self.by_name.values():
            self.add(worker)

    async def ask(self, run: str) -> tuple[str, asyncio.Task[bool]]:
        """Ask for a start; gives the name of the worker that was asked, and the answer to come."""
        task = asyncio.create_task(self.start(PLACE, run, b"request"))
        await asyncio.sleep(0)
        (asked,) = [name for name, worker in self.by_name.items() if worker.take(10**6)]
        return asked, task

    def answer(self, name: str, run: str, status: str = "started") -> None:
        self.by_name[name].receive([[run, status]])


async def test_the_worker_that_owes_fewest_answers_is_asked_and_among_equals_each_in_turn() -> None:
    workers = Workers("a", "b", "c")
    asked = [await workers.ask(f"r{index}") for index in range(3)]
    assert [name for name, _ in asked] == ["a", "b", "c"]
    workers.answer("b", "r1")
    assert (await workers.ask("r3"))[0] == "b"
    for name, run in (("a", "r0"), ("c", "r2"), ("b", "r3")):
        workers.answer(name, run)
    in_turn = []
    for index in range(4, 8):
        name, answer = await workers.ask(f"r{index}")
        workers.answer(name, f"r{index}")
        assert await answer
        in_turn.append(name)
    assert in_turn == ["a", "c", "b", "a"]


@pytest.mark.parametrize(("status", "is_started"), [("started", True), ("not_started", False), ("what is this", False)])
async def test_only_started_is_believed(status: str, is_started: bool) -> None:
    workers = Workers("a")
    _, answer = await workers.ask("r")
    workers.answer("a", "another", "started")
    workers.answer("a", "r", status)
    assert await answer is is_started


async def test_worker_whose_answer_is_late_is_not_asked_again_before_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_starts, "ANSWER_S", 0.05)
    workers = Workers("a")
    _, answer = await workers.ask("r0")
    assert not await answer
    assert not await workers.start(PLACE, "r1", b"request")
    assert not workers.by_name["a"].has_more
    workers.answer("a", "r0")
    _, answer = await workers.ask("r2")
    workers.answer("a", "r2")
    assert await answer


async def test_worker_that_is_stopping_is_not_asked_again() -> None:
    workers = Workers("a")
    _, answer = await workers.ask("r0")
    workers.answer("a", "r0", "stopping")
    assert not await answer
    assert not await workers.start(PLACE, "r1", b"request")
    assert not workers.by_name["a"].has_more


async def test_no_more_is_asked_of_a_worker_than_it_may_owe() -> None:
    workers = Workers("a")
    waiting = [(await workers.ask(f"r{index}"))[1] for index in range(MAX_STARTS)]
    assert not await workers.start(PLACE, "one more", b"request")
    workers.by_name["a"].close()
    assert not any(await asyncio.gather(*waiting))


@pytest.mark.parametrize(
    ("place", "size"),
    [(StartPlace("another", "an id"), 10), (StartPlace("innkeeper", "another"), 10), (PLACE, MAX_START_BYTES + 1)],
)
async def test_nobody_is_asked_who_serves_another_place_or_with_a_large_request(place: StartPlace, size: int) -> None:
    workers = Workers("a")
    assert not await workers.start(place, "r", b"x" * size)
    assert not workers.by_name["a"].has_more


async def test_a_frame_takes_what_fits_and_at_least_one() -> None:
    workers = Workers("a")
    waiting = [asyncio.create_task(workers.start(PLACE, f"r{index}", b"x" * 300)) for index in range(4)]
    await asyncio.sleep(0)
    starts = workers.by_name["a"]
    assert [[item["run"] for item in starts.take(size)] for size in (1, 900, 10_000)] == [["r0"], ["r1", "r2"], ["r3"]]
    starts.close()
    await asyncio.gather(*waiting)


# --- over a socket --------------------------------------------------------------------------------------------------


@pytest.fixture
async def gateway(tmp_path: Any) -> Any:
    async with serve(tmp_path) as gateway:
        yield gateway


async def test_worker_that_says_where_it_starts_runs_is_asked_over_its_socket(gateway: Gateway) -> None:
    async with connected(gateway, "old"), connected(gateway, "w", starts=HELLO) as worker:
        await until(lambda: len(gateway.sockets.workers()) == 2)
        answer = asyncio.create_task(gateway.sockets.starts.start(PLACE, "r7", b"\x00request"))
        asked = await worker.until_asked()
        assert (asked["run"], base64.b64decode(asked["request"])) == ("r7", b"\x00request")
        await worker.raw({"started": [["r7", "started"]]})
        assert await answer


async def test_connection_that_ends_before_the_answer_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_starts, "ANSWER_S", 60)
    async with connected(gateway, "w", starts=HELLO) as worker:
        await until(lambda: len(gateway.sockets.workers()) == 1)
        answer = asyncio.create_task(gateway.sockets.starts.start(PLACE, "r7", b"request"))
        await worker.until_asked()
        worker.socket.transport.abort()
        assert not await answer


@pytest.mark.parametrize("answers", [5, [5], [["r"]], [[["r"], "started"]], [["r", "started", "x"]], {"r": "started"}])
async def test_answer_that_cannot_be_read_closes_the_connection(gateway: Gateway, answers: Any) -> None:
    async with connected(gateway, "w", starts=HELLO) as worker:
        await worker.raw({"started": answers})
        assert await worker.close_code() == 4400


@pytest.mark.parametrize("starts", ["innkeeper", {}, {"queue": "q"}, {"queue": "q", "namespace": 5}])
async def test_hello_that_names_no_place_is_refused(gateway: Gateway, starts: Any) -> None:
    async with connected(gateway, "w", starts=starts) as worker:
        assert await worker.close_code() == 4400
