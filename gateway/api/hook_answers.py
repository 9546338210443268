"""What the sender of a webhook is told: what became of its delivery, or outputs of the run that it started."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from fastapi.responses import Response
from starlette.types import Send

from innkeeper.gateway.api.events import HEADERS, KEEP_ALIVE_S, SSE, STILL_HERE, EventStream, pages_of
from innkeeper.gateway.api.output_response import BINARY_MIME, JSON_MIME, SAFE_HEADERS, whole_value
from innkeeper.gateway.container import Container
from innkeeper.gateway.deliveries.intake import Handled
from innkeeper.gateway.errors import json_response
from innkeeper.gateway.events.hub import Frames
from innkeeper.gateway.realtime.event_frames import is_of_type
from innkeeper.gateway.runs.view import FINAL, JsonObject
from innkeeper.gateway.triggers.model import Answer
from innkeeper.nodes.call import is_blob
from innkeeper.nodes.errors import InnkeeperError, RunError, RunNotFound

START_S = 10.0
"""How long a stream waits for the start of its run before it answers: by then most know whether it could start."""
LOOK_S = 0.25
"""Between two looks for a run that is about to be written down."""
_CHUNK, _RESET = "WORKFLOW_INTERFACE_YIELD", "WORKFLOW_INTERFACE_RESET"
_STATUS = {"fired": 202, "queued": 202}
_WITHOUT_BODY = frozenset({204, 205, 304})
"""HTTP allows no body with these; a connection would break over one."""
_TEXT = "text/plain; charset=utf-8"
RUN_HEADER = "Innkeeper-Run"


class RunFailed(RunError):
    """The run that a sender waits for did not start, or ended without success."""

    code = "run_failed"


# --- without outputs ------------------------------------------------------------------------------------------------


def told(handled: Handled, *, is_awaited: bool) -> tuple[int, JsonObject]:
    """Status and body for a delivery of which no outputs are told.

    Args:
        is_awaited: The sender asked for outputs, and learns why there are none.
    """
    if handled.outcome == "refused" and handled.retry_after_s is not None:
        return 429, {"error": f"{handled.reason}; send it again later", "code": "too_many_deliveries"}
    if handled.outcome in ("refused", "failed") and is_awaited:
        return 422, _why_not(handled)
    body: JsonObject = {"status": handled.outcome, "runId": handled.run, "deliveryId": handled.delivery}
    if handled.outcome in ("filtered", "skipped", "duplicate"):
        body["reason"] = handled.reason  # of others it may tell of expressions, which are the owner's
    return _STATUS.get(handled.outcome, 200), {key: value for key, value in body.items() if value is not None}


def _why_not(handled: Handled) -> JsonObject:
    body: JsonObject = {"error": handled.reason, "code": f"delivery_{handled.outcome}"}
    if handled.problems:
        problems = [{"input": problem.input, "reason": problem.reason} for problem in handled.problems]
        body["details"] = {"problems": problems}
    return body


# --- with outputs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunOutputs:
    """Outputs of the run of a delivery. Whoever waits for them may leave: the run goes on.

    Attributes:
        delivery: Whose start is waited for; None of a run that was started before.
    """

    container: Container
    run: str
    delivery: str | None
    answer: Answer

    async def awaited(self) -> Response:
        """The outputs, or 202 when they take longer than the trigger waits.

        Raises:
            RunFailed: There will be none.
        """
        deadline, runs = time.monotonic() + self.answer.seconds, self.container.runs
        status = await self._begun(self.answer.seconds)
        if status is not None and status["status"] not in FINAL:
            left_s = max(0.0, deadline - time.monotonic())
            status = await runs.wait_for_end(self.run, left_s, self.container.reader.until_sealed)
        if status is None or status["status"] not in FINAL:
            return json_response({"runId": self.run, "status": "running"}, 202, {RUN_HEADER: self.run})
        if status["status"] != "complete":
            raise _failed(status)
        return await outputs_response(status, self.answer, self.container)

    async def streamed(self) -> Response:
        """The text of one output as it comes.

        Raises:
            RunFailed: The run could not be started.
        """
        has_begun = await self._begun(START_S) is not None
        is_sse = self.answer.format == "sse"
        body = self._events(has_begun) if is_sse else self._text(has_begun)
        headers = {**HEADERS, **SAFE_HEADERS, RUN_HEADER: self.run}
        kind = SSE if is_sse else _TEXT
        return HookStream(body, self.container.settings.send_timeout_s, headers=headers, media_type=kind)

    async def _begun(self, timeout_s: float) -> JsonObject | None:
        """The status of the run as soon as it can be followed, or has ended; None when that takes longer.

        Raises:
            RunFailed: It could not be started, or was deleted.
        """
        deadline = time.monotonic() + timeout_s
        if self.delivery is not None and (found := await self._settled(self.delivery, timeout_s)) != "fired":
            if found == "failed":
                raise _failed({"status": "error", **await self.container.runs.status(self.run)})
            return None
        while True:
            try:
                status = await self.container.runs.status(self.run)
            except RunNotFound as error:
                raise RunFailed(f"{error.message}; it was deleted", details={"runId": self.run}) from None
            if status["status"] in FINAL or await self._has_log():
                return status
            if time.monotonic() >= deadline:
                return None
            await asyncio.sleep(LOOK_S)

    async def _settled(self, delivery: str, timeout_s: float) -> str:
        return await self.container.starter.wait_settled(delivery, timeout_s)

    async def _has_log(self) -> bool:
        """Is there something to follow? Of a run that ended long ago the result alone is kept."""
        try:
            await self.container.reader.place(self.run, 0)
        except RunNotFound:
            return False
        return True

    async def _pieces(self, has_begun: bool) -> AsyncGenerator[Piece, None]:
        """The output in pieces, with `idle` ones in between; the last one is `end`."""
        while not has_begun:
            yield Piece("idle")
            try:
                has_begun = await self._begun(KEEP_ALIVE_S) is not None
            except RunFailed as error:
                yield Piece("end", status={"status": "error", "errorInfo": {"message": error.message}})
                return
        text = OutputText(self.answer.outputs[0])
        if await self._has_log():
            async with contextlib.aclosing(pages_of(self.container.reader, self.run)) as pages:
                async for page in pages:
                    for piece in [Piece("idle")] if page is None else text.take(page):
                        yield piece
        status = await self.container.runs.status(self.run)
        if text.is_missing and status["status"] == "complete":
            yield Piece("chunk", await _text_of(status, self.answer.outputs[0], self.container))
        yield Piece("end", status=status)

    async def _events(self, has_begun: bool) -> AsyncGenerator[bytes, None]:
        yield _event("run", {"runId": self.run})
        async with contextlib.aclosing(self._pieces(has_begun)) as pieces:
            async for piece in pieces:
                yield _as_event(self.run, piece)

    async def _text(self, has_begun: bool) -> AsyncGenerator[bytes, None]:
        is_begun = False
        async with contextlib.aclosing(self._pieces(has_begun)) as pieces:
            async for piece in pieces:
                is_void = piece.kind == "reset" and is_begun
                if is_void or (piece.kind == "end" and piece.status["status"] != "complete"):
                    raise TextVoid
                if piece.kind == "chunk":
                    is_begun = True
                    yield piece.text.encode()


class TextVoid(Exception):
    """What was sent of a text is void, or its rest will not come. Plain text has no sign for that: its connection ends
    before the body does."""


class HookStream(EventStream):
    """A stream to the sender of a webhook."""

    async def stream_response(self, send: Send) -> None:
        with contextlib.suppress(TextVoid):
            await super().stream_response(send)


@dataclass(frozen=True)
class Piece:
    """What comes next. `status` is that of the run, at the end."""

    kind: Literal["chunk", "reset", "idle", "end"]
    text: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)


class OutputText:
    """What the events of a run say of the text of one output.

    Attributes:
        is_missing: No text came, or some of it was left out: then only the run's result has it.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._has_gap = False
        self._came = False

    @property
    def is_missing(self) -> bool:
        return self._has_gap or not self._came

    def take(self, page: Frames) -> list[Piece]:
        """The pieces in a page of events."""
        found: list[Piece] = []
        for _, frame in page:
            if is_of_type(frame, _CHUNK) or is_of_type(frame, _RESET):
                event = orjson.loads(frame)
                if event["payload"].get("interfaceOutputKey") == self._key:
                    found += self._piece(event["type"], event["payload"])
        return found

    def _piece(self, kind: str, payload: Mapping[str, Any]) -> list[Piece]:
        if kind == _RESET:
            self._came = self._has_gap = False
            return [Piece("reset")]
        if "gap" in payload:
            # The log left chunks out, for the run is very large: what follows would stand in the wrong place.
            is_news, self._has_gap = not self._has_gap, True
            return [Piece("reset")] if is_news else []
        chunk = payload.get("yieldedContent")
        text = chunk.get("content") if isinstance(chunk, dict) and chunk.get("type") == "text_chunk" else None
        if not isinstance(text, str) or self._has_gap:
            return []
        self._came = True
        return [Piece("chunk", text)]


