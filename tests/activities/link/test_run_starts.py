"""Starting runs at the gateway's request: side by side, answered each, refused when it is too late."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.run_starts import RunStarts
from innkeeper.nodes.worker_protocol import MAX_STARTS, StartPlace
from tests.activities.fake_gateway import TOKEN, FakeGateway, until


def asked(run: str, request: bytes = b"request", *, in_ms: int = 10_000) -> dict[str, Any]:
    until_ms = time.time_ns() // 1_000_000 + in_ms
    return {"run": run, "until": until_ms, "request": base64.b64encode(request).decode()}


class Starts(RunStarts):
    """Starts that end one by one. `begun`: what was asked of Temporal, `answers`: what the gateway was told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, bytes]] = []
        self.answers: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        super().__init__(lambda: self.answers.extend(self.take_answers()), self._begin)

    async def _begin(self, run: str, request: bytes) -> bool:
        self.begun.append((run, request))
        await self.gate.wait()
        if request == b"bad":
            raise ValueError("no request")
        return request == b"request"


async def test_each_request_is_answered_by_what_became_of_it() -> None:
    starts = Starts()
    starts.receive([asked("a"), asked("b", b"refused"), asked("c", b"bad"), {**asked("d"), "request": "*"}])
    await until(lambda: len(starts.begun) == 3)
    assert starts.answers == [("d", "not_started")]
    starts.gate.set()
    await until(lambda: len(starts.answers) == 4)
    assert dict(starts.answers) == {"a": "started", "b": "not_started", "c": "not_started", "d": "not_started"}


async def test_request_that_is_out_of_date_or_one_too_many_starts_nothing() -> None:
    starts = Starts()
    starts.receive([asked("old", in_ms=-1)])
    starts.receive([asked(f"r{index}") for index in range(MAX_STARTS + 1)])
    assert starts.answers == [("old", "not_started"), (f"r{MAX_STARTS}", "not_started")]
    await asyncio.sleep(0)
    assert len(starts.begun) == MAX_STARTS
    starts.stop()


async def test_worker_that_is_stopping_starts_none_and_answers_for_what_it_began() -> None:
    starts = Starts()
    starts.receive([asked("a")])
    await until(lambda: len(starts.begun) == 1)
    starts.refuse()
    starts.receive([asked("b")])
    assert starts.answers == [("b", "stopping")]
    starts.gate.set()
    await until(lambda: len(starts.answers) == 2)
    assert (len(starts.begun), starts.answers[1]) == (1, ("a", "started"))


async def test_the_link_says_where_it_starts_runs_and_answers_over_its_socket(gateway: FakeGateway) -> None:
    found: list[tuple[str, bytes]] = []

    async def start(run: str, request: bytes) -> bool:
        found.append((run, request))
        return True

    link = GatewayLink(gateway.url, TOKEN, "w")
    link.start_runs_by(StartPlace("a queue", "an id"), start)
    link.start()
    try:
        await until(lambda: bool(gateway.connections))
        assert gateway.connections[0].hello["starts"] == {"queue": "a queue", "namespace": "an id"}
        await gateway.say(starts=[asked("r", b"\x00\xff")])
        await until(lambda: gateway.started == [["r", "started"]])
        assert found == [("r", b"\x00\xff")]
        link.start_no_runs()
        await gateway.say(starts=[asked("s")])
        await until(lambda: gateway.started[1:] == [["s", "stopping"]])
        gateway.drop()
        await until(lambda: len(gateway.connections) == 2)
        assert "starts" not in gateway.connections[1].hello
    finally:
        await link.stop()


async def test_link_that_starts_no_runs_leaves_requests_alone(gateway: FakeGateway, link: GatewayLink) -> None:
    await link.connected.wait()
    assert "starts" not in gateway.connections[0].hello
    await gateway.say(starts=[asked("r")])
    await gateway.say(drain=1)
    await until(lambda: bool(gateway.sent("drained")))
    assert gateway.started == []
