"""What workers ask their gateway for over HTTP, beside their socket. They show the token of workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.deliveries.events import Event
from innkeeper.gateway.deliveries.launches import Occurrence
from innkeeper.gateway.errors import BadRequest, json_response
from innkeeper.gateway.runs.admission import read_body
from innkeeper.gateway.runs.external_events import checked_event
from innkeeper.gateway.usage.accounts import BudgetRefusal
from innkeeper.gateway.usage.calls import EndedCall, Go
from innkeeper.gateway.usage.leases import LEASE_S
from innkeeper.gateway.usage.limiter import Wait
from innkeeper.nodes.services.llm.call_messages import end_from_json, ids_from_json, start_from_json

router = APIRouter(prefix="/internal", include_in_schema=False, default_response_class=Response)

MAX_ENDS = 1_000
MAX_IDS = 20_000
"""Of one message of a worker: as many as it may have under way, and more."""
T = TypeVar("T")


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


@router.post("/llm/begin")
async def begin_call(request: Request) -> Response:
    """May a request to a model be made: a `CallStart` to `{go, leaseS, share, hasBudget}`, to `{waitS, reason, limit}`
    or to `{budget: {scope, limit, used, needed}}`."""
    container = _of_worker(request)
    start = _read(start_from_json, await read_body(await request.body(), "a call"))
    return json_response(_answer(await container.model_calls.begin(start)))


@router.post("/llm/renew")
async def renew_calls(request: Request) -> Response:
    """Requests that are still under way: `{ids}` to `{lost}`, those that are not known."""
    container = _of_worker(request)
    body = await read_body(await request.body(), "{ids}")
    ids = _bounded(_read(ids_from_json, body.get("ids")), MAX_IDS, "ids")
    return json_response({"lost": container.model_calls.renew(ids)})


@router.post("/llm/end")
async def end_calls(request: Request) -> Response:
    """How requests have ended: `{ends: [CallEnd]}` to `{}`. With `start`, of a request that was made without asking."""
    container = _of_worker(request)
    body = await read_body(await request.body(), "{ends: [...]}")
    ends = body.get("ends")
    if not isinstance(ends, list):
        raise BadRequest("'ends' must be a list")
    await container.model_calls.end([_read(_ended, end) for end in _bounded(ends, MAX_ENDS, "ends")])
    return json_response({})


def _answer(found: Go | Wait | BudgetRefusal) -> dict[str, Any]:
    if isinstance(found, Wait):
        return {"waitS": found.seconds, "reason": found.reason, "limit": found.limit}
    if isinstance(found, BudgetRefusal):
        amounts = {"limit": dict(found.limit), "used": dict(found.used), "needed": dict(found.needed)}
        return {"budget": {"scope": found.scope, **amounts}}
    return {"go": True, "leaseS": LEASE_S, "share": found.share.to_json(), "hasBudget": found.has_budget}


def _ended(told: object) -> EndedCall:
    if not isinstance(told, dict):
        raise ValueError("each of 'ends' must be an object")
    start = told.get("start")
    return EndedCall(end_from_json(told), start_from_json(start) if isinstance(start, dict) else None)


def _read(read: Callable[[Any], T], told: object) -> T:
    try:
        return read(told)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def _bounded(items: list[T], limit: int, name: str) -> list[T]:
    if len(items) > limit:
        raise BadRequest(f"{name!r} may have at most {limit} entries")
    return items


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
