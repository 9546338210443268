"""A small client of the gateway: submit a run, watch its events through every interruption, ask, cancel."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from gateway.settings import is_loopback
from nodes.errors import InnkeeperError, InvalidWorkflow, Problem, RunNotActive, RunNotFound

Event = dict[str, Any]
ENDED = frozenset({"complete", "error", "interrupted"})
STATUS_UPDATE = "EXECUTION_STATUS_UPDATE"
LOG_RESTARTED = "LOG_RESTARTED"
"""Not on the wire: tells the reader of `events` to forget what it saw, since the log was begun anew."""
REFUSED_CLOSE_CODES = frozenset({4400, 4401, 4403, 4404})
AWAY_STATUS = frozenset({502, 503, 504})
_CONNECT_S = 5.0
_LASTING_S = 2 * _CONNECT_S
_PASSING_CODES = frozenset({"event_log_unavailable", "engine_unavailable"})
_PROBLEM_FIELDS = ("code", "message", "level", "node", "slot", "edge")


class GatewayAway(InnkeeperError):
    """Nothing answers at the gateway's address."""

    code = "gateway_unreachable"
    retryable = True


class GatewayRefused(InnkeeperError):
    """The gateway answered with an error; `details["status"]` is the HTTP status, where there is one."""

    code = "gateway_refused"


