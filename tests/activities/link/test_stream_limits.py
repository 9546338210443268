"""What is known of a stream on its way, and when it is forgotten."""

from __future__ import annotations

import asyncio

from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.activities.link.stream_limits import MAX_PENDING, MAX_STREAM_PENDING, StreamLimits

A = NodeAttempt("r", "a", (1, 0))
B = NodeAttempt("r", "b", (1, 0))


def test_a_stream_over_its_bound_takes_no_chunk_and_others_do() -> None:
    limits = StreamLimits()
    limits.add(A, MAX_STREAM_PENDING + 1)
    assert not limits.has_room(A)
    assert limits.has_room(B)
    limits.add(B, MAX_PENDING)
    assert not limits.has_room(NodeAttempt("r", "c", (1, 0)))


def test_a_gap_spans_from_the_first_to_the_last_dropped_chunk_and_is_told_once() -> None:
    limits = StreamLimits()
    for index in (3, 4, 5):
        limits.drop(A, index)
    assert limits.take_gap(A) == (3, 5)
    assert limits.take_gap(A) is None
    limits.drop(A, 9)
    assert limits.take_gap(A) == (9, 9)


def test_a_stream_is_forgotten_when_all_has_arrived_but_not_while_a_gap_is_untold() -> None:
    limits = StreamLimits()
    limits.add(A, 10)
    limits.add(B, 10)
    limits.drop(B, 1)
    limits.remove(A, 10)
    limits.remove(B, 10)
    assert (len(limits), limits.pending) == (1, 0)
    assert limits.take_gap(B) == (1, 1)
    limits.forget_idle(B)
    assert len(limits) == 0


async def test_who_waits_for_room_goes_on_when_enough_has_arrived() -> None:
    limits = StreamLimits()
    limits.add(A, 10)
    limits.add(A, MAX_STREAM_PENDING)
    waiting = asyncio.create_task(limits.wait_for_room(A))
    await asyncio.sleep(0)
    assert not waiting.done()
    limits.remove(A, 10)
    async with asyncio.timeout(5):
        await waiting
