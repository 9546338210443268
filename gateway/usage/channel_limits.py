"""The limits that operators write: in `channels.yaml`, and for each user in the settings."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from innkeeper.gateway.usage.limits import Limit, UserAmounts, limits_of
from innkeeper.nodes.services.channel_book import read_channel_file
from innkeeper.nodes.services.channel_file import CHANNELS_FILE
from innkeeper.nodes.services.channels import Channel
from innkeeper.nodes.services.llm.call_gate import CallStart

LOOK_S = 1.0
"""How often the file is looked at: a change of a limit counts from then on."""


class ChannelLimits:
    """Which limits a call stands under. A file that cannot be used leaves the limits of the last one that could."""

    def __init__(self, data_dir: Path, users: UserAmounts) -> None:
        self._file = data_dir / CHANNELS_FILE
        self._users = users
        self._channels: Mapping[str, Channel] = {}
        self._looked_at = -LOOK_S
        self._looking = asyncio.Lock()
        self._stamp: tuple[int, int, int] | None = None

    async def __call__(self, start: CallStart) -> Sequence[Limit]:
        if self._is_due():
            # Nobody goes by what was there before somebody has looked: at the start that is nothing.
            async with self._looking:
                if self._is_due():
                    await asyncio.to_thread(self._look)
                    self._looked_at = time.monotonic()
        return limits_of_call(start, self._channels.get(start.channel), self._users)

    def _is_due(self) -> bool:
        return time.monotonic() - self._looked_at >= LOOK_S

    def _look(self) -> None:
        stamp = _stamp_of(self._file)
        if stamp == self._stamp:
            return
        config = read_channel_file(self._file).config
        if config is not None:
            self._channels = {channel.id: channel for channel in config.channels}
        self._stamp = stamp


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


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
