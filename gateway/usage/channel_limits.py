"""The limits that are written down: of channels, of models on them, and for each user in the settings."""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.gateway.usage.known_channels import KnownChannels
from innkeeper.gateway.usage.limits import Limit, UserAmounts, limits_of
from innkeeper.nodes.services.channels import Channel, Limits
from innkeeper.nodes.services.llm.call_gate import CallStart


class ChannelLimits:
    """Which limits a call stands under."""

    def __init__(self, channels: KnownChannels, users: UserAmounts) -> None:
        self._channels = channels
        self._users = users

    async def __call__(self, start: CallStart) -> Sequence[Limit]:
        return limits_of_call(start, await self._channels.get(start.channel), self._users)


def limits_of_call(start: CallStart, channel: Channel | None, users: UserAmounts) -> list[Limit]:
    """All limits of one call. Pure."""
    found = list(limits_of(f"user {start.origin.user}", "each user", users))
    if channel is None:
        return found
    whose = f"channel {channel.id!r}"
    found += limits_of(_scope(start, f"channel {channel.id}", channel.limits), whose, channel.limits)
    special = channel.per_model.get(start.model)
    if special is not None:
        scope = _scope(start, f"model {channel.id} {start.model}", special.limits, f" {start.model}")
        found += limits_of(scope, f"model {start.model!r} on {whose}", special.limits)
    return found


def _scope(start: CallStart, own: str, limits: Limits | None, model: str = "") -> str:
    """What counts together: one channel, or all that have its key."""
    is_shared = limits is not None and limits.shared_by_key and start.key
    return f"key {start.host} {start.key}{model}" if is_shared else own
