"""Tickets for the socket of clients: each opens it once, for half a minute, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import Client
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from innkeeper.gateway.api.socket_tickets import LIFETIME_S, MAX_TICKETS, SocketTickets
from tests.gateway.conftest import Stack


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_ticket_counts_once_and_not_for_long() -> None:
    clock = Clock()
    tickets = SocketTickets(clock)
    used, late = tickets.issue(), tickets.issue()
    assert [tickets.take(used), tickets.take(used)] == [True, False]
    clock.now += LIFETIME_S
    assert not tickets.take(late)
    assert not tickets.take("")


def test_tickets_that_nobody_uses_do_not_pile_up() -> None:
    clock = Clock()
    tickets = SocketTickets(clock)
    first = tickets.issue()
    last = [tickets.issue() for _ in range(MAX_TICKETS)][-1]
    assert not tickets.take(first)
    assert tickets.take(last)
    clock.now += LIFETIME_S
    tickets.issue()
    assert len(tickets._end_of) == 1


async def test_a_ticket_opens_the_socket_once_and_nothing_else(temporal: Client, tmp_path: Path) -> None:
    stack = Stack(temporal, tmp_path, {"access_token": "let me in"})
    async with stack.gateway(), stack.http() as http:
        assert (await http.post("/api/ws-ticket")).status_code == 401
        headers = {"Authorization": "Bearer let me in"}
        ticket = (await http.post("/api/ws-ticket", headers=headers)).json()["ticket"]
        assert (await http.get("/api/executions", params={"ticket": ticket})).status_code == 401
        assert (await http.get("/api/prompt/x/events", params={"ticket": ticket})).status_code == 401
        address = f"{stack.ws_url}?ticket={ticket}"
        async with connect(address, proxy=None) as socket:
            await socket.send('{"type": "SUBSCRIBE", "payload": {"promptId": "none"}}')
            assert "run_not_found" in str(await socket.recv())
        with pytest.raises(ConnectionClosed) as refused:
            async with connect(address, proxy=None) as socket:
                await socket.recv()
        assert refused.value.rcvd is not None
        assert refused.value.rcvd.code == 4401
    stack.close()
