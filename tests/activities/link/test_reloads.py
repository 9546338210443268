"""Loading plugins anew at the gateway's request: one at a time, answered once, asked again after a lost connection."""

from __future__ import annotations

import asyncio

from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.reloads import Reloads
from tests.activities.fake_gateway import TOKEN, FakeGateway, until


async def test_requests_that_come_during_a_load_are_one_further_load() -> None:
    gate, loads, due = asyncio.Event(), [], []

    async def load() -> None:
        loads.append(1)
        await gate.wait()

    reloads = Reloads(lambda: due.append(reloads.take_answer()), load)
    for token in ("a", "b", "c"):
        reloads.receive(token)
        await asyncio.sleep(0)
    gate.set()
    await until(lambda: len(due) == 2)
    assert (len(loads), due) == (2, [{"token": "a"}, {"token": "c"}])
    reloads.receive("c")
    assert (len(loads), due[-1]) == (2, {"token": "c"})
    assert reloads.take_answer() is None


async def test_a_load_that_fails_is_told_and_tried_again_at_the_next_request() -> None:
    failures, due = [ImportError("secret")], []

    async def load() -> None:
        if failures:
            raise failures.pop()

    reloads = Reloads(lambda: due.append(reloads.take_answer()), load)
    reloads.receive("a")
    await until(lambda: len(due) == 1)
    assert due == [{"token": "a", "error": "ImportError"}]
    reloads.receive("a")
    await until(lambda: len(due) == 2)
    assert due[1] == {"token": "a"}


async def test_the_link_answers_over_its_socket(gateway: FakeGateway) -> None:
    loads = []

    async def load() -> None:
        loads.append(1)

    link = GatewayLink(gateway.url, TOKEN, "w")
    link.load_plugins_by(load)
    link.start()
    try:
        await until(lambda: bool(gateway.connections))
        await gateway.say(reload="a")
        await until(lambda: gateway.reloaded == [{"token": "a"}])
        gateway.drop()
        await until(lambda: len(gateway.connections) == 2)
        await gateway.say(reload="a")
        await until(lambda: len(gateway.reloaded) == 2)
        assert len(loads) == 1
    finally:
        await link.stop()
