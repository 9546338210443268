"""What the gateway is told about followed streams: each change once, and everything again after a reconnect."""

from __future__ import annotations

import asyncio

from innkeeper.activities.link.follower import Follower
from innkeeper.activities.link.follows import Follows


def followed(follows: Follows, path: str) -> Follower:
    return follows.follow("r", path, asyncio.Event())


def test_a_change_is_told_once() -> None:
    changes: list[int] = []
    follows = Follows(lambda: changes.append(1))
    a, b = followed(follows, "a"), followed(follows, "b")
    assert follows.take_changes() == {"follow": [a.request(), b.request()]}
    assert follows.take_changes() == {}
    follows.unfollow(a)
    follows.unfollow(a)
    assert follows.take_changes() == {"unfollow": [a.id]}
    assert len(changes) == 3


def test_a_stream_that_is_let_go_before_it_was_told_is_not_asked_for() -> None:
    follows = Follows(lambda: None)
    follows.unfollow(followed(follows, "a"))
    assert "follow" not in follows.take_changes()


async def test_a_new_connection_is_asked_for_what_comes_next() -> None:
    follows = Follows(lambda: None)
    gone, kept = followed(follows, "a"), followed(follows, "b")
    chunks = [{"type": "text_chunk", "content": "x"}] * 300
    follows.receive([{"id": kept.id, "origin": [1, 0], "i": 0, "chunks": chunks}, {"id": "f99", "i": 0}])
    reader = kept.begin_reading()
    for _ in chunks:
        await anext(reader)
    follows.unfollow(gone)
    follows.follow_all_again()
    assert follows.take_changes() == {"follow": [kept.request()]}
    assert kept.request()["next"] == 300


async def test_how_much_was_consumed_is_told_with_the_newest_number() -> None:
    follows = Follows(lambda: None)
    follower = followed(follows, "a")
    follows.take_changes()
    chunks = [{"type": "text_chunk", "content": "x"}] * 600
    follows.receive([{"id": follower.id, "origin": [1, 0], "i": 0, "chunks": chunks}])
    reader = follower.begin_reading()
    for _ in range(510):
        await anext(reader)
    assert follows.take_changes() == {"got": [[follower.id, 510]]}
