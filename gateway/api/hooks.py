"""Webhooks over HTTP: `/hooks/{token}`. No access token is asked: the proof of the request counts.

| outcome | `accepted` | `wait`, `stream` |
|---|---|---|
| fired, queued | 202 with the run's id | the outputs of the run |
| duplicate | 200 with the id of the first run | the outputs of the first run |
| filtered, skipped | 200 | 200 |
| refused by a rate | 429 with Retry-After | 429 with Retry-After |
| refused for another reason | 200 | 422 |
| failed (the mapping) | 200 | 422 |

A delivery that was refused or failed for a reason that lies with us is answered 200 where nobody waits for outputs.
Senders repeat what is not 2xx for days, each time with the same end, and then switch the webhook off; the trigger's
results tell its owner.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from innkeeper.gateway.api.events import SSE
from innkeeper.gateway.api.hook_answers import RUN_HEADER, RunOutputs, told
from innkeeper.gateway.api.middleware import FOREIGN_ORIGIN
from innkeeper.gateway.api.models.triggers import SlackChallenge, WebhookAccepted, WebhookRunning
from innkeeper.gateway.api.responses import (
    ANY,
    BYTES,
    JSON,
    TEXT,
    JsonObject,
    Responses,
    answer,
    binary,
    contents,
    errors,
    one_of,
    reference,
    text,
)
from innkeeper.gateway.container import container_of
from innkeeper.gateway.deliveries.intake import TooManyDeliveries
from innkeeper.gateway.deliveries.webhooks import Challenge, HookRequest
from innkeeper.gateway.errors import body_of, json_response
from innkeeper.gateway.triggers.payload import RawRequest


class HookRoute(APIRoute):
    """Calls its function with the token at once: to solve the parameters of a function, as the framework does, takes a
    tenth of the time of a delivery."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(request: Request) -> Response:
            return await receive_webhook(request.path_params["token"], request)

        return handle


router = APIRouter(tags=["webhooks"], default_response_class=Response, route_class=HookRoute)

TRY_AGAIN_S = 60
"""When so many deliveries wait for their runs that no further one is taken."""
Token = Annotated[str, Path(description="The secret part of the address, told when the trigger was made.")]
RETRY_AFTER = {"Retry-After": "Seconds after which it may be sent again."}
RESPONSES: Responses = {
    **contents(
        "Not a new run: what became of the delivery. Of a webhook that waits: outputs of the run, with the status that "
        "the trigger sets. Slack's challenge.",
        {
            JSON: {"anyOf": [reference(WebhookAccepted), reference(SlackChallenge), {"description": "Outputs."}]},
            TEXT: text("A text output, or its text as it comes."),
            SSE: text(
                "Events `run` ({runId}), `chunk` ({text}), `reset` (what came so far is void) and `end` ({runId, "
                "status, error?}). Comments keep the connection alive."
            ),
            ANY: binary("An output in the media type that the trigger sets; bytes as they are."),
        },
        headers={RUN_HEADER: "Id of the run whose outputs these are."},
    ),
    **answer(
        "Recorded; its run starts now, or when others have ended. Or: the run goes on longer than the webhook waits.",
        one_of(WebhookAccepted, WebhookRunning),
        status=202,
    ),
    **errors(
        {
            400: "malformed_body",
            401: "webhook_refused",
            403: "forbidden",
            404: "webhook_not_found",
            409: "trigger_disabled",
            413: "too_large",
            415: "unsupported_body",
            422: "delivery_failed delivery_refused run_failed",
            429: "too_many_deliveries",
            507: "storage_failed",
        }
    ),
}
RESPONSES[429]["headers"] = answer("", headers=RETRY_AFTER)[200]["headers"]
DELIVERY: JsonObject = {
    "security": [{}],  # no access token is asked
    "requestBody": {
        "required": False,
        "description": "Whatever the sender sends, at most 5 MB: JSON, a form, text, or bytes, which become a file.",
        "content": {JSON: {"schema": {"description": "Any JSON."}}, BYTES: {"schema": binary("Any bytes.")}},
    },
}


@router.post(
    "/hooks/{token}",
    name="post_webhook",
    summary="Deliver to a webhook",
    responses=RESPONSES,
    openapi_extra=DELIVERY,
)
@router.put(
    "/hooks/{token}",
    name="put_webhook",
    summary="Deliver to a webhook",
    responses=RESPONSES,
    openapi_extra=DELIVERY,
)
async def receive_webhook(token: Token, request: Request) -> Response:
    container = container_of(request)
    raw = RawRequest(request.headers.raw, await request.body(), request.scope["query_string"])
    try:
        received = await container.webhooks.receive(token, HookRequest(raw, bool(request.scope.get(FOREIGN_ORIGIN))))
    except TooManyDeliveries as error:
        return json_response(body_of(error), 429, {"Retry-After": str(TRY_AGAIN_S)})
    if isinstance(received, Challenge):
        return json_response({"challenge": received.text})
    settings, handled = received.webhook.answer, received.handled
    if settings.mode == "accepted" or handled.run is None or handled.outcome not in ("fired", "queued", "duplicate"):
        status, body = told(handled, is_awaited=settings.mode != "accepted")
        waits = handled.retry_after_s
        return json_response(body, status, {} if waits is None else {"Retry-After": str(math.ceil(waits))})
    outputs = RunOutputs(container, handled.run, handled.delivery, settings)
    return await (outputs.streamed() if settings.mode == "stream" else outputs.awaited())