def _as_event(run: str, piece: Piece) -> bytes:
    if piece.kind == "idle":
        return STILL_HERE
    if piece.kind == "chunk":
        return _event("chunk", {"text": piece.text})
    if piece.kind == "reset":
        return _event("reset", {})
    error = (piece.status.get("errorInfo") or {}).get("message")
    end = {"runId": run, "status": piece.status["status"]}
    return _event("end", end if error is None else {**end, "error": error})


def _event(kind: str, data: Mapping[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps(data))


async def _text_of(status: Mapping[str, Any], key: str, container: Container) -> str:
    value = await whole_value(status["outputs"].get(key), container.blobs)
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


async def outputs_response(status: Mapping[str, Any], settings: Answer, container: Container) -> Response:
    """Outputs of a run that is complete. One that is named alone comes by itself, others as a JSON object.

    Bytes that come by themselves stay as they are. In an object they are references with a `url`.
    """
    outputs = status["outputs"]
    headers = {**SAFE_HEADERS, RUN_HEADER: status["promptId"]}
    if settings.status in _WITHOUT_BODY:
        return Response(status_code=settings.status, headers=headers)
    if len(settings.outputs) == 1:
        given = outputs.get(settings.outputs[0])
        value = await whole_value(given, container.blobs)
        if isinstance(value, bytes):
            mime = settings.content_type if settings.content_type != JSON_MIME else _mime_of(given)
            return Response(value, settings.status, headers, media_type=mime)
    else:
        value = await _object(outputs, settings.outputs or tuple(outputs), container)
    is_plain = isinstance(value, str) and settings.content_type != JSON_MIME
    data = value.encode("utf-8", "replace") if is_plain else orjson.dumps(value)
    return Response(data, settings.status, headers, media_type=settings.content_type)


async def _object(outputs: Mapping[str, Any], keys: Sequence[str], container: Container) -> JsonObject:
    found: JsonObject = {}
    for key in keys:
        value = await whole_value(outputs.get(key), container.blobs)
        found[key] = outputs[key] if isinstance(value, bytes) else value
    return found


def _mime_of(value: Any) -> str:
    return str(value.get("mime", BINARY_MIME)) if is_blob(value) else BINARY_MIME


def _failed(status: Mapping[str, Any]) -> InnkeeperError:
    error = status.get("errorInfo") or {}
    message = error.get("message") or f"the run ended as {status['status']!r}"
    return RunFailed(
        f"the run {status['promptId']!r} gave no outputs: {message}",
        details={"runId": status["promptId"], "status": status["status"], "error": error.get("code")},
    )
