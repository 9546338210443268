"""SUBSCRIBE {runs: true} on the real stack: what changes in the list of runs comes at once, and never in floods."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, cast

import httpx
import pytest
from websockets.asyncio.client import ClientConnection

from innkeeper.gateway.realtime import run_updates
from innkeeper.gateway.realtime.run_updates import RunsWatcher, RunUpdates
from innkeeper.gateway.realtime.send_queue import SendQueue
from innkeeper.gateway.store.runs import NewRun
from tests.gateway.api.test_control import answer, asking, until_open
from tests.gateway.asking import single, submit, until
from tests.gateway.realtime.talking import hear, is_final, say, socket_to

Json = dict[str, Any]


async def hear_item(socket: ClientConnection, run: str, **wanted: Any) -> Json:
    """The next item of a run that has these values."""
    async with asyncio.timeout(30):
        while True:
            item: Json = (await hear(socket, "RUN_UPDATE"))["payload"]["run"]
            if item["promptId"] == run and wanted.items() <= item.items():
                return item


async def hear_open(socket: ClientConnection, count: int) -> None:
    """Wait until so many approvals are open."""
    async with asyncio.timeout(30):
        while (await hear(socket, "APPROVALS_UPDATE"))["payload"] != {"open": count}:
            pass


async def test_a_run_is_told_from_its_submission_to_its_deletion(shared: Any, http: httpx.AsyncClient) -> None:
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", runs=True)
        assert (await hear(socket, "SUBSCRIBED"))["payload"] == {"runs": True}
        assert (await hear(socket, "APPROVALS_UPDATE"))["payload"] == {"open": 0}
        run = await submit(http, {**single("toys:Say", text="x"), "name": "Told"})
        item = await hear_item(socket, run, status="complete")
        assert item == (await http.get("/api/runs", params={"q": run})).json()["runs"][0]
        assert item["workflowName"] == "Told"
        await http.delete(f"/api/history/{run}")
        assert await hear_item(socket, run, deleted=True) == {"promptId": run, "deleted": True}


async def test_who_subscribes_hears_of_open_runs_and_approvals_at_once(shared: Any, http: httpx.AsyncClient) -> None:
    run = await submit(http, asking(2))
    await until_open(http, run, 2)
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", runs=True)
        await hear_open(socket, 2)
        item = await hear_item(socket, run)
        assert (item["status"], item["openApprovals"]) == ("waiting", 2)
        assert item["waiting"] == [{"kind": "approval", "nodes": 2, "nodeId": "ask0"}]
        for count, ask in ((1, "ask0"), (0, "ask1")):
            await answer(http, run, ask, approved=True, values={"title": "t"})
            await hear_open(socket, count)
        await hear_item(socket, run, status="complete")


async def test_an_approval_is_seen_within_a_second(shared: Any, http: httpx.AsyncClient) -> None:
    """From the event that asks to the frame that counts it, while other runs start and end."""
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", runs=True)
        await hear_open(socket, 0)
        others = [asyncio.create_task(submit(http, single("toys:Say", text="x"))) for _ in range(20)]
        run = await submit(http, asking())
        await hear_open(socket, 1)
        seen_ms = time.time() * 1000
        asked = datetime.fromisoformat((await until_open(http, run))[0]["requiredAt"])
        await asyncio.gather(*others)
        await http.post(f"/api/interrupt/{run}")
        await hear_open(socket, 0)
    assert seen_ms - asked.timestamp() * 1000 < 1000


async def test_pausing_and_stopping_are_told(shared: Any, http: httpx.AsyncClient) -> None:
    run = await submit(http, asking())
    await until_open(http, run)
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", runs=True)
        await http.post(f"/api/prompt/{run}/pause")
        await hear_item(socket, run, status="paused")
        await http.post(f"/api/prompt/{run}/resume")
        await hear_item(socket, run, status="waiting")
        await http.post(f"/api/interrupt/{run}")
        assert "waiting" not in await hear_item(socket, run, status="interrupted", openApprovals=0)


async def test_after_unsubscribing_nothing_comes(shared: Any, http: httpx.AsyncClient) -> None:
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", runs=True)
        await hear(socket, "APPROVALS_UPDATE")
        await say(socket, "UNSUBSCRIBE", runs=True)
        await say(socket, "SUBSCRIBE", promptId=await submit(http, single("toys:Say", text="x")))
        kinds = set()
        async with asyncio.timeout(30):
            while not is_final(frame := json.loads(await socket.recv())):
                kinds.add(frame["type"])
    assert "RUN_UPDATE" not in kinds


async def test_a_flood_of_subscriptions_does_not_read_all_runs_each_time(
    shared: Any, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists, asked = shared.container.run_list, []
    real = lists.open_approvals

    async def counted(user: str) -> Any:
        asked.append(user)
        return await real(user)

    monkeypatch.setattr(lists, "open_approvals", counted)
    async with socket_to(shared.ws_url) as socket:
        for _ in range(60):
            await say(socket, "SUBSCRIBE", runs=True)
            await say(socket, "UNSUBSCRIBE", runs=True)
            await asyncio.sleep(0.01)
        await say(socket, "SUBSCRIBE", runs=True)
        await hear(socket, "APPROVALS_UPDATE")
        run = await submit(http, single("toys:Say", text="x"))
        await hear_item(socket, run, status="complete")
    assert len(asked) <= 4


async def test_runs_of_somebody_else_are_not_told(shared: Any, http: httpx.AsyncClient) -> None:
    store = shared.container.runs._store
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", runs=True)
        await hear(socket, "APPROVALS_UPDATE")
        await store.add(NewRun("theirs", "somebody", None, status="error"))
        await store.mark_sealed("theirs")
        mine = await submit(http, single("toys:Say", text="x"))
        assert await store.delete("theirs")
        await until(http, mine, "complete")
        assert (await http.delete(f"/api/history/{mine}")).status_code == 204
        told = set()
        async with asyncio.timeout(30):
            while (item := (await hear(socket, "RUN_UPDATE"))["payload"]["run"]) != {"promptId": mine, "deleted": True}:
                told.add(item["promptId"])
    assert told <= {mine}


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.slow)])
async def test_beside_many_starting_runs_each_is_told_and_none_too_often(
    shared: Any, http: httpx.AsyncClient, count: int
) -> None:
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", runs=True)
        await hear(socket, "SUBSCRIBED")
        began = time.monotonic()
        at_once = asyncio.Semaphore(20)

        async def start() -> str:
            async with at_once:
                return await submit(http, single("toys:Say", text="x"))

        starting = [asyncio.create_task(start()) for _ in range(count)]
        statuses: dict[str, str] = {}
        frames: Counter[str] = Counter()
        async with asyncio.timeout(120):
            while list(statuses.values()).count("complete") < count:
                item = (await hear(socket, "RUN_UPDATE"))["payload"]["run"]
                statuses[item["promptId"]] = item["status"]
                frames[item["promptId"]] += 1
        took_s = time.monotonic() - began
        runs = await asyncio.gather(*starting)
    assert statuses.keys() >= set(runs)
    assert max(frames[run] for run in runs) <= took_s / run_updates.ROUND_S + 1
    assert sum(frames.values()) <= (took_s / run_updates.ROUND_S + 1) * run_updates.RUNS_PER_ROUND


# --- rounds, without a gateway ------------------------------------------------------------------------------------


class Table:
    """A list of runs that only counts how it is read."""

    def __init__(self) -> None:
        self.reads: list[list[str]] = []

    async def items(self, user_id: str, runs: Collection[str]) -> list[Json]:
        self.reads.append(list(runs))
        return [{"promptId": run, "openApprovals": 0} for run in runs]

    async def open_approvals(self, user_id: str) -> dict[str, int]:
        return {}


class SlowQueue:
    """A socket whose client takes nothing until it is let go."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.go = asyncio.Event()

    async def put(self, frames: Iterable[bytes]) -> None:
        await self.go.wait()
        self.taken += frames


