"""What workers ask their gateway for over HTTP, beside their socket. They show the token of workers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.deliveries.events import Event
from innkeeper.gateway.deliveries.launches import Occurrence
from innkeeper.gateway.errors import BadRequest, json_response
from innkeeper.gateway.runs.admission import read_body
from innkeeper.gateway.runs.external_events import checked_event

router = APIRouter(prefix="/internal", include_in_schema=False, default_response_class=Response)


@router.post("/events")
async def emit_event(request: Request) -> Response:
    """Post the event of a node: `{run, node, name, data?}` to `{eventId, started, woken}`."""
    container = _of_worker(request)
    body = await read_body(await request.body(), "{run, node, name, data?}")
    event = checked_event(body.get("name"), body.get("data"))
    run, node = _text(body, "run"), _text(body, "node")
    return json_response(await container.events.emit(run, node, Event(event.name, event.data)))


@router.post("/triggers/{trigger}/fire")
async def fire_trigger(trigger: str, request: Request) -> Response:
    """Start the run of one time of a schedule: `{scheduledAt, startedAt, askedAt}` to `{outcome, reason, run}`."""
    container = _of_worker(request)
    occurrence = Occurrence.read(await read_body(await request.body(), "{scheduledAt, startedAt, askedAt}"))
    return json_response(await container.launches.fire(trigger, occurrence))


@router.post("/runs/{run}/look")
async def look_at_run(run: str, request: Request) -> Response:
    """Has a run ended: `{ended}`."""
    return json_response({"ended": await _of_worker(request).launches.has_ended(run)})


@router.post("/runs/{run}/interrupt")
async def interrupt_run(run: str, request: Request) -> Response:
    """Interrupt a run, unless it has ended: `{ended}`."""
    return json_response({"ended": await _of_worker(request).launches.interrupt(run)})


def _of_worker(request: Request) -> Container:
    """The gateway, for one of its workers."""
    container = container_of(request)
    if not container.workers.knows(request.headers.get("authorization", "")):
        raise HTTPException(401, "only workers of this gateway may ask this")
    return container


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{key!r} must be a text that is not empty")
    return value
