"""A small client of the gateway: submit a run, watch its events through every interruption, ask, cancel.

    async with GatewayClient("http://127.0.0.1:8090") as client:
        run_id = await client.submit(json.loads(Path("story.json").read_text()))
        async for event in client.events(run_id):
            print(event["seq"], event["type"], event["payload"])
        print((await client.status(run_id))["outputs"])

Whatever falls away in between (the connection, the gateway, a worker) is waited for and made up for: each event comes
once and in order. Two kinds of events take something back: NODE_STREAM_RESET (the chunks of that node are void, a new
attempt begins) and LOG_RESTARTED (everything is void, all events come again).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import quote, urlsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from innkeeper.gateway.settings import is_loopback
from innkeeper.nodes.errors import InnkeeperError, InvalidWorkflow, Problem, RunNotActive, RunNotFound

Event = dict[str, Any]
ENDED = frozenset({"complete", "error", "interrupted"})
STATUS_UPDATE = "EXECUTION_STATUS_UPDATE"
LOG_RESTARTED = "LOG_RESTARTED"
"""Not on the wire: tells the reader of `events` to forget what it saw, since the log was begun anew."""
REFUSED_CLOSE_CODES = frozenset({4400, 4401, 4403, 4404})
"""Any other means: come back (1012 the gateway restarts, 1013 it is full, 4408 we read too slowly)."""
AWAY_STATUS = frozenset({502, 503, 504})
_CONNECT_S = 5.0
_COLLECTION_S = 3600.0
_PIECE = 256 * 1024
_PAGE = 1000
_LASTING_S = 2 * _CONNECT_S
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_PASSING_CODES = frozenset({"event_log_unavailable", "engine_unavailable"})
_PROBLEM_FIELDS = ("code", "message", "level", "node", "slot", "edge")


class GatewayAway(InnkeeperError):
    """Nothing answers at the gateway's address."""

    code = "gateway_unreachable"
    retryable = True


class GatewayRefused(InnkeeperError):
    """The gateway answered with an error. `code` is the gateway's; `details["status"]` the HTTP status, if any."""

    code = "gateway_refused"


class InvalidAddress(InnkeeperError):
    """This is no address that a gateway could have."""

    code = "invalid_address"


