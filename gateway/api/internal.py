"""What workers ask their gateway for over HTTP, beside their socket. They show the token of workers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from innkeeper.gateway.container import container_of
from innkeeper.gateway.deliveries.events import Event
from innkeeper.gateway.errors import BadRequest, json_response
from innkeeper.gateway.runs.admission import read_body
from innkeeper.gateway.runs.external_events import checked_event

router = APIRouter(prefix="/internal", include_in_schema=False, default_response_class=Response)


@router.post("/events")
async def emit_event(request: Request) -> Response:
    """Post the event of a node: `{run, node, name, data?}` to `{eventId, started, woken}`."""
    container = container_of(request)
    if not container.workers.knows(request.headers.get("authorization", "")):
        return json_response({"error": "only workers of this gateway may ask this", "code": "unauthorized"}, 401)
    body = await read_body(await request.body(), "{run, node, name, data?}")
    event = checked_event(body.get("name"), body.get("data"))
    run, node = _text(body, "run"), _text(body, "node")
    return json_response(await container.events.emit(run, node, Event(event.name, event.data)))


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{key!r} must be a text that is not empty")
    return value
