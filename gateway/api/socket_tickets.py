"""Tickets for the WebSocket of clients: a browser cannot show a header there, and a token in an address gets into logs.

A ticket opens one socket, within half a minute. A client asks for one, with its token, each time it connects.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models.access import SocketTicket
from innkeeper.gateway.api.responses import answer, errors
from innkeeper.gateway.errors import json_response

LIFETIME_S = 30.0
MAX_TICKETS = 10_000
router = APIRouter(prefix="/api", tags=["events"], default_response_class=Response)


class SocketTickets:
    """Tickets that were given out and not used, oldest first. A restart forgets them: clients then ask again.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end_of: dict[str, float] = {}

    def issue(self) -> str:
        """A new ticket."""
        now = self._clock()
        while self._end_of and (len(self._end_of) >= MAX_TICKETS or self._oldest_end() <= now):
            del self._end_of[next(iter(self._end_of))]
        ticket = secrets.token_urlsafe(32)
        self._end_of[ticket] = now + LIFETIME_S
        return ticket

    def take(self, ticket: str) -> bool:
        """Is this one of ours? It is used up then."""
        return self._clock() < self._end_of.pop(ticket, 0.0)

    def _oldest_end(self) -> float:
        return next(iter(self._end_of.values()))


@router.post(
    "/ws-ticket",
    summary="A ticket for one connection to `/ws`",
    responses=answer("Show it as `/ws?ticket=...`.", SocketTicket) | errors(),
)
async def create_socket_ticket(request: Request) -> Response:
    tickets: SocketTickets = request.app.state.socket_tickets
    body = {"ticket": tickets.issue(), "expiresInS": LIFETIME_S}
    return json_response(body, headers={"Cache-Control": "no-store"})
