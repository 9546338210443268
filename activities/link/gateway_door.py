"""Requests of a worker to its gateway, beside the link: what must be answered before a node can go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from innkeeper.nodes.errors import NodeError, NodeInputError, NodeMustWait
from innkeeper.nodes.node import EmittedEvent, EventReach
from innkeeper.nodes.process.settings import SettingsError

if TYPE_CHECKING:
    import httpx2

REQUEST_S = 20.0
AWAY_S = 2.0
"""Between two tries while the gateway does not take the request."""
MAX_WAIT_S = 300.0
_PASSING = frozenset({408, 429, 502, 503, 504})

JsonObject = dict[str, Any]


class GatewayDoor:
    """Asks the gateway's internal routes.

    Args:
        url: Base URL of the gateway; empty when the worker has none.
        token: Gives the token that workers show.
    """

    def __init__(self, url: str, token: Callable[[], str]) -> None:
        self._url = url
        self._token = token
        self._client: httpx2.AsyncClient | None = None

    async def post(self, path: str, body: Mapping[str, Any]) -> JsonObject:
        """The answer to a request that may be sent again.

        Raises:
            NodeMustWait: The gateway is away, or has no room now.
            NodeError: It refuses the request; tried again when the fault is its own.
        """
        if not self._url:
            message = "this worker has no gateway (INNKEEPER_GATEWAY_URL is empty)"
            raise NodeError(message, code="no_gateway", retryable=False)
        # Imported late: a worker whose nodes emit nothing does without it.
        import httpx2

        if self._client is None:
            self._client = httpx2.AsyncClient(trust_env=False, timeout=REQUEST_S, follow_redirects=False)
        try:
            headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        except SettingsError as error:  # its file is gone or being changed; the gateway writes it at its start
            raise NodeMustWait(error.message, delay_s=AWAY_S) from None
        try:
            response = await self._client.post(f"{self._url}{path}", content=orjson.dumps(body), headers=headers)
        except httpx2.TransportError:
            raise NodeMustWait("the gateway does not answer", delay_s=AWAY_S) from None
        return _answer(response.status_code, response.content, response.headers.get("retry-after", ""))

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _answer(status: int, content: bytes, retry_after: str) -> JsonObject:
    body = _object(content)
    if status == 200:
        return body
    message = str(body.get("error") or f"the gateway answered {status}")
    if status in _PASSING:
        delay_s = min(float(retry_after), MAX_WAIT_S) if retry_after.isascii() and retry_after.isdigit() else AWAY_S
        raise NodeMustWait(message, delay_s=delay_s)
    if status in (400, 413, 422):
        raise NodeInputError(message, code=body.get("code"))
    # Of its own faults, and of a token that an operator is changing, it may recover.
    raise NodeError(message, code=body.get("code"), retryable=status >= 500 or status == 401)


def _object(content: bytes) -> JsonObject:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:  # something else listens there
        return {}
    return found if isinstance(found, dict) else {}


class GatewayEvents:
    """Events of nodes, by way of the gateway (`nodes.node.Events`)."""

    def __init__(self, door: GatewayDoor) -> None:
        self._door = door

    async def emit(self, event: EmittedEvent) -> EventReach:
        body = {"run": event.run, "node": event.node, "name": event.name, "data": event.data}
        told = await self._door.post("/internal/events", body)
        return EventReach(str(told.get("eventId")), int(told.get("started", 0)), int(told.get("woken", 0)))
