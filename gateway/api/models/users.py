"""The one local user, as ComfyTavern's front end reads users."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from innkeeper.gateway.api.models.base import CLOSED, FreeObject, Moment

NoKeys = Annotated[list[FreeObject], Field(max_length=0)]
"""Keys that open this gateway: there are none yet."""


@with_config(CLOSED)
class DisplayHint(TypedDict):
    """A key, masked."""

    prefix: str
    suffix: str


@with_config(CLOSED)
class Credential(TypedDict):
    """The stored key of a channel, without the key."""

    id: str
    """Of the channel."""
    serviceName: str
    """The channel's `adapterType`."""
    displayName: str
    displayHint: DisplayHint
    createdAt: Moment


@with_config(CLOSED)
class ServiceKeys(TypedDict):
    keys: NoKeys


@with_config(CLOSED)
class Credentials(TypedDict):
    credentials: list[Credential]


@with_config(CLOSED)
class CurrentUser(TypedDict):
    uid: str
    username: str
    isAdmin: bool
    createdAt: Moment
    avatarUrl: NotRequired[str]
    """Where the picture is, when there is one."""
    serviceApiKeys: NoKeys
    externalCredentials: list[Credential]


@with_config(CLOSED)
class UserContext(TypedDict):
    mode: Literal["SingleUser"]
    multiUserMode: Literal[False]
    accessPasswordRequired: Literal[False]
    """The access token was asked for before this answer."""
    isAuthenticated: Literal[True]
    currentUser: CurrentUser


@with_config(CLOSED)
class NewUsername(TypedDict):
    """The name that the user shall have."""

    username: Annotated[str, Field(min_length=1, max_length=50)]


@with_config(CLOSED)
class Renamed(TypedDict):
    success: Literal[True]
    message: str
    username: str


@with_config(CLOSED)
class AvatarForm(TypedDict):
    """A form with a picture."""

    avatar: Annotated[str, Field(json_schema_extra={"format": "binary"})]
    """PNG, JPEG, GIF or WebP."""


@with_config(CLOSED)
class AvatarStored(TypedDict):
    success: Literal[True]
    message: str
    avatarUrl: str
