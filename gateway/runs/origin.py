"""What started a run, where nobody did it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from innkeeper.gateway.store.runs import json_of


@dataclass(frozen=True)
class Origin:
    """The trigger that started a run.

    Attributes:
        run: Id that the run is to have. The same one again is the same run.
        delivery: Id of what came for the trigger.
        depth: How many runs, each started by the one before, led to this run.
        labels: Copied from the trigger.
    """

    run: str
    trigger: str
    name: str
    kind: str
    delivery: str
    depth: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> str:
        """As the index of runs keeps it."""
        told: dict[str, Any] = {
            "trigger": self.trigger,
            "triggerName": self.name,
            "kind": self.kind,
            "delivery": self.delivery,
            "depth": self.depth,
            "labels": dict(self.labels),
        }
        return orjson.dumps(told).decode()


def depth_of(origin: str | None) -> int:
    """The depth of a run by its row's `origin`; 0 for one that somebody started."""
    found = json_of(origin).get("depth")
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else 0