async def test_a_thousand_runs_that_change_all_the_time_are_read_in_five_lots_a_second() -> None:
    table = Table()
    updates = RunUpdates("me", table, lambda run: None)
    await updates.join(RunsWatcher())
    telling = asyncio.create_task(updates.keep_telling())
    began = time.monotonic()
    while (took_s := time.monotonic() - began) < 1.0:
        for number in range(1000):
            updates.changed(f"r{number}")
        await asyncio.sleep(0.01)
    telling.cancel()
    assert len(table.reads) <= took_s / run_updates.ROUND_S + 1
    assert max(map(len, table.reads)) <= run_updates.RUNS_PER_ROUND
    # None waits until others have come twice.
    assert len({run for read in table.reads[:5] for run in read}) == sum(map(len, table.reads[:5]))


async def test_of_a_run_that_changes_while_a_client_takes_nothing_only_the_newest_is_kept() -> None:
    watcher, queue = RunsWatcher(), SlowQueue()
    sending = asyncio.create_task(watcher.send_all(cast(SendQueue, queue)))
    watcher.put({"a": b"first"}, None)
    await asyncio.sleep(0.01)
    for state in range(1000):
        watcher.put({"a": b"a%d" % state, "b": b"b%d" % state}, b"%d" % state)
    queue.go.set()
    await asyncio.sleep(0.01)
    sending.cancel()
    assert queue.taken == [b"first", b"999", b"a999", b"b999"]


async def test_a_client_that_takes_nothing_while_very_many_runs_change_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_updates, "MAX_PENDING", 100)
    watcher, queue = RunsWatcher(), SlowQueue()
    sending = asyncio.create_task(watcher.send_all(cast(SendQueue, queue)))
    watcher.put({"first": b""}, None)
    await asyncio.sleep(0.01)
    for number in range(150):
        watcher.put({f"r{number}": b""}, None)
    queue.go.set()
    async with asyncio.timeout(5):
        await sending
    assert watcher.is_lost


async def test_what_could_not_be_read_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_updates, "RETRY_S", 0.01)

    class Away(Table):
        async def items(self, user_id: str, runs: Collection[str]) -> list[Json]:
            found = await super().items(user_id, runs)
            if len(self.reads) == 1:
                raise OSError("the disk is away")
            return found

    table = Away()
    updates = RunUpdates("me", table, lambda run: None)
    watcher, queue = RunsWatcher(), SlowQueue()
    queue.go.set()
    await updates.join(watcher)
    tasks = [asyncio.create_task(updates.keep_telling()), asyncio.create_task(watcher.send_all(cast(SendQueue, queue)))]
    updates.changed("r")
    async with asyncio.timeout(5):
        while not queue.taken:
            await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    assert table.reads == [["r"], ["r"]]
