"""The result cache, as one node run uses it: the key of its call, what is cached for it, and what may be cached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from innkeeper.activities.execution.attempt import Attempt
from innkeeper.nodes.call import NodeCall
from innkeeper.nodes.catalogue.plugin_settings import PluginSettings
from innkeeper.nodes.services.results import KeptResult, result_key


class Results(Protocol):
    """What nodes gave before, by user and key; their warnings are part of it."""

    async def get(self, user: str, key: str) -> KeptResult | None: ...

    async def put(self, user: str, key: str, result: KeptResult) -> None: ...


class ResultCache:
    """Outputs of earlier calls that asked the same. Without `results` nothing is cached."""

    def __init__(self, results: Results | None) -> None:
        self._results = results

    def key(self, call: NodeCall, version: str, settings: PluginSettings) -> str | None:
        """The key of a call of a node type in this `version`; None when its outputs may not be cached."""
        if self._results is None:
            return None
        # With other settings of its plugin a node may give other outputs.
        return result_key(call, f"{version} {sorted(settings.items())}" if settings else version)

    async def get(self, call: NodeCall, key: str | None) -> KeptResult | None:
        return await self._results.get(call.run_user, key) if self._results and key else None

    async def put(self, attempt: Attempt, key: str | None, outputs: Mapping[str, Any]) -> None:
        # Who looked at a secret may have put something of it into what it gives.
        if self._results and key and not attempt.secrets.revealed:
            await self._results.put(attempt.call.run_user, key, KeptResult(dict(outputs), attempt.warnings))