class GatewayClient:
    """Use it as `async with GatewayClient("http://127.0.0.1:8090") as client`. Methods may run side by side.

    Args:
        url: The gateway's address, `http://` or `https://`.
        token: Access token, when the gateway asks for one.
        patience_s: How long the gateway may be away before a call gives up with GatewayAway.

    Raises:
        InvalidAddress: The address or the token cannot be used.
    """

    def __init__(self, url: str, token: str | None = None, *, patience_s: float = 30.0) -> None:
        self.url = checked_url(url)
        if token and not (token.isascii() and token.isprintable()):
            raise InvalidAddress("the access token holds characters that no request can carry")
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

        Args:
            document: A stored workflow, an execution payload, or `{"workflowId": ..., "inputs": {...}}`.
            idempotency_key: With a key of your own, also a later call with the same document gives the same run.

        Raises:
            InvalidWorkflow: With every problem of the document.
            GatewayAway, GatewayRefused.
        """
        run_id, _ = await self.submit_with_warnings(document, idempotency_key=idempotency_key)
        return run_id

    async def submit_with_warnings(
        self, document: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> tuple[str, list[Problem]]:
        """Like `submit`, with what the compiler found odd in a document that can run."""
        answer = await self.submit_for_answer(document, idempotency_key=idempotency_key)
        return str(answer["promptId"]), warnings_of(answer)

    async def submit_for_answer(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> dict[str, Any]:
        """Like `submit`, with all that the gateway answers: of a run with `baseRun` also what it takes over."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex, "Content-Type": "application/json"}
        answer: dict[str, Any] = await self._call(
            "POST", "/api/prompt", headers=headers, content=json.dumps(body).encode()
        )
        return answer

    async def status(self, run_id: str) -> dict[str, Any]:
        """Status, outputs and nodes of a run, running or ended. Raises RunNotFound."""
        found: dict[str, Any] = await self._call("GET", f"/api/prompt/{_segment(run_id)}")
        return found

    async def cancel(self, run_id: str) -> dict[str, Any]:
        """Interrupt a run. Raises RunNotFound, RunNotActive (it has ended already)."""
        answer: dict[str, Any] = await self._call("DELETE", f"/api/interrupt/{_segment(run_id)}")
        return answer

    async def delete_run(self, run_id: str) -> None:
        """Delete a run that has ended: its result, its events, and in time the values that no other run has.

        Raises:
            RunNotFound: Also when this call was repeated after an outage, and had deleted it.
            GatewayRefused: It has not ended (`run_still_active`).
        """
        await self._call("DELETE", f"/api/history/{_segment(run_id)}")

    async def collect(self, *, dry_run: bool = False) -> dict[str, Any]:
        """Delete stored values that nothing refers to any more, or only count them; gives `deleted`, `deletedBytes`,
        `kept`, `keptBytes`, ..."""
        found: dict[str, Any] = await self._call(
            "POST", "/api/gc", params={"dryRun": "true" if dry_run else "false"}, timeout=_COLLECTION_S
        )
        return found

    async def pause(self, run_id: str) -> dict[str, Any]:
        """Start no new node of a run; what runs goes on. Raises RunNotFound, RunNotActive (it has ended)."""
        answer: dict[str, Any] = await self._call("POST", f"/api/prompt/{_segment(run_id)}/pause")
        return answer

    async def resume(self, run_id: str) -> dict[str, Any]:
        """Let a paused run go on. Raises RunNotFound, RunNotActive (it has ended)."""
        answer: dict[str, Any] = await self._call("POST", f"/api/prompt/{_segment(run_id)}/resume")
        return answer

    async def approvals(self, run_id: str | None = None, *, limit: int = 500) -> list[dict[str, Any]]:
        """Approvals that a run asked for, answered ones too; without a run the open ones of all. Oldest first.

        Raises:
            RunNotFound.
        """
        path = "/api/approvals" if run_id is None else f"/api/prompt/{_segment(run_id)}/approvals"
        found: list[dict[str, Any]] = []
        cursor: Any = None
        while len(found) < limit:
            place = {"cursor": cursor} if cursor is not None else {}
            page = await self._call("GET", path, params={"limit": min(limit - len(found), 500), **place})
            found += page["approvals"]
            cursor = page["nextCursor"]
            if cursor is None:
                break
        return found

    async def answer(
        self,
        run_id: str,
        approval_id: str,
        approved: bool,
        *,
        values: Mapping[str, Any] | None = None,
        comment: str | None = None,
        by: str | None = None,
    ) -> dict[str, Any]:
        """Answer an approval; gives the answer that counts.

        Args:
            values: New values for fields of the approval's form.

        Raises:
            RunNotFound, RunNotActive.
            GatewayRefused: With code `approval_not_found`, `approval_answered`, `approval_closed`, `invalid_answer`.
        """
        more = {"values": dict(values) if values else None, "comment": comment, "by": by}
        body = {"approved": approved, **{key: value for key, value in more.items() if value is not None}}
        path = f"/api/prompt/{_segment(run_id)}/approvals/{quote(approval_id)}"
        # The key makes this call, which may have to be repeated, one answer.
        answer = await self._call("POST", path, json=body, headers={"Idempotency-Key": uuid.uuid4().hex})
        counted: dict[str, Any] = answer["answer"]
        return counted

    async def post_event(self, name: str, data: Any = None, *, run_id: str | None = None) -> dict[str, Any]:
        """Tell a run, or every run that waits for it, that something happened; gives who waited for it.

        After an outage in the middle of the call the event may have been told twice.

        Raises:
            RunNotFound, RunNotActive, GatewayRefused.
        """
        path = "/api/events" if run_id is None else f"/api/prompt/{_segment(run_id)}/events"
        answer: dict[str, Any] = await self._call("POST", path, json={"name": name, "data": data})
        return answer

    async def wait(self, run_id: str) -> dict[str, Any]:
        """Wait until a run has ended and give its status. Raises RunNotFound."""
        found = await self.status(run_id)
        if found.get("status") in ENDED:  # also of runs whose events are gone
            return found
        async for _ in self.events(run_id):
            pass
        return await self.status(run_id)

    async def fetch(self, value: Any) -> Any:
        """The whole of an output that is stored apart (`{"$blob", ..., "url"}`); any other value as it is.

        Bytes of an image and the like come as `bytes`.
        """
        # A model may have written what looks like a reference: our token goes to nobody else's address.
        if isinstance(value, Mapping) and "$blob" in value and str(value.get("url")).startswith("/api/prompt/"):
            return await self._call("GET", value["url"])
        return value

    async def active(self) -> list[dict[str, Any]]:
        """The runs that run or wait now."""
        found = await self._call("GET", "/api/executions")
        return [*found["running"], *found["pending"]]

    async def history(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest runs that have ended."""
        found = await self._call("GET", "/api/history", params={"limit": limit})
        return list(found["history"])

    async def put_file(self, path: str, file: Path, *, overwrite: bool = True) -> dict[str, Any]:
        """Upload a file to a logical path (`user://cards/a.png`). Gives its path, size, sha256 and whether it is new.

        Raises:
            InvalidAddress: `path` is no logical path.
            GatewayRefused: Too large, out of bounds, or with `overwrite=False` there already (`file_exists`).
            GatewayAway: Nothing answers; an upload is not repeated.
            OSError: The file cannot be read.
        """
        url, size = _file_url(path), await asyncio.to_thread(os.path.getsize, file)
        headers = {"Content-Length": str(size)} | ({} if overwrite else {"If-None-Match": "*"})
        try:
            response = await self._http.put(url, headers=headers, content=_file_pieces(file))
        except httpx.TransportError as error:
            # A gateway that refuses a large file hangs up; its answer may be lost on the way.
            if not await self.is_up():
                raise self._away() from error
            reason = f"the gateway broke off the upload of {size} bytes; is it over the limit INNKEEPER_MAX_FILE_BYTES?"
            raise GatewayRefused(reason, code="upload_broken_off") from error
        found: dict[str, Any] = _content(response)
        return found

    async def get_file(self, path: str, target: BinaryIO) -> int:
        """Download a file, piece by piece; gives its size.

        Raises:
            InvalidAddress: `path` is no logical path.
            GatewayRefused: There is no such file, or it is out of bounds.
            GatewayAway: The gateway went away, perhaps in the middle.
        """
        size = 0
        try:
            async with self._http.stream("GET", _file_url(path)) as response:
                if not response.is_success:
                    await response.aread()
                    _content(response)
                async for piece in response.aiter_bytes():
                    await asyncio.to_thread(target.write, piece)
                    size += len(piece)
        except httpx.TransportError as error:
            raise self._away() from error
        return size

    async def list_files(self, folder: str) -> list[dict[str, Any]]:
        """All files below a folder: `{path, size, modifiedAt}` each, sorted by path. A missing folder has none.

        Raises:
            InvalidAddress: `folder` is no logical path.
        """
        url = _file_url(folder if folder.endswith("/") else f"{folder}/")
        files: list[dict[str, Any]] = []
        while True:
            after = {"after": files[-1]["path"]} if files else {}
            page = await self._call("GET", url, params={"limit": _PAGE, **after})
            files += page
            if len(page) < _PAGE:
                return files

    async def delete_file(self, path: str) -> None:
        """Delete a file.

        Raises:
            InvalidAddress: `path` is no logical path.
            GatewayRefused: There is no such file, or it is out of bounds.
        """
        await self._call("DELETE", _file_url(path))

    async def is_up(self) -> bool:
        """Does anything answer at the address, now?"""
        try:
            await self._http.get("/healthz", timeout=_CONNECT_S)
        except httpx.TransportError:
            return False
        return True

    def events(self, run_id: str, after: int = 0, *, log_id: str | None = None) -> Events:
        """The events of a run with `seq` above `after`, each once and in order, until its final status.

        Connects again by itself. A reader that is slow is waited for; one that is much too slow loses its connection
        and comes back where it was. Leaving early stops nothing but the reading.

        Args:
            after: The `seq` of the last event seen, to go on behind it.
            log_id: Where that was (`Events.log_id`); without it a log that was begun anew meanwhile goes unnoticed.

        Raises (while iterating):
            RunNotFound: There are no events of this run.
            GatewayRefused: With code `after_beyond_end`: the log has fewer events than `after`. Or a wrong token.
            GatewayAway: Nothing answered for `patience_s`.

        Example:
            events = client.events(run_id)
            async for event in events:
                ...
            # Later, in another process: client.events(run_id, events.after, log_id=events.log_id)
        """
        return Events(self, run_id, after, log_id)

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
        deadline, pauses = time.monotonic() + self._patience_s, _pauses()
        while True:
            try:
                response = await self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise self._away() from error
            else:
                if response.status_code not in AWAY_STATUS or time.monotonic() > deadline:
                    return _content(response)
            await asyncio.sleep(next(pauses))

    def _away(self) -> GatewayAway:
        return GatewayAway(
            f"no gateway answers at {self.url}: start one with 'innkeeper up', or name another with --url"
        )


class Events:
    """What `GatewayClient.events` gives: iterate it once.

    Attributes:
        after: The `seq` of the last event that was given.
        log_id: The log it is from; None before the gateway first answered.
    """

    def __init__(self, client: GatewayClient, run_id: str, after: int, log_id: str | None) -> None:
        self.after = after
        self.log_id = log_id
        self._client = client
        self._run_id = run_id
        self._events = self._read_all()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await anext(self._events)

    async def aclose(self) -> None:
        """Stop reading."""
        await self._events.aclose()

    async def _read_all(self) -> AsyncGenerator[Event, None]:
        client = self._client
        answered = time.monotonic()
        pauses = _pauses()
        while True:
            begun = time.monotonic()
            try:
                async with client._socket() as socket, contextlib.aclosing(self._read(socket)) as events:
                    async for event in events:
                        answered, pauses = time.monotonic(), _pauses()
                        yield event
                        if is_final(event):
                            return
                        answered = time.monotonic()
            except (OSError, InvalidHandshake, ConnectionClosed, TimeoutError) as error:
                _raise_if_hopeless(error)
            if time.monotonic() - begun > _LASTING_S:  # it was connected, only nothing happened in the run
                answered, pauses = time.monotonic(), _pauses()
            if time.monotonic() - answered > client._patience_s:
                raise client._away()
            await asyncio.sleep(next(pauses))

    async def _read(self, socket: ClientConnection) -> AsyncGenerator[Event, None]:
        await socket.send(json.dumps({"type": "SUBSCRIBE", "payload": self._subscription()}))
        async for text in socket:
            for frame in _frames(text):
                payload = frame["payload"]
                if frame["type"] == "error":
                    if payload.get("code") in _PASSING_CODES:
                        raise ConnectionError(payload.get("message"))
                    raise _refusal(payload)
                if payload.get("promptId") != self._run_id:
                    continue
                if "logId" in payload and self._is_new_log(payload["logId"]):
                    yield {"type": LOG_RESTARTED, "payload": {"promptId": self._run_id}}
                seq = frame.get("seq")
                if isinstance(seq, int) and seq > self.after:
                    self.after = seq
                    yield frame

    def _subscription(self) -> dict[str, Any]:
        place: dict[str, Any] = {"promptId": self._run_id, "after": self.after, "batch": True}
        return {**place, "logId": self.log_id} if self.log_id else place

    def _is_new_log(self, log_id: str) -> bool:
        is_new = self.log_id is not None and log_id != self.log_id
        self.log_id = log_id
        if is_new:
            self.after = 0
        return is_new


def is_final(event: Event) -> bool:
    """Is this the last event of its run?"""
    return event.get("type") == STATUS_UPDATE and event["payload"].get("status") in ENDED


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


def _pauses() -> Iterator[float]:
    """Seconds between attempts: longer and longer, and not in step with everybody else who lost the same gateway."""
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s * random.uniform(0.5, 1.0)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _segment(run_id: str) -> str:
    """A run id as part of a path. What cannot be one is no run's id either."""
    try:
        segment = quote(run_id, safe="")
    except UnicodeEncodeError:
        segment = ""
    if segment in ("", ".", "..") or "/" in run_id:
        raise RunNotFound(f"there is no run {run_id!r}: 'innkeeper runs' lists them")
    return segment


async def _file_pieces(file: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(file.open, "rb") as stream:
        while piece := await asyncio.to_thread(stream.read, _PIECE):
            yield piece


def _file_url(path: str) -> str:
    """Where the gateway has a logical path."""
    scheme, mark, inner = path.partition("://")
    try:
        quoted = "/".join(quote(name, safe="") for name in inner.split("/"))
    except UnicodeEncodeError:
        mark = ""
    if not mark or scheme not in ("user", "shared", "system") or {".", ".."} & set(inner.split("/")):
        raise InvalidAddress(f"{path[:200]!r} is no path of a file: write it like user://cards/name.png")
    return f"/api/files/{scheme}/{quoted}"


def _frames(text: str | bytes) -> Iterator[dict[str, Any]]:
    """The messages in one WebSocket message: it, or each item of an array."""
    try:
        found = json.loads(text)
    except ValueError:
        raise _not_a_gateway("the WebSocket") from None
    for frame in found if isinstance(found, list) else [found]:
        if isinstance(frame, dict) and isinstance(frame.get("payload"), dict) and "type" in frame:
            yield frame


def _raise_if_hopeless(error: Exception) -> None:
    """Some refusals do not get better by trying again."""
    if isinstance(error, InvalidStatus) and error.response.status_code < 400:
        raise _not_a_gateway("the WebSocket")
    if isinstance(error, InvalidStatus) and error.response.status_code < 500:
        status = error.response.status_code
        raise GatewayRefused(f"the gateway refuses the connection (status {status})", details={"status": status})
    if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code in REFUSED_CLOSE_CODES:
        raise GatewayRefused(
            f"the gateway refuses the connection: {error.rcvd.reason or error.rcvd.code}",
            details={"closeCode": error.rcvd.code},
        )


def _not_a_gateway(what: str) -> GatewayRefused:
    return GatewayRefused(f"{what} answers, but not as an Innkeeper gateway does: check the address in --url")


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


def warnings_of(answer: Mapping[str, Any]) -> list[Problem]:
    """What the compiler found odd, by the answer to a submission."""
    return [_problem(item) for item in answer.get("warnings", ())]


def _problem(item: Mapping[str, Any]) -> Problem:
    return Problem(**{key: item[key] for key in _PROBLEM_FIELDS if key in item})


def _content(response: httpx.Response) -> Any:
    if response.status_code == 204:
        return None
    kind = response.headers.get("content-type", "").partition(";")[0]
    if response.is_success and (kind == "application/octet-stream" or kind.startswith(("image/", "audio/"))):
        return response.content
    try:
        body = response.json()
    except ValueError:
        refusal = _not_a_gateway(str(response.url))
        if response.is_success:
            raise refusal from None
        body = {"error": refusal.message}
    if response.is_success:
        return body
    raise _refusal(body if isinstance(body, dict) else {}, response.status_code)
