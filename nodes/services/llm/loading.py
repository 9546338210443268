"""Models that a server is still loading: waiting for them is no failure."""

from __future__ import annotations

from typing import NamedTuple

from innkeeper.nodes.errors import NodeError, NodeMustWait

LOADING = "loading"
"""`NodeMustWait.details.kind` of these waits. Whoever runs the node counts them together and ends them."""
MIN_WAIT_S, MAX_WAIT_S = 2.0, 30.0
FORGET_S = 120.0
"""A server that was not asked for so long is taken to load its model anew."""
MAX_MODELS = 1_000


class _Seen(NamedTuple):
    first: float
    last: float


class LoadingModels:
    """Since when servers say that they are loading a model, so that waits grow. Each worker process has its own."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    def wait(self, error: NodeError, url: str, model: str, now: float) -> NodeMustWait:
        """The error to raise.

        Args:
            error: What the provider says; when it says how long to wait, that counts, else waits grow.
            now: Seconds of a clock that never goes back.
        """
        seen = self._seen.pop((url, model), None)
        first = now if seen is None or now - seen.last > FORGET_S else seen.first
        self._seen[(url, model)] = _Seen(first, now)
        while len(self._seen) > MAX_MODELS:
            self._seen.pop(next(iter(self._seen)))
        delay_s = min(max((now - first) / 2, MIN_WAIT_S), MAX_WAIT_S)
        if isinstance(error, NodeMustWait):
            delay_s = error.delay_s
        details = error.details | {"code": error.details.get("code", error.code), "kind": LOADING}
        return NodeMustWait(error.message, delay_s=delay_s, details=details)

    def forget(self, url: str, model: str) -> None:
        """The model is there."""
        self._seen.pop((url, model), None)
