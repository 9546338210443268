"""Waiting for the gateway: for acknowledgements, for answers, and until that is given up."""

from __future__ import annotations

import asyncio

from innkeeper.activities.link.pending_answers import AWAY, Answer, PendingAnswers


async def test_who_waits_again_for_an_older_message_does_not_wait_for_newer_ones() -> None:
    pending = PendingAnswers()
    newer = asyncio.create_task(pending.acknowledgement(20))
    await asyncio.sleep(0)
    older = asyncio.create_task(pending.acknowledgement(5))
    await asyncio.sleep(0)
    pending.acknowledge(10)
    async with asyncio.timeout(5):
        assert await older
    assert not newer.done()
    pending.acknowledge(20)
    assert await newer
    assert not pending


async def test_two_may_wait_for_one_message() -> None:
    pending = PendingAnswers()
    both = asyncio.gather(pending.acknowledgement(1), pending.acknowledgement(1))
    await asyncio.sleep(0)
    pending.acknowledge(1)
    assert await both == [True, True]


async def test_an_answer_comes_by_the_number_of_its_message() -> None:
    pending = PendingAnswers()
    first, second = (asyncio.create_task(pending.answer(n, 5)) for n in (1, 2))
    await asyncio.sleep(0)
    pending.receive({"2": {"s": "ok", "next": 3, "used": 1, "text": "so far"}, "9": {"s": "ok"}})
    assert await second == Answer("ok", next=3, used=1, text="so far")
    pending.give_up()
    assert await first is AWAY
    assert not pending


async def test_an_answer_that_comes_too_late_is_not_waited_for() -> None:
    pending = PendingAnswers()
    assert await pending.answer(1, 0.01) is AWAY
    pending.receive({"1": {"s": "ok"}})
    assert not pending
