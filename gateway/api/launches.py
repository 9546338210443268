"""What launchers of schedules ask the gateway, by way of a worker; it shows the token of workers."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.deliveries.launches import Occurrence
from innkeeper.gateway.errors import json_response
from innkeeper.gateway.runs.admission import read_body

router = APIRouter(prefix="/internal", include_in_schema=False, default_response_class=Response)


@router.post("/triggers/{trigger}/fire")
async def fire_trigger(trigger: str, request: Request) -> Response:
    """Start the run of one time of a schedule: `{scheduledAt, startedAt}` to `{outcome, reason, run}`."""
    container = _checked(request)
    occurrence = Occurrence.read(await read_body(await request.body(), "{scheduledAt, startedAt}"))
    return json_response(await container.launches.fire(trigger, occurrence))


@router.post("/runs/{run}/look")
async def look_at_run(run: str, request: Request) -> Response:
    """Has a run ended: `{ended}`."""
    return json_response({"ended": await _checked(request).launches.has_ended(run)})


@router.post("/runs/{run}/interrupt")
async def interrupt_run(run: str, request: Request) -> Response:
    """Interrupt a run, unless it has ended: `{ended}`."""
    return json_response({"ended": await _checked(request).launches.interrupt(run)})


def _checked(request: Request) -> Container:
    """The gateway, for one of its workers."""
    container = container_of(request)
    if not container.workers.knows(request.headers.get("authorization", "")):
        raise HTTPException(401, "only workers of this gateway may ask this")
    return container