class GatewayClient:
    """Use it as `async with GatewayClient("http://127.0.0.1:8090") as client`.

    Args:
        token: Access token, when the gateway asks for one.
        patience_s: How long the gateway may be away before a call gives up.
    """

    def __init__(self, url: str, token: str | None = None, *, patience_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._patience_s = patience_s
        # A proxy of the environment cannot reach this machine's loopback.
        self._use_proxy = not is_loopback(urlsplit(self.url).hostname or "")
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=self._headers, timeout=30.0, trust_env=self._use_proxy
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def submit(self, document: Mapping[str, Any], *, idempotency_key: str | None = None) -> str:
        """Start a run and give its id. A submit that is repeated after an outage starts one run only.

        Raises:
            InvalidWorkflow: With every problem of the document.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex, "Content-Type": "application/json"}
        answer = await self._call("POST", "/api/prompt", headers=headers, content=json.dumps(document).encode())
        return str(answer["promptId"])

    async def status(self, run_id: str) -> dict[str, Any]:
        """Status, outputs and nodes of a run. Raises RunNotFound."""
        found: dict[str, Any] = await self._call("GET", f"/api/prompt/{quote(run_id, safe='')}")
        return found

    async def cancel(self, run_id: str) -> dict[str, Any]:
        """Interrupt a run. Raises RunNotFound, RunNotActive."""
        answer: dict[str, Any] = await self._call("DELETE", f"/api/interrupt/{quote(run_id, safe='')}")
        return answer

    async def active(self) -> list[dict[str, Any]]:
        """The runs that run or wait now."""
        found = await self._call("GET", "/api/executions")
        return [*found["running"], *found["pending"]]

    async def history(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest runs that have ended."""
        found = await self._call("GET", "/api/history", params={"limit": limit})
        return list(found["history"] if isinstance(found, dict) else found)

    async def wait(self, run_id: str) -> dict[str, Any]:
        """Wait until a run has ended and give its status."""
        async for _ in self.events(run_id):
            pass
        return await self.status(run_id)

    async def events(self, run_id: str, after: int = 0) -> AsyncIterator[Event]:
        """The events of a run with `seq` above `after`, each once and in order, until its final status.

        Connects again by itself. When the log was begun anew meanwhile (power loss of the gateway's machine), one
        event of type LOG_RESTARTED comes, then everything from the start.
        """
        reader = _Reader(run_id, after)
        away_since = time.monotonic()
        while True:
            begun = time.monotonic()
            try:
                async with self._socket() as socket:
                    async for event in reader.read(socket):
                        away_since = time.monotonic()
                        yield event
                        if is_final(event):
                            return
            except (OSError, InvalidHandshake, ConnectionClosed, TimeoutError) as error:
                _raise_if_hopeless(error)
            if time.monotonic() - begun > _LASTING_S:  # it was connected, only nothing happened in the run
                away_since = time.monotonic()
            if time.monotonic() - away_since > self._patience_s:
                raise self._away()
            await asyncio.sleep(0.2)

    def _socket(self) -> connect:
        return connect(
            f"{self.url.replace('http', 'ws', 1)}/ws",
            additional_headers=self._headers,
            compression=None,
            max_size=None,
            proxy=True if self._use_proxy else None,
            open_timeout=_CONNECT_S,
            close_timeout=1,
        )

    async def _call(self, method: str, path: str, **arguments: Any) -> Any:
        """One request, repeated while the gateway or its engine is away; all our requests may be repeated."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                response = await self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise self._away() from error
            else:
                if response.status_code not in AWAY_STATUS or time.monotonic() > deadline:
                    return _content(response)
            await asyncio.sleep(0.2)

    def _away(self) -> GatewayAway:
        return GatewayAway(
            f"no gateway answers at {self.url}: start one with 'innkeeper up', or name another with --url"
        )


class _Reader:
    """One client's place in the log of a run."""

    def __init__(self, run_id: str, after: int) -> None:
        self._run_id = run_id
        self._after = after
        self._log_id: str | None = None

    async def read(self, socket: ClientConnection) -> AsyncIterator[Event]:
        await socket.send(json.dumps({"type": "SUBSCRIBE", "payload": self._subscription()}))
        async for text in socket:
            frame = json.loads(text)
            payload = frame.get("payload") or {}
            if frame.get("type") == "error":
                if payload.get("code") in _PASSING_CODES:
                    raise ConnectionError(payload.get("message"))
                raise _refusal(payload)
            if payload.get("promptId") != self._run_id:
                continue
            if "logId" in payload and self._is_new_log(payload["logId"]):
                yield {"type": LOG_RESTARTED, "payload": {"promptId": self._run_id}}
            seq = frame.get("seq")
            if isinstance(seq, int) and seq > self._after:
                self._after = seq
                yield frame

    def _subscription(self) -> dict[str, Any]:
        place: dict[str, Any] = {"promptId": self._run_id, "after": self._after}
        return {**place, "logId": self._log_id} if self._log_id else place

    def _is_new_log(self, log_id: str) -> bool:
        is_new = self._log_id is not None and log_id != self._log_id
        self._log_id = log_id
        if is_new:
            self._after = 0
        return is_new


def is_final(event: Event) -> bool:
    """Is this the last event of its run?"""
    return event.get("type") == STATUS_UPDATE and event["payload"].get("status") in ENDED


def _raise_if_hopeless(error: Exception) -> None:
    """Some refusals do not get better by trying again."""
    if isinstance(error, InvalidStatus) and 400 <= error.response.status_code < 500:
        status = error.response.status_code
        raise GatewayRefused(f"the gateway refuses the connection (status {status})", details={"status": status})
    if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code in REFUSED_CLOSE_CODES:
        raise GatewayRefused(f"the gateway refuses the connection: {error.rcvd.reason or error.rcvd.code}")


def _refusal(body: Mapping[str, Any], status: int | None = None) -> InnkeeperError:
    """The error that a gateway's answer means."""
    problems = body.get("problems")
    if isinstance(problems, list) and problems:
        return InvalidWorkflow([_problem(item) for item in problems])
    details = body.get("details")
    code = body.get("code") or (details.get("code") if isinstance(details, Mapping) else None) or "gateway_refused"
    message = str(body.get("error") or body.get("message") or f"the gateway answered with status {status}")
    if code == RunNotFound.code:
        return RunNotFound(message)
    if code == RunNotActive.code:
        return RunNotActive(message)
    return GatewayRefused(message, code=str(code), details={"status": status} if status else None)


def _problem(item: Mapping[str, Any]) -> Problem:
    return Problem(**{key: item[key] for key in _PROBLEM_FIELDS if key in item})


def _content(response: httpx.Response) -> Any:
    try:
        body = response.json()
    except ValueError:
        body = {"error": f"{response.url} answers, but not as an Innkeeper gateway does: check the address in --url"}
        if response.is_success:
            raise GatewayRefused(body["error"]) from None
    if response.is_success:
        return body
    raise _refusal(body if isinstance(body, dict) else {}, response.status_code)
