"""The channels a worker knows right now: the files, read again when they change, and the keys behind them."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from innkeeper.nodes.errors import ProviderError, ResourceError
from innkeeper.nodes.hosts import same_host
from innkeeper.nodes.model_protocols import BUILT_IN_ADAPTERS
from innkeeper.nodes.node import Channels, ModelWish, Route, SecretRef
from innkeeper.nodes.services.channel_file import CHANNELS_FILE, MAX_FILE_BYTES, ChannelFile, FileProblem, read_channels
from innkeeper.nodes.services.channels import (
    Channel,
    ChannelConfig,
    ModelGroup,
    UserChannel,
    route,
)
from innkeeper.nodes.services.files import FileStamp, stamp_of
from innkeeper.nodes.services.secrets import SecretStore
from innkeeper.nodes.services.user_channels import USER_CHANNELS_FILE, UserEntries, config_of, read_user_channels

log = logging.getLogger("innkeeper.channels")

NAMES_VARIABLE = "INNKEEPER_CHANNEL_ENV"
"""Names of variables that may be keys of channels, with commas; `*` stands for any characters."""
USUAL_NAMES = ("*_API_KEY",)
"""What providers of models call their keys. Not `*_KEY`: that is AWS_SECRET_ACCESS_KEY, too."""
_REFERENCE = "channel:"
_ENVIRONMENT = "env:"


class ChannelBook:
    """Routes wishes over `<data>/channels.yaml` (`nodes.node.Channels`), and over the channels that users have made.

    A file of the operator that cannot be used disables routing with its reason; the next good version of it enables it
    again. Without a usable file of users' channels, there are none of them.

    Args:
        data_dir: Where the file is; it need not exist.
        store: Where keys of channels are stored.
        environ: The process's environment, where other keys are.
        adapters: The adapter types that exist.
    """

    def __init__(
        self,
        data_dir: Path,
        store: SecretStore,
        environ: Mapping[str, str],
        adapters: Collection[str] = BUILT_IN_ADAPTERS,
    ) -> None:
        self._file = data_dir / CHANNELS_FILE
        self._store = store
        self._environ = environ
        self._adapters = adapters
        self._stamp: FileStamp | None = None
        self._content = ChannelFile(ChannelConfig())
        self._user_file = data_dir / USER_CHANNELS_FILE
        self._user_stamp: FileStamp | None = None
        self._user_entries = UserEntries()
        self._turns: dict[str, int] = {}
        # A graph can spell any reference. One with this in it can only come from here, so keys of channels are spent
        # by nodes that were routed and by no others.
        self._nonce = secrets.token_hex(16)
        self._given: dict[str, Channel] = {}

    async def routes(self, wish: ModelWish, user: str = "") -> tuple[Route, ...]:
        """The routes that fit, best first; of channels that users have made only those of `user`.

        Raises:
            ProviderError: None fits, or the file cannot be used (`not_found_error`).
        """
        content, entries = await asyncio.to_thread(self._fresh)
        if content.config is None:
            raise _unusable(content.errors)
        config = config_of(user, content.config, entries)
        channels = {channel.id: channel for channel in config.channels}
        found = route(wish, config, self._adapters, self._order)
        return tuple(self._hide_key(item, channels[item.channel_id]) for item in found)

    def of_user(self, user: str) -> Channels:
        """The channels of the operator and of one user."""
        return _ChannelsOfUser(self, user)

    def is_operators(self, channel: str) -> bool:
        """Is it a channel of the operator, whose server may be anywhere?"""
        config = self._content.config
        return config is not None and any(item.id == channel for item in config.channels)

    def is_key(self, ref: SecretRef) -> bool:
        """Is this the reference of a route's key?"""
        return ref.id.startswith(_REFERENCE)

    async def reveal(self, ref: SecretRef, host: str | None) -> str:
        """The key of a route, for a request to its own host and port.

        Raises:
            ResourceError: It is not set or not known (`secret_not_found`), or not for that host (`secret_refused`).
        """
        channel = self._given.get(ref.id)
        if channel is None:
            raise ResourceError("the key is not known", code="secret_not_found")
        if host is None or not same_host(host, channel.host):
            raise ResourceError(f"the key of channel {channel.id!r} is for {channel.host} only", code="secret_refused")
        return await asyncio.to_thread(self._spend, channel)

    def vouches_for(self, host: str) -> bool:
        """Is `host` (`name:port`) the server of a channel? The operator has named it, whatever its address is."""
        config = self._content.config
        return config is not None and any(
            not channel.disabled and host == channel.connects_to for channel in config.channels
        )

    def _spend(self, channel: Channel) -> str:
        key = key_of(channel, self._store, self._environ)
        if channel.api_key is not None and is_stored_key(channel):
            # It is the channel's from now on: no graph that spells its id sends it elsewhere.
            self._store.bind(channel.api_key, channel.host)
        return key

    def _hide_key(self, found: Route, channel: Channel) -> Route:
        if found.api_key is None:
            return found
        owner = channel.owner if isinstance(channel, UserChannel) else ""
        ref = SecretRef(f"{_REFERENCE}{self._nonce}:{owner}:{channel.id}")
        self._given[ref.id] = channel
        return replace(found, api_key=ref)

    def _order(self, group: ModelGroup) -> Sequence[str]:
        """The models of a group in the order of this call."""
        if group.strategy == "random":
            # Spreads load; nobody has to be kept from guessing it.
            return random.sample(group.models, len(group.models))
        if group.strategy == "priority":
            return group.models
        turn = self._turns.get(group.id, 0) % len(group.models)
        self._turns[group.id] = turn + 1
        return (*group.models[turn:], *group.models[:turn])

    def _fresh(self) -> tuple[ChannelFile, UserEntries]:
        stamp = stamp_of(self._file)
        if stamp != self._stamp:
            self._content = read_channel_file(self._file, self._adapters)
            self._stamp = stamp
        user_stamp = stamp_of(self._user_file)
        if user_stamp != self._user_stamp:
            self._user_entries = self._read_user_entries()
            self._user_stamp = user_stamp
        return self._content, self._user_entries

    def _read_user_entries(self) -> UserEntries:
        try:
            return read_user_channels(self._user_file)
        except ResourceError as error:
            log.warning("%s", error.message)
            return UserEntries()


