"""The identity of one attempt of one node, under which the event log keeps what the attempt sends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

Epoch = tuple[int, int]
"""`(attempt, generation)`. Epochs compare as pairs; the log takes nothing of a lower one."""

FIRST_EPOCH: Epoch = (1, 0)


@dataclass(frozen=True, slots=True)
class NodeAttempt:
    """One attempt of one node of one run. Hashable, because streams and fences are kept by it.

    Attributes:
        path: Node path in the run, `outer/inner` inside groups.
        epoch: A tuple, never the list that JSON gives: a list has no hash and equals no tuple.
    """

    run: str
    path: str
    epoch: Epoch
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Each chunk is looked up by it several times.
        object.__setattr__(self, "_hash", hash((self.run, self.path, self.epoch)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def is_first(self) -> bool:
        """No earlier attempt can have left anything in the log."""
        return self.epoch == FIRST_EPOCH

    def next_generation(self) -> NodeAttempt:
        """The same attempt, begun anew because a stream that it reads has begun anew."""
        attempt, generation = self.epoch
        return replace(self, epoch=(attempt, generation + 1))
