"""Messages until they are acknowledged: their numbers, the size of a frame, and what goes again."""

from __future__ import annotations

import orjson
import pytest

from innkeeper.activities.link.outgoing_queue import MAX_FRAME, MAX_MESSAGE, OutgoingQueue
from innkeeper.nodes.errors import InvalidNode


def queue_of(count: int, size: int = 1) -> OutgoingQueue:
    queue = OutgoingQueue()
    for _ in range(count):
        queue.append({"x": "y" * size})
    return queue


def numbers(batch: list[bytes]) -> list[int]:
    return [orjson.loads(data)["n"] for data in batch]


def test_a_message_goes_once_per_connection() -> None:
    queue = queue_of(3)
    assert numbers(queue.next_batch()) == [1, 2, 3]
    assert queue.next_batch() == []
    queue.append({})
    assert numbers(queue.next_batch()) == [4]


def test_after_a_reconnect_only_what_is_not_acknowledged_goes_again() -> None:
    queue = queue_of(4)
    queue.next_batch()
    assert [message.n for message in queue.acknowledge(2)] == [1, 2]
    queue.resend_all()
    assert numbers(queue.next_batch()) == [3, 4]


def test_an_acknowledgement_of_unsent_messages_skips_none() -> None:
    """A gateway acknowledges what came on an earlier connection, before it was sent again on this one."""
    queue = queue_of(4)
    queue.next_batch()
    queue.resend_all()
    assert len(list(queue.acknowledge(2))) == 2
    assert numbers(queue.next_batch()) == [3, 4]


def test_a_frame_is_filled_up_to_its_limit_and_holds_at_least_one_message() -> None:
    queue = queue_of(3, size=MAX_FRAME + 1)
    assert [numbers(queue.next_batch()) for _ in range(4)] == [[1], [2], [3], []]


@pytest.mark.parametrize("value", [object(), "x" * MAX_MESSAGE], ids=["no data", "too large"])
def test_a_refused_message_uses_up_no_number(value: object) -> None:
    queue = queue_of(1)
    with pytest.raises(InvalidNode):
        queue.append({"x": value})
    assert queue.append({}).n == queue.last_n == 2
