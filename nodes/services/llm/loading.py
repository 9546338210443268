"""Models that a server is still loading: waiting for them is no failure, but it has an end."""

from __future__ import annotations

from innkeeper.nodes.errors import NodeError, NodeMustWait, ProviderError

MAX_LOADING_S = 600.0
MIN_WAIT_S, MAX_WAIT_S = 2.0, 30.0
MAX_MODELS = 1_000


class LoadingModels:
    """Since when servers say that they are loading a model. Each worker process counts for itself."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}

    def wait(self, error: NodeError, url: str, model: str, now: float) -> NodeError:
        """The error to raise: a wait, in the end a failure.

        Args:
            error: What the provider says; when it says how long to wait, that counts, else waits grow.
            now: Seconds of a clock that never goes back.
        """
        since = self._since.setdefault((url, model), now)
        while len(self._since) > MAX_MODELS:
            self._since.pop(next(iter(self._since)))
        waited = now - since
        code = error.details.get("code", error.code)
        if waited > MAX_LOADING_S:
            self.forget(url, model)
            return ProviderError(error.message, code=code, details=error.details, retryable=True)
        delay_s = min(max(waited / 2, MIN_WAIT_S), MAX_WAIT_S)
        if isinstance(error, NodeMustWait):
            delay_s = min(error.delay_s, MAX_LOADING_S)
        return NodeMustWait(error.message, delay_s=delay_s, details=error.details | {"code": code})

    def forget(self, url: str, model: str) -> None:
        """The model is there."""
        self._since.pop((url, model), None)
