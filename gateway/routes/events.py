"""A run's events over HTTP (SSE), and the two WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.websockets import WebSocket

from gateway.context import gateway_of
from gateway.events.hub import Frames
from gateway.feed import Feed

router = APIRouter(tags=["events"])

KEEP_ALIVE_S = 15.0
_EVENT_ID = re.compile(r"(?P<log>.+):(?P<seq>\d{1,18})")
_TYPE = re.compile(rb'"type":"([A-Za-z_-]+)"')
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get("/api/prompt/{run}/events", summary="Events of a run (SSE); goes on behind Last-Event-ID or `after`")
async def events(run: str, request: Request, after: int = Query(0, ge=0)) -> Response:
    feed, log_id = gateway_of(request).feed, None
    if (seen := _EVENT_ID.fullmatch(request.headers.get("last-event-id", ""))) is not None:
        log_id, after = seen["log"], int(seen["seq"])
    place = await feed.place(run, after, log_id)
    if place.is_done:
        # The one answer after which an EventSource does not connect again.
        return Response(status_code=204)
    body = event_stream(feed, run, place.after, place.log_id)
    return StreamingResponse(body, media_type="text/event-stream", headers=HEADERS)


async def event_stream(feed: Feed, run: str, after: int, log_id: str) -> AsyncIterator[bytes]:
    """The events of a run as SSE, with a comment when nothing happened for a while."""
    yield b"retry: 1000\n\n"
    async with contextlib.aclosing(feed.follow(run, after)) as pages:
        waiting: asyncio.Future[Frames] = asyncio.ensure_future(anext(pages))
        try:
            while True:
                done, _ = await asyncio.wait({waiting}, timeout=KEEP_ALIVE_S)
                if not done:
                    yield b": still here\n\n"
                    continue
                since = time.monotonic()
                try:
                    page = waiting.result()
                except StopAsyncIteration:
                    return
                yield b"".join(_sse(log_id, seq, frame) for seq, frame in page)
                await feed.sent(len(page), since)
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
    await gateway_of(websocket).clients.handle(websocket)


@router.websocket("/internal/worker")
async def workers(websocket: WebSocket) -> None:
    await gateway_of(websocket).workers.handle(websocket)
