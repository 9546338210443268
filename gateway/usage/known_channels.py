"""The channels that a request may go through, as the gateway knows them: the operator's, and those of users."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.channel_book import read_channel_file
from innkeeper.nodes.services.channel_file import CHANNELS_FILE
from innkeeper.nodes.services.channels import Channel
from innkeeper.nodes.services.files import FileStamp, stamp_of
from innkeeper.nodes.services.user_channels import USER_CHANNELS_FILE, read_user_channels

LOOK_S = 1.0
"""How often the files are looked at: what changes in them counts from then on."""


class KnownChannels:
    """Channels by id; ids are unique over all users, and the operator's win.

    A file that cannot be used leaves what the last one said that could.
    """

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / CHANNELS_FILE
        self._user_file = data_dir / USER_CHANNELS_FILE
        self._operators: Mapping[str, Channel] = {}
        self._users: Mapping[str, Channel] = {}
        self._stamps: tuple[FileStamp | None, FileStamp | None] = (None, None)
        self._looked_at = -LOOK_S
        self._looking = asyncio.Lock()

    async def get(self, id: str) -> Channel | None:
        """The channel as it is now, or was a second ago."""
        if self._is_due():
            # Nobody goes by what was there before somebody has looked: at the start that is nothing.
            async with self._looking:
                if self._is_due():
                    await asyncio.to_thread(self._look)
                    self._looked_at = time.monotonic()
        return self._operators.get(id) or self._users.get(id)

    def pricing_provider(self, id: str) -> str | None:
        """Whose prices count for a channel, as its operator says; None: its host tells.

        What a user says of a channel does not count: it could make a budget of money last longer.
        """
        channel = self._operators.get(id)
        return None if channel is None or channel.pricing is None else channel.pricing.provider

    def _is_due(self) -> bool:
        return time.monotonic() - self._looked_at >= LOOK_S

    def _look(self) -> None:
        stamps = stamp_of(self._file), stamp_of(self._user_file)
        if stamps[0] != self._stamps[0] and (config := read_channel_file(self._file).config) is not None:
            self._operators = {channel.id: channel for channel in config.channels}
        if stamps[1] != self._stamps[1]:
            self._look_at_users()
        self._stamps = stamps

    def _look_at_users(self) -> None:
        try:
            channels = read_user_channels(self._user_file).channels
        except ResourceError:  # whoever asks for these channels is told
            return
        self._users = {channel.id: channel for channel in channels}
