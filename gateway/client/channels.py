"""Channels and models, as `GatewayClient.channels`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.gateway.client.transport import Transport, path_segment

_PATH = "/api/llm/channels"


class Channels:
    """The operator's channels, and the user's own ones, which can be made and changed. No answer holds a key."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def find(self) -> list[dict[str, Any]]:
        """All channels. `isEditable` ones are the user's own."""
        found: list[dict[str, Any]] = await self._transport.call("GET", _PATH)
        return found

    async def add(self, channel: Mapping[str, Any]) -> dict[str, Any]:
        """Make a channel; `baseUrl` is needed.

        Raises:
            GatewayRefused: `invalid_channel`, `id_taken`, `too_many_channels`, `channels_unusable`.
        """
        made: dict[str, Any] = await self._transport.call("POST", _PATH, json=dict(channel))
        return made

    async def change(self, channel_id: str, new: Mapping[str, Any], *, etag: str | None = None) -> dict[str, Any]:
        """Change what `new` says of a channel; with an `etag` only when it is still of that version.

        Raises:
            GatewayRefused: As `add`; `not_found`, or `not_editable` when it is the operator's.
            VersionMismatch.
        """
        changed: dict[str, Any] = await self._transport.call(
            "PUT", _one(channel_id), json=dict(new), headers={"If-Match": etag} if etag else {}
        )
        return changed

    async def delete(self, channel_id: str) -> None:
        """Raises as `change`."""
        await self._transport.call("DELETE", _one(channel_id))

    async def models(self, channel_id: str) -> list[str]:
        """Models that are known to be on a channel. Raises GatewayRefused (`not_found`)."""
        found = await self._transport.call("GET", f"{_one(channel_id)}/list-models")
        return [str(model["id"]) for model in found]

    async def discover(self, channel_id: str) -> list[str]:
        """Models that the server of a channel says it has. Raises GatewayRefused (`models_not_listed`)."""
        found = await self._transport.call("POST", f"{_one(channel_id)}/discover-models")
        return [str(model["id"]) for model in found]


def _one(channel_id: str) -> str:
    return f"{_PATH}/{path_segment(channel_id)}"
