"""What opens the gateway for a client."""

from __future__ import annotations

from pydantic import with_config
from typing_extensions import TypedDict

from innkeeper.gateway.api.models.base import CLOSED


@with_config(CLOSED)
class SocketTicket(TypedDict):
    """What opens `/ws` once, where a client cannot show the token in a header."""

    ticket: str
    expiresInS: float
