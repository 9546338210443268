"""The limits that are written down: of channels, of models on them, and for each user in the settings."""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.gateway.usage.known_channels import KnownChannels
from innkeeper.gateway.usage.limits import Limit, UserAmounts, limits_of
from innkeeper.nodes.services.channels import Channel
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
    found += limits_of(f"channel {channel.id}", f"channel {channel.id!r}", channel.limits)
    special = channel.per_model.get(start.model)
    if special is not None:
        whose = f"model {start.model!r} on channel {channel.id!r}"
        found += limits_of(f"model {channel.id} {start.model}", whose, special.limits)
    return found