class _ChannelsOfUser:
    def __init__(self, book: ChannelBook, user: str) -> None:
        self._book = book
        self._user = user

    async def routes(self, wish: ModelWish) -> tuple[Route, ...]:
        return await self._book.routes(wish, self._user)


class VouchedHosts:
    """Hosts that requests through channels may reach whatever their addresses: `AddressPolicy.allowed_hosts`."""

    def __init__(self, book: ChannelBook, allowed: Collection[str] = ()) -> None:
        self._book = book
        self._allowed = frozenset(allowed)

    def __contains__(self, host: object) -> bool:
        return isinstance(host, str) and (host in self._allowed or self._book.vouches_for(host))


def read_channel_file(file: Path, adapters: Collection[str] = BUILT_IN_ADAPTERS) -> ChannelFile:
    """Read `channels.yaml`. One that is not there is empty; one that cannot be read has that as its problem."""
    try:
        # A pipe must not make us wait for a writer.
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return ChannelFile(None, (FileProblem(0, "it is not a file"),))
            return read_channels(stream.read(MAX_FILE_BYTES + 1), adapters)
    except FileNotFoundError:
        return ChannelFile(ChannelConfig())
    except OSError as error:
        return ChannelFile(None, (FileProblem(0, f"it cannot be read: {error.strerror}"),))


def key_of(channel: Channel, store: SecretStore | None, environ: Mapping[str, str]) -> str:
    """The key of a channel; empty when it needs none.

    Raises:
        ResourceError: The environment variable is not set or not offered to channels, or the store does not have the
            key for this host.
    """
    if channel.api_key is None:
        return ""
    if channel.api_key.id.startswith(_ENVIRONMENT):
        name = channel.api_key.id.removeprefix(_ENVIRONMENT)
        if not is_offered(name, environ):
            message = (
                f"the environment variable {name} may not be the key of channel {channel.id!r}; names that may are "
                f"{', '.join(_offered(environ))}; add it to {NAMES_VARIABLE} to allow it"
            )
            raise ResourceError(message, code="secret_refused")
        if not environ.get(name):
            message = (
                f"the environment variable {name} (key of channel {channel.id!r}) is not set; export it where the "
                "workers are started"
            )
            raise ResourceError(message, code="secret_not_found")
        return environ[name]
    # Whose secret it is does not matter to a channel of the operator's file; ids of secrets cannot be guessed.
    if store is None:
        raise ResourceError(f"the key of channel {channel.id!r} is not stored here", code="secret_not_found")
    record = store.load(channel.api_key)
    if isinstance(channel, UserChannel) and record.owner != channel.owner:
        raise ResourceError(f"the key of channel {channel.id!r} is not stored here", code="secret_not_found")
    if record.hosts and not any(same_host(channel.host, host) for host in record.hosts):
        raise ResourceError(f"the stored key of channel {channel.id!r} is for other hosts", code="secret_refused")
    return record.value


def is_stored_key(channel: Channel) -> bool:
    """Has the channel a key, and is it a stored one, not a variable of the environment?"""
    return channel.api_key is not None and not channel.api_key.id.startswith(_ENVIRONMENT)


def is_offered(name: str, environ: Mapping[str, str]) -> bool:
    """May a channel take its key from this variable of the environment?

    The file may be a stranger's, and a process knows more than keys of models: tokens of clouds, of code hosts, of
    package indexes. Ours are never offered, nor is the key of the Temporal server.
    """
    own = name.startswith(("INNKEEPER_", "TEMPORAL_"))
    return not own and any(fnmatchcase(name, pattern) for pattern in _offered(environ))


def _offered(environ: Mapping[str, str]) -> tuple[str, ...]:
    named = environ.get(NAMES_VARIABLE, "")
    return tuple(part.strip() for part in named.split(",") if part.strip()) or USUAL_NAMES


def _unusable(errors: tuple[FileProblem, ...]) -> ProviderError:
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    message = f"{CHANNELS_FILE} cannot be used: {errors[0]}{more}; `innkeeper channels` shows every problem"
    return ProviderError(message, code="not_found_error", retryable=False)
