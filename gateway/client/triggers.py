"""Triggers of a gateway, as `GatewayClient.triggers`."""

from __future__ import annotations

import secrets as random
from collections.abc import Mapping, Sequence
from typing import Any

from innkeeper.gateway.client.transport import InvalidAddress, Transport

_TRIGGERS = "/api/triggers"


class Triggers:
    """What starts runs: webhooks, schedules, events, files, ends of other runs.

    A trigger is a JSON object: its definition (docs/triggers.md), and `id`, `version`, `createdAt`, `updatedAt`,
    `secretCount` of the gateway.

    Raises of all methods:
        GatewayRefused: There is no such trigger (`trigger_not_found`).
        GatewayAway.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def find(self) -> list[dict[str, Any]]:
        """All triggers by name."""
        answer = await self._transport.call("GET", _TRIGGERS)
        found: list[dict[str, Any]] = answer["triggers"] if isinstance(answer, Mapping) else answer
        return found

    async def get(self, trigger_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self._transport.call("GET", _path(trigger_id))
        return found

    async def create(self, definition: Mapping[str, Any], *, secrets: Sequence[str] = ()) -> dict[str, Any]:
        """Make a trigger. Of a webhook the answer has also `token` and `url`, which nobody is told again.

        Args:
            secrets: Of a webhook: one, or an old and a new one while the sender changes them.

        Raises:
            InvalidTriggerDefinition: With every problem.
            LibraryConflict: The name is taken (`name_taken`); after an outage in the middle of the call by the call
                itself. `rotate_token` then gives the webhook a URL that you know.
        """
        made = await self._transport.call("POST", _TRIGGERS, json=_body(definition, secrets or None))
        return self._with_whole_url(made)

    async def replace(
        self,
        trigger_id: str,
        definition: Mapping[str, Any],
        *,
        etag: str | None = None,
        secrets: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Give a trigger another definition.

        Args:
            etag: `etag_of` the trigger that was read.
            secrets: None keeps those that it has.

        Raises:
            InvalidTriggerDefinition, PreconditionRequired, VersionMismatch.
            LibraryConflict: Another trigger has the name (`name_taken`).
        """
        changed: dict[str, Any] = await self._transport.call(
            "PUT", _path(trigger_id), json=_body(definition, secrets), headers=_match(etag)
        )
        return changed

    async def delete(self, trigger_id: str, *, etag: str | None = None) -> None:
        """Delete a trigger and its results. Its runs stay. Raises PreconditionRequired, VersionMismatch."""
        await self._transport.call("DELETE", _path(trigger_id), headers=_match(etag))

    async def enable(self, trigger_id: str, *, note: str = "") -> dict[str, Any]:
        """Let it start runs. Raises InvalidTriggerDefinition: its scheme needs a secret and it has none."""
        return await self._switch(trigger_id, "enable", note)

    async def disable(self, trigger_id: str, *, note: str = "") -> dict[str, Any]:
        """Let it start no run until it is enabled again. Runs that it has started go on."""
        return await self._switch(trigger_id, "disable", note)

    async def _switch(self, trigger_id: str, what: str, note: str) -> dict[str, Any]:
        body = {"note": note} if note else {}
        changed: dict[str, Any] = await self._transport.call("POST", _path(trigger_id, f"/{what}"), json=body)
        return changed

    async def test(
        self,
        trigger_id: str,
        payload: Any,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        delivery_id: str | None = None,
        run: bool = False,
    ) -> dict[str, Any]:
        """What a delivery would do: `{outcome, reason, inputs, problems, notes}`; with `run` it does, and the answer
        has `runId`.

        Args:
            payload: The body of a webhook; the data of an event; what a schedule, file or run would tell.
            headers, query: Of a webhook.
            delivery_id: Deliveries with the same one start one run. Without it, each call is a delivery of its own.
        """
        if run and delivery_id is None:
            # The call may be repeated after an outage: it is still one delivery.
            delivery_id = f"test-{random.token_hex(8)}"
        told = {"headers": headers, "query": query, "deliveryId": delivery_id, "run": run or None}
        body = {"payload": payload, **{key: value for key, value in told.items() if value is not None}}
        answer: dict[str, Any] = await self._transport.call("POST", _path(trigger_id, "/test"), json=body)
        return answer

    async def results(self, trigger_id: str, *, limit: int = 100) -> dict[str, Any]:
        """What became of the latest deliveries, the newest first: `{"results": [{id, at, outcome, reason, runId,
        sample}], "counters": {...}}`."""
        params = {"limit": str(limit)}
        found: dict[str, Any] = await self._transport.call("GET", _path(trigger_id, "/results"), params=params)
        return found

    async def preview(self, trigger_id: str, *, count: int = 10) -> dict[str, Any]:
        """The next times of a schedule: `{"times": [ISO 8601], "notes": [...]}`. Raises GatewayRefused: it is none."""
        params = {"count": str(count)}
        found: dict[str, Any] = await self._transport.call("GET", _path(trigger_id, "/preview"), params=params)
        return found

    async def rotate_token(self, trigger_id: str) -> dict[str, Any]:
        """A new `token` and `url` for a webhook; the old URL is gone at once. After an outage in the middle of the
        call it may have been changed twice: the one in the answer counts."""
        return self._with_whole_url(await self._transport.call("POST", _path(trigger_id, "/rotate-token"), json={}))

    def _with_whole_url(self, answer: dict[str, Any]) -> dict[str, Any]:
        url = answer.get("url")
        return {**answer, "url": self._transport.url + url} if isinstance(url, str) and url.startswith("/") else answer


def etag_of(trigger: Mapping[str, Any]) -> str:
    """Names the version of a trigger that was read: who changes it sends it, and changes nothing that she has not
    seen."""
    return f'"{trigger["version"]}"'


def _body(definition: Mapping[str, Any], secrets: Sequence[str] | None) -> dict[str, Any]:
    return {**definition, **({} if secrets is None else {"secrets": list(secrets)})}


def _match(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"If-Match": etag}


def _path(trigger_id: str, below: str = "") -> str:
    if not trigger_id.isalnum() or not trigger_id.isascii():
        raise InvalidAddress(f"{trigger_id[:200]!r} is no id of a trigger: 'innkeeper triggers list --json' has them")
    return f"{_TRIGGERS}/{trigger_id}{below}"
