"""Callbacks: whom a run tells how it goes, and what became of each message."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypeAliasType, TypedDict

from innkeeper.gateway.api.models.base import CLOSED, OPEN, Count, FreeObject, Moment

CallbackEvent = TypeAliasType("CallbackEvent", Literal["complete", "error", "interrupted", "waiting"])


@with_config(OPEN)
class CallbackRequest(TypedDict):
    """Whom to tell how a run goes, by a POST that is tried for a day. In a submission no other key is taken."""

    url: Annotated[str, Field(max_length=2_000)]
    """http or https, without a user name. Its query is kept secret."""
    secret: NotRequired[Annotated[str, Field(max_length=500)] | FreeObject | None]
    """Signs by Standard Webhooks: `whsec_` and base64 of 24 to 64 bytes; stored encrypted, for the host of the URL. In
    stored documents it is `$secret:id`. Without it messages are not signed."""
    on: NotRequired[Annotated[list[CallbackEvent], Field(min_length=1, max_length=4)] | None]
    """What it is told of; without it of each end. `waiting`: a node waits for an approval or an event."""


@with_config(CLOSED)
class CallbackDelivery(TypedDict):
    """What became of one message."""

    id: str
    """The `webhook-id` that its receiver sees, in each attempt."""
    event: CallbackEvent
    nodeId: NotRequired[str]
    """Of `waiting`: path of the node that waits."""
    status: Literal["pending", "delivered", "failed", "stopped"]
    """`failed`: given up, or its address is not allowed. `stopped`: the receiver answered 410."""
    attempts: Count
    lastStatus: NotRequired[int]
    """HTTP status of the receiver's last answer."""
    lastError: NotRequired[str]
    """Why the last attempt did not deliver it."""
    nextAttemptAt: NotRequired[Moment]
    deliveredAt: NotRequired[Moment]


@with_config(CLOSED)
class RunCallback(TypedDict):
    """Whom a run tells how it goes."""

    number: Count
    """Its place in this list, by which messages are sent anew."""
    source: Literal["submission", "workflow", "trigger"]
    """What named it."""
    url: str
    """Its query is shown as `***`."""
    signed: bool
    on: list[CallbackEvent]
    deliveries: list[CallbackDelivery]
    """Oldest first; of a run with more than 100 messages the newest."""


@with_config(CLOSED)
class CallbackResent(TypedDict):
    success: Literal[True]
    promptId: str
    number: Count
    ids: list[str]
    """`webhook-id` of each message that is sent anew."""
