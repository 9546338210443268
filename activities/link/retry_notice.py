"""What is told of an attempt that ended without a result and will be followed by another one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

RetryKind = Literal["retry", "wait"]
MAX_REASON_CHARS = 500
_OPTIONAL = frozenset({"reason", "details", "parked"})


@dataclass(frozen=True)
class RetryNotice:
    """Why a node is tried again, and when.

    Attributes:
        retryAt: Not before this moment; ISO 8601 in UTC with milliseconds.
        kind: `retry` after a failure, `wait` after an attempt that does not count as one.
        reason: Why it waits, in a short sentence.
        details: What else the error says.
        parked: It waits in its run, not in a slot's time.
    """

    code: str
    message: str
    retryAt: str  # as it travels
    kind: RetryKind
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    parked: bool = False

    def to_wire(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value or key not in _OPTIONAL}


def iso(moment: datetime) -> str:
    """A moment as clients see it: ISO 8601 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
