"""Events from outside over HTTP: of our own form, and CloudEvents."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models.control import EventBatch, EventBroadcast, PostedEvent
from innkeeper.gateway.api.prompts import IDEMPOTENCY, idempotency_key
from innkeeper.gateway.api.responses import JSON, answer, errors, one_of, reference
from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.deliveries.events import Event, of_cloud_event, read_own
from innkeeper.gateway.errors import TooLarge, body_of, json_response, status_of
from innkeeper.gateway.runs.admission import LARGE_BYTES, read_body
from innkeeper.gateway.runs.external_events import MAX_DATA_BYTES
from innkeeper.gateway.triggers.cloudevents import (
    BATCH_TYPE,
    MAX_BATCH,
    STRUCTURED_TYPE,
    event_of,
    mode_of,
    read_batch,
    read_binary,
    read_structured,
)
from innkeeper.gateway.triggers.headers import Headers
from innkeeper.nodes.errors import InnkeeperError

router = APIRouter(prefix="/api", tags=["control"], default_response_class=Response)

JsonObject = dict[str, Any]

MAX_EVENT_BYTES = MAX_DATA_BYTES + 10_000
MAX_BATCH_BYTES = 4_000_000
AN_EVENT = "{name, data?, id?, source?}"
BODY: JsonObject = {
    "requestBody": {
        "required": True,
        "description": f"The event: ours, or a CloudEvent 1.0, also in binary mode (headers `ce-id`, `ce-source`, "
        f"`ce-specversion`, `ce-type`; the body is its data). A batch has at most {MAX_BATCH}.",
        "content": {
            JSON: {"schema": reference(PostedEvent)},
            STRUCTURED_TYPE: {"schema": {"type": "object"}},
            BATCH_TYPE: {"schema": {"type": "array", "items": {"type": "object"}, "maxItems": MAX_BATCH}},
        },
    }
}


@router.post(
    "/events",
    summary="Tell triggers, and every run that waits for it, that something happened",
    responses=answer("What the event, or each event of a batch, has done.", one_of(EventBroadcast, EventBatch))
    | errors(
        {
            400: "bad_request malformed_json document_too_deep document_too_large invalid_cloud_event",
            413: "too_large",
            415: "unsupported_media_type",
            422: "idempotency_mismatch",
            429: "too_many_deliveries",
            503: "engine_unavailable event_log_unavailable",
        }
    ),
    openapi_extra={**BODY, **IDEMPOTENCY},
)
async def broadcast_event(request: Request) -> Response:
    container, headers = container_of(request), Headers(request.headers.raw)
    data, mode = await request.body(), mode_of(headers)
    if mode == "batch":
        return await _post_batch(container, data)
    _check_size("an event", data, MAX_EVENT_BYTES)
    if mode == "structured":
        event = of_cloud_event(read_structured(data, MAX_DATA_BYTES))
    elif mode == "binary":
        event = of_cloud_event(read_binary(headers, data, MAX_DATA_BYTES))
    else:
        event = read_own(await read_body(data, AN_EVENT))
    return json_response(await _posted(container, event, idempotency_key(request)))


async def _post_batch(container: Container, data: bytes) -> Response:
    _check_size("a batch of events", data, MAX_BATCH_BYTES)
    values = await asyncio.to_thread(read_batch, data) if len(data) > LARGE_BYTES else read_batch(data)
    results = [await _result_of(container, value) for value in values]
    told = {"success": all(result["success"] for result in results), "results": results}
    again = next((result for result in results if result["status"] >= 429), None)
    if again is None:
        return json_response(told)
    # Whoever looks at the status alone must send the batch again: by their ids, no event is taken twice.
    details = {"results": results}
    return json_response({"error": again["error"], "code": again["code"], "details": details}, again["status"])


async def _result_of(container: Container, value: Any) -> JsonObject:
    try:
        event = of_cloud_event(event_of(value, MAX_DATA_BYTES))
        return {"status": 200, **await _posted(container, event, None)}
    except InnkeeperError as error:
        if (status := status_of(error)) == 500:
            raise
        return {"success": False, "status": status, **body_of(error)}


async def _posted(container: Container, event: Event, key: str | None) -> JsonObject:
    told = await container.events.post(event, container.settings.user, key)
    return {"success": not told.get("missed"), **told}


def _check_size(what: str, data: bytes, most: int) -> None:
    if len(data) > most:
        raise TooLarge(f"{what} has at most {most} bytes, this one has {len(data)}: send a reference instead")
