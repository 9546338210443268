"""The streams that nodes of this worker read from the log, and what the gateway must be told about them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from innkeeper.activities.link.follower import Follower


@dataclass
class _Changes:
    """What the next frame says; follower ids in order, each once."""

    follow: dict[str, None] = field(default_factory=dict)
    consumed: dict[str, None] = field(default_factory=dict)
    unfollow: list[str] = field(default_factory=list)


class Follows:
    """All followers of this worker.

    Args:
        on_change: Called when there is something to tell the gateway.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._followers: dict[str, Follower] = {}
        self._count = 0
        self._changes = _Changes()
        self._on_change = on_change

    def follow(self, run: str, path: str, restarted: asyncio.Event) -> Follower:
        """Read a stream from the log. `restarted` is set when the producer begins anew after reading began."""
        self._count += 1
        follower = Follower(f"f{self._count}", run, path, report=self._report, restarted=restarted)
        self._followers[follower.id] = follower
        self._changes.follow[follower.id] = None
        self._on_change()
        return follower

    def unfollow(self, follower: Follower) -> None:
        if self._followers.pop(follower.id, None) is not None:
            self._changes.follow.pop(follower.id, None)
            self._changes.consumed.pop(follower.id, None)
            self._changes.unfollow.append(follower.id)
            self._on_change()

    def follow_all_again(self) -> None:
        """A new connection knows nothing: every stream is followed from where its consumer is."""
        self._changes = _Changes(follow=dict.fromkeys(self._followers))

    def take_changes(self) -> dict[str, list[Any]]:
        """The fields of the next frame, `follow`, `unfollow` and `got`; only those that hold something."""
        changes, self._changes = self._changes, _Changes()
        fields: dict[str, list[Any]] = {
            "follow": [follower.request() for follower in self._known(changes.follow)],
            "unfollow": changes.unfollow,
            "got": [[follower.id, follower.consumed] for follower in self._known(changes.consumed)],
        }
        return {key: value for key, value in fields.items() if value}

    def receive(self, blocks: Iterable[Mapping[str, Any]]) -> None:
        """Hand blocks of chunks to their followers; a block of a stream that is not followed any more is ignored."""
        for block in blocks:
            if (follower := self._followers.get(block["id"])) is not None:
                follower.receive(block)

    def _known(self, ids: Iterable[str]) -> list[Follower]:
        return [self._followers[id] for id in ids if id in self._followers]

    def _report(self, follower: Follower) -> None:
        self._changes.consumed[follower.id] = None
        self._on_change()
