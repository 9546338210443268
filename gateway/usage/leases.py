"""Calls under way, as leases: who counts has a name and an expiry, so that nothing has to be counted down again."""

from __future__ import annotations

from dataclasses import dataclass, field

LEASE_S = 15.0
"""A worker that is killed is believed to make its calls for so long; workers renew every few seconds."""


@dataclass
class Leases:
    """A set of leases by the id of the call; expiries in seconds of the caller's clock."""

    _expiry: dict[str, float] = field(default_factory=dict)

    def hold(self, id: str, now: float) -> None:
        """Begin a lease, or renew it."""
        self._expiry[id] = now + LEASE_S

    def free(self, id: str) -> None:
        self._expiry.pop(id, None)

    def drop_expired(self, now: float) -> list[str]:
        """End those that were not renewed in time; gives their ids."""
        gone = [id for id, expiry in self._expiry.items() if expiry <= now]
        for id in gone:
            del self._expiry[id]
        return gone

    def __len__(self) -> int:
        return len(self._expiry)
