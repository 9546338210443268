"""Callbacks of runs over HTTP: send messages anew. The status of a run shows what became of them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models.callbacks import CallbackResent
from innkeeper.gateway.api.prompts import RunId
from innkeeper.gateway.api.responses import answer, errors
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import json_response

router = APIRouter(prefix="/api", tags=["runs"], default_response_class=Response)

MAX_NUMBER = 1_000


@router.post(
    "/prompt/{run}/callbacks/{number}/resend",
    summary="Send the messages of a callback anew, with the ids that they had",
    responses=answer("They are sent now, also what is still tried and waits for its next attempt.", CallbackResent)
    | errors({400: "bad_request", 404: "run_not_found callback_not_found", 503: "engine_unavailable"}),
)
async def resend_callback(
    run: RunId,
    number: Annotated[int, Path(ge=0, le=MAX_NUMBER, description="`number` of the callback in the run's status.")],
    request: Request,
    event: Literal["complete", "error", "interrupted", "waiting"] | None = Query(
        None, description="Only what was sent for it."
    ),
) -> Response:
    ids = await container_of(request).callbacks.resend(run, number, event)
    return json_response({"success": True, "promptId": run, "number": number, "ids": ids})
