"""A gateway whose wall clock is set, by a day or a year, while runs are under way and clients watch."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.gateway.conftest import Stack
from tests.gateway.runs.test_recovery import events_of, single, submit, until, until_executing

DAY_S, YEAR_S = 86_400.0, 31_536_000.0


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    wall, wall_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: wall() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + int(seconds * 1e9))


@pytest.mark.parametrize("seconds", [DAY_S, -DAY_S, YEAR_S, -YEAR_S])
async def test_runs_and_their_viewers_do_not_notice_that_the_clock_was_set(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seconds: float
) -> None:
    gate = tmp_path / "gate"
    async with stack.up() as http, connect(stack.ws_url) as socket:
        before = await submit(http, single("Say", text="before"))
        await until(http, before, "complete")
        run = await submit(http, single("Hold", gate=str(gate)))
        await socket.send(json.dumps({"type": "SUBSCRIBE", "payload": {"promptId": run}}))
        await until_executing(http, run)
        set_clock(monkeypatch, seconds)
        gate.touch()
        result = await until(http, run, "complete")
        after = await submit(http, single("Say", text="after"))
        await until(http, after, "complete")
        assert (await http.get("/readyz")).status_code == 200
        # Retention has no reason to take what ended a moment ago.
        assert [len(await events_of(http, id)) > 2 for id in (before, run, after)] == [True] * 3
        async with asyncio.timeout(20):
            seen = await watched(socket, run)
        listed = [item["promptId"] for item in (await http.get("/api/history")).json()["history"]]
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1]["payload"]["status"] == "complete"
    # It is the difference of two moments that are shown beside it; never less than nothing.
    assert 0 <= result["durationMs"] < (max(seconds, 0) + 60) * 1000
    assert set(listed) == {before, run, after}


async def watched(socket: Any, run: str) -> list[dict[str, Any]]:
    """All events of the run up to its last one."""
    seen: list[dict[str, Any]] = []
    async for text in socket:
        frame = json.loads(text)
        if frame.get("seq") and frame["payload"].get("promptId") == run:
            seen.append(frame)
            if frame["type"] == "EXECUTION_STATUS_UPDATE" and frame["payload"]["status"] == "complete":
                break
    return seen
