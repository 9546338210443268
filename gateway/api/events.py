"""A run's events over HTTP (SSE), and the two WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncGenerator, Mapping

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Message, Send
from starlette.websockets import WebSocket

from innkeeper.gateway.api.models.runs import RunEvent
from innkeeper.gateway.api.prompts import RunId
from innkeeper.gateway.api.responses import answer, contents, errors, reference, request_headers, text
from innkeeper.gateway.container import container_of
from innkeeper.gateway.events.hub import Frames
from innkeeper.gateway.realtime.reader import EventReader

logger = logging.getLogger("innkeeper.gateway.clients")
router = APIRouter(tags=["events"], default_response_class=Response)

KEEP_ALIVE_S = 15.0
STILL_HERE = b": still here\n\n"
FRAMES_PER_PIECE = 64
_EVENT_ID = re.compile(r"(?P<log>.+):(?P<seq>\d{1,18})")
_TYPE = re.compile(rb'"type":"([A-Za-z_-]+)"')
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


SSE = "text/event-stream"
EVENT_STREAM = contents(
    "The events behind `Last-Event-ID` or `after`.",
    {
        SSE: text(
            "Server-sent events: `id` is `<logId>:<seq>`, `event` the type, `data` a `RunEvent` as JSON. Comments keep "
            "the connection alive. The stream ends with the run."
        )
    },
)
# As OpenAPI 3.2 describes the items of a stream; 3.1, which generators of clients read today, has no word for it.
EVENT_STREAM[200]["content"][SSE]["x-itemSchema"] = {
    "type": "object",
    "properties": {
        "id": text("`<logId>:<seq>`"),
        "event": text("The type of the event."),
        "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": reference(RunEvent)},
    },
    "required": ["id", "event", "data"],
}


@router.get(
    "/api/prompt/{run}/events",
    summary="Events of a run, from any event on, during the run and afterwards (SSE)",
    responses={
        **EVENT_STREAM,
        **answer("The client has all events, and no more will come: an EventSource stops here.", status=204),
        **errors({400: "bad_request", 404: "run_not_found", 409: "after_beyond_end", 503: "event_log_unavailable"}),
    },
    openapi_extra=request_headers({"Last-Event-ID": "`<logId>:<seq>` of the last event; comes before `after`."}),
)
async def stream_run_events(
    run: RunId,
    request: Request,
    after: int = Query(0, ge=0, description="`seq` of the last event that the client has."),
) -> Response:
    container = container_of(request)
    reader, log_id = container.reader, None
    if (seen := _EVENT_ID.fullmatch(request.headers.get("last-event-id", ""))) is not None:
        log_id, after = seen["log"], int(seen["seq"])
    place = await reader.place(run, after, log_id)
    if place.is_done:
        # The one answer after which an EventSource does not connect again.
        return Response(status_code=204)
    body = event_stream(reader, run, place.after, place.log_id)
    return EventStream(body, container.settings.send_timeout_s)


class EventStream(StreamingResponse):
    """A stream that ends when its reader takes nothing for too long; an EventSource then comes back where it was."""

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        send_timeout_s: float,
        *,
        headers: Mapping[str, str] = HEADERS,
        media_type: str = SSE,
    ) -> None:
        super().__init__(events, media_type=media_type, headers=dict(headers))
        self._events = events
        self._send_timeout_s = send_timeout_s

    async def stream_response(self, send: Send) -> None:
        async def patient(message: Message) -> None:
            async with asyncio.timeout(self._send_timeout_s):
                await send(message)

        try:
            async with contextlib.aclosing(self._events):
                await super().stream_response(patient)
        except TimeoutError:
            # No close code here: the connection just ends, in the middle of the answer.
            logger.info("a reader of events took nothing for too long", extra={"event": "slow_reader"})


async def event_stream(reader: EventReader, run: str, after: int, log_id: str) -> AsyncGenerator[bytes, None]:
    """The events of a run as SSE, with a comment when nothing happened for a while."""
    yield b"retry: 1000\n\n"
    async with contextlib.aclosing(pages_of(reader, run, after)) as pages:
        async for page in pages:
            if page is None:
                yield STILL_HERE
                continue
            since = time.monotonic()
            for start in range(0, len(page), FRAMES_PER_PIECE):
                yield b"".join(_sse(log_id, *item) for item in page[start : start + FRAMES_PER_PIECE])
            await reader.sent(len(page), since)


async def pages_of(reader: EventReader, run: str, after: int = 0) -> AsyncGenerator[Frames | None, None]:
    """Pages of a run's events, and None whenever nothing happened for a while."""
    async with contextlib.aclosing(reader.follow(run, after)) as pages:
        waiting: asyncio.Future[Frames] = asyncio.ensure_future(anext(pages))
        try:
            while True:
                done, _ = await asyncio.wait({waiting}, timeout=KEEP_ALIVE_S)
                if not done:
                    yield None
                    continue
                try:
                    page = waiting.result()
                except StopAsyncIteration:
                    return
                yield page
                waiting = asyncio.ensure_future(anext(pages))
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


def _sse(log_id: str, seq: int, frame: bytes) -> bytes:
    found = _TYPE.search(frame)
    kind = found[1] if found else b"message"
    return b"id: %s:%d\nevent: %s\ndata: %s\n\n" % (log_id.encode(), seq, kind, frame)


@router.websocket("/ws")
async def clients(websocket: WebSocket) -> None:
    await container_of(websocket).clients.handle(websocket)


@router.websocket("/internal/worker")
async def workers(websocket: WebSocket) -> None:
    await container_of(websocket).workers.handle(websocket)
