"""One connection to a gateway: its address, its token, repeated requests, and what its answers mean."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from websockets.asyncio.client import connect

from innkeeper.nodes.errors import InnkeeperError, InvalidWorkflow, Problem, RunNotActive, RunNotFound
from innkeeper.nodes.hosts import is_loopback_name

AWAY_STATUS = frozenset({502, 503, 504})
CONNECT_S = 5.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_CONFLICTS = frozenset(
    {
        *("id_taken", "name_taken", "version_changed", "duplicate_workflow_id"),
        *("project_exists", "project_needed"),
    }
)
_PROBLEM_FIELDS = ("code", "message", "level", "node", "slot", "edge")


class GatewayAway(InnkeeperError):
    """Nothing answers at the gateway's address."""

    code = "gateway_unreachable"
    retryable = True


class GatewayRefused(InnkeeperError):
    """The gateway answered with an error. `code` is the gateway's; `details["status"]` the HTTP status, if any."""

    code = "gateway_refused"


class PreconditionRequired(GatewayRefused):
    """A stored workflow is changed only with the ETag of the version that was read."""

    code = "precondition_required"


class VersionMismatch(GatewayRefused):
    """Somebody saved meanwhile. `details["current"]` is the newest version, `details["yours"]` the one of the ETag."""

    code = "version_mismatch"


class LibraryConflict(GatewayRefused):
    """An id or a name is taken, or it cannot be told which workflow is meant; `code` is the gateway's."""

    code = "conflict"


class InvalidTriggerDefinition(GatewayRefused):
    """The definition of a trigger is wrong. `problems` holds a pair of place (as `schedule.cron`, `""` for the whole)
    and message for each thing that was found."""

    code = "invalid_trigger"

    @property
    def problems(self) -> list[tuple[str, str]]:
        found = self.details.get("problems")
        return [(str(item.get("path", "")), str(item.get("message", ""))) for item in found or () if item]


class InvalidAddress(InnkeeperError):
    """This is no address that a gateway could have."""

    code = "invalid_address"


_KINDS: tuple[type[GatewayRefused], ...] = (PreconditionRequired, VersionMismatch, InvalidTriggerDefinition)
_WITH_DETAILS = (VersionMismatch.code, InvalidTriggerDefinition.code)


