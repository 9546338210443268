"""`channels.json`: channels and models that users have made over REST, beside the operator's `channels.yaml`.

The gateway alone writes it. The operator's file stays as it was written, with its comments, and wins where both name
the same channel or model.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.channels import Channel, ChannelConfig, Model, UserChannel, UserModel

USER_CHANNELS_FILE = "channels.json"
MAX_USER_FILE_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class UserEntries:
    """What all users have made."""

    channels: tuple[UserChannel, ...] = ()
    models: tuple[UserModel, ...] = ()

    def to_bytes(self) -> bytes:
        parts = {
            "channels": [channel_to_json(channel) for channel in self.channels],
            "models": [_plain(model) for model in self.models],
        }
        return orjson.dumps(parts, option=orjson.OPT_INDENT_2)


def channel_to_json(channel: UserChannel) -> dict[str, Any]:
    """As it stands in the file: the key is a reference."""
    key = {"apiKey": channel.api_key.to_json()} if channel.api_key else {}
    return {**_plain(channel, exclude={"api_key"}), **key}


def read_user_channels(file: Path) -> UserEntries:
    """Read `channels.json`. One that is not there is empty.

    Raises:
        ResourceError: It cannot be read, or is damaged (`channels_damaged`).
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise _damaged("it is not a file")
            data = stream.read(MAX_USER_FILE_BYTES + 1)
        if len(data) > MAX_USER_FILE_BYTES:
            raise _damaged(f"it is larger than {MAX_USER_FILE_BYTES} bytes")
        told = orjson.loads(data)
        return UserEntries(
            tuple(UserChannel.model_validate(part) for part in told["channels"]),
            tuple(UserModel.model_validate(part) for part in told["models"]),
        )
    except FileNotFoundError:
        return UserEntries()
    except OSError as error:
        raise _damaged(f"it cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, ValidationError):
        # What the library says could quote a value.
        raise _damaged("it is not what the gateway has written") from None


def config_of(user: str, file: ChannelConfig, entries: UserEntries) -> ChannelConfig:
    """All that one user may use: the operator's channels and models, and the user's own."""
    channels = _own(user, entries.channels, {channel.id for channel in file.channels})
    names = {model.model_id for model in file.models} | {group.id for group in file.model_groups}
    models = [model for model in entries.models if model.owner == user and model.model_id not in names]
    merged: dict[str, tuple[Channel, ...] | tuple[Model, ...]] = {
        "channels": (*file.channels, *channels),
        "models": (*file.models, *models),
    }
    return file.model_copy(update=merged)


def _own(user: str, channels: Iterable[UserChannel], taken: set[str]) -> list[UserChannel]:
    return [channel for channel in channels if channel.owner == user and channel.id not in taken]


def _plain(part: UserChannel | UserModel, exclude: set[str] | None = None) -> dict[str, Any]:
    return part.model_dump(mode="json", by_alias=True, exclude=exclude, exclude_none=True, exclude_defaults=True)


def _damaged(what: str) -> ResourceError:
    message = f"{USER_CHANNELS_FILE} of the data directory cannot be used: {what}; restore it, or delete it"
    return ResourceError(message, code="channels_damaged")