class Transport:
    """What all parts of a client share.

    Args:
        url, token, patience_s: As of `GatewayClient`.

    Raises:
        InvalidAddress: The address or the token cannot be used.
    """

    def __init__(self, url: str, token: str | None, patience_s: float) -> None:
        self.url = checked_url(url)
        if token and not (token.isascii() and token.isprintable()):
            raise InvalidAddress("the access token holds characters that no request can carry")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.patience_s = patience_s
        # A proxy of the environment cannot reach this machine's loopback.
        self._use_proxy = not is_loopback_name(urlsplit(self.url).hostname or "")
        self.http = httpx2.AsyncClient(
            base_url=self.url,
            headers=self._headers,
            timeout=30.0,
            trust_env=self._use_proxy,
            verify=_tls(self.url, trust_env=self._use_proxy),
        )

    async def aclose(self) -> None:
        await self.http.aclose()

    async def is_up(self) -> bool:
        """Does anything answer at the address, now?"""
        try:
            await self.http.get("/healthz", timeout=CONNECT_S)
        except httpx2.TransportError:
            return False
        return True

    def socket(self) -> connect:
        return connect(
            f"{self.url.replace('http', 'ws', 1)}/ws",
            additional_headers=self._headers,
            compression=None,
            max_size=None,
            proxy=True if self._use_proxy else None,
            open_timeout=CONNECT_S,
            close_timeout=1,
        )

    async def call(self, method: str, path: str, **arguments: Any) -> Any:
        """What the gateway answers to a request. Raises its refusal."""
        return content_of(await self.answer(method, path, **arguments))

    async def answer(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        """One request, repeated while the gateway or its engine is away; all our requests may be repeated."""
        deadline, waits = time.monotonic() + self.patience_s, pauses()
        while True:
            try:
                response = await self.http.request(method, path, **arguments)
            except httpx2.TransportError as error:
                if time.monotonic() > deadline:
                    raise self.away() from error
            else:
                if response.status_code not in AWAY_STATUS or time.monotonic() > deadline:
                    return response
            await asyncio.sleep(next(waits))

    def away(self) -> GatewayAway:
        return GatewayAway(
            f"no gateway answers at {self.url}: start one with 'innkeeper up', or name another with --url"
        )


def checked_url(url: str) -> str:
    """The address without a slash at its end.

    Raises:
        InvalidAddress: It is none.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        quote(url)  # refuses halves of characters
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise InvalidAddress(f"{url[:200]!r} is no address of a gateway: write it like http://127.0.0.1:8090")
    return url.rstrip("/")


def pauses() -> Iterator[float]:
    """Seconds between attempts: longer and longer, and not in step with everybody else who lost the same gateway."""
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s * random.uniform(0.5, 1.0)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def path_segment(run_id: str) -> str:
    """A run id as part of a path. What cannot be one is no run's id either."""
    try:
        segment = quote(run_id, safe="")
    except UnicodeEncodeError:
        segment = ""
    if segment in ("", ".", "..") or "/" in run_id:
        raise RunNotFound(f"there is no run {run_id!r}: 'innkeeper runs' lists them")
    return segment


def not_a_gateway(what: str) -> GatewayRefused:
    return GatewayRefused(f"{what} answers, but not as an Innkeeper gateway does: check the address in --url")


def refusal_of(body: Mapping[str, Any], status: int | None = None) -> InnkeeperError:
    """The error that a gateway's answer means."""
    problems, details = body.get("problems"), body.get("details")
    if isinstance(problems, list) and problems and body.get("code") != InvalidTriggerDefinition.code:
        return InvalidWorkflow([_problem(item) for item in problems])
    code = body.get("code") or (details.get("code") if isinstance(details, Mapping) else None) or "gateway_refused"
    message = str(body.get("error") or body.get("message") or f"the gateway answered with status {status}")
    if code == RunNotFound.code:
        return RunNotFound(message)
    if code == RunNotActive.code:
        return RunNotActive(message)
    more = details if code in _WITH_DETAILS and isinstance(details, Mapping) else {}
    told = {**more, **({"status": status} if status else {})}
    return _kind_of_refusal(str(code))(message, code=str(code), details=told)


def _kind_of_refusal(code: str) -> type[GatewayRefused]:
    if code in _CONFLICTS:
        return LibraryConflict
    return {kind.code: kind for kind in _KINDS}.get(code, GatewayRefused)


def warnings_of(answer: Mapping[str, Any]) -> list[Problem]:
    """What the compiler found odd, by the answer to a submission."""
    return [_problem(item) for item in answer.get("warnings", ())]


def _problem(item: Mapping[str, Any]) -> Problem:
    return Problem(**{key: item[key] for key in _PROBLEM_FIELDS if key in item})


def _tls(url: str, *, trust_env: bool) -> ssl.SSLContext:
    """What a client believes of a server. Loading the root certificates takes 20 ms, which no `http` address needs."""
    if url.lower().startswith("https:"):
        return httpx2.create_ssl_context(trust_env=trust_env)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it has no roots, and so refuses every server


def content_of(response: httpx2.Response) -> Any:
    if response.status_code == 204:
        return None
    kind = response.headers.get("content-type", "").partition(";")[0]
    if response.is_success and (kind == "application/octet-stream" or kind.startswith(("image/", "audio/"))):
        return response.content
    try:
        body = response.json()
    except ValueError:
        refusal = not_a_gateway(str(response.url))
        if response.is_success:
            raise refusal from None
        body = {"error": refusal.message}
    if response.is_success:
        return body
    raise refusal_of(body if isinstance(body, dict) else {}, response.status_code)
