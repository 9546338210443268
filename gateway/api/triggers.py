"""Triggers over HTTP: saved, switched on and off, tried, and what became of their deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from innkeeper.gateway.api.control import UNREADABLE
from innkeeper.gateway.api.models.triggers import (
    CreatedTrigger,
    Disabling,
    NewToken,
    NewTrigger,
    SampleDelivery,
    SchedulePreview,
    TriedDelivery,
    TriggerResults,
)
from innkeeper.gateway.api.models.triggers import Trigger as ShownTrigger
from innkeeper.gateway.api.preconditions import ANY_VERSION, PreconditionRequired, VersionMismatch
from innkeeper.gateway.api.responses import answer, errors, json_body, list_of, request_headers
from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.deliveries.book import StoredTrigger
from innkeeper.gateway.deliveries.intake import Arrival, counters_of
from innkeeper.gateway.errors import BadRequest, TooLarge, json_response
from innkeeper.gateway.library.documents import JsonObject
from innkeeper.gateway.moments import iso
from innkeeper.gateway.runs.admission import read_body
from innkeeper.gateway.triggers.body import TriggerBody, read_trigger_body, scheme_problems
from innkeeper.gateway.triggers.mapping import WHOLE, InputProblem, map_inputs
from innkeeper.gateway.triggers.model import Kind, Trigger
from innkeeper.gateway.triggers.payload import Payload
from innkeeper.gateway.triggers.reading import MAX_BYTES, InvalidTrigger, TriggerProblem
from innkeeper.nodes.errors import InnkeeperError

router = APIRouter(prefix="/api/triggers", tags=["triggers"], default_response_class=Response)

MAX_BODY_BYTES = MAX_BYTES + 150_000
"""A definition and two secrets of the largest size."""
MAX_SAMPLE_BYTES = 5_000_000
"""Of a delivery to try: as large as a webhook's."""
MAX_RESULTS = 100
MAX_TIMES = 100
MAX_ID_CHARS = 512
MAX_NOTE_CHARS = 1_000
A_TRIGGER = "a trigger"
TriggerId = Annotated[str, Path(description="The `id` of the trigger.")]
VERSIONED = {"ETag": "Version of the trigger, for `If-Match`."}
IF_MATCH = request_headers(
    {"If-Match": "The ETag that was read: the change is made only on that version. `*`: on any. Required."}
)
UNKNOWN = {404: "trigger_not_found"}
SAVED = {
    **UNREADABLE,
    413: "too_large secret_too_large",
    409: "name_taken too_many_triggers",
    422: "invalid_trigger",
    503: "engine_unavailable",
    507: "storage_failed",
}
CHANGED = {412: "version_mismatch", 428: "precondition_required"}
DEFINITION = json_body(NewTrigger, "The definition, and the secrets of a webhook.")


class NotOfItsKind(InnkeeperError):
    """Only triggers of another kind have that."""

    code = "wrong_kind"


@router.get(
    "",
    summary="Triggers, by name",
    responses=answer("The triggers.", list_of(ShownTrigger)) | errors({400: "bad_request"}),
)
async def list_triggers(
    request: Request, kind: Kind | None = Query(None, description="Only triggers of this kind.")
) -> Response:
    container = container_of(request)
    stored = container.triggers.all(container.settings.user)
    return json_response([shown(trigger) for trigger in stored if kind in (None, trigger.definition.kind)])


@router.post(
    "",
    summary="Make a trigger",
    status_code=201,
    responses=answer(
        "It is made. Of a webhook the token is told, this once.",
        CreatedTrigger,
        status=201,
        headers={**VERSIONED, "Location": "Its path."},
    )
    | errors(SAVED),
    openapi_extra=DEFINITION,
)
async def create_trigger(request: Request) -> Response:
    container = container_of(request)
    user = container.settings.user
    body = read_trigger_body(await _definition(request))
    warnings = await container.trigger_checks.check(user, body.definition)
    stored, token = await container.triggers.create(user, body.definition, body.secrets or ())
    told = {**shown(stored, warnings), **(address(token) if token else {})}
    return json_response(told, 201, {"ETag": etag(stored), "Location": f"/api/triggers/{stored.id}"})


@router.get(
    "/{trigger_id}",
    summary="One trigger",
    responses=answer("The trigger.", ShownTrigger, headers=VERSIONED) | errors(UNKNOWN),
)
async def get_trigger(trigger_id: TriggerId, request: Request) -> Response:
    return await _answer(request, _stored(request, trigger_id))


@router.put(
    "/{trigger_id}",
    summary="Change a trigger: the whole definition",
    responses=answer("It is changed.", ShownTrigger, headers=VERSIONED)
    | errors({**SAVED, **UNKNOWN, **CHANGED, 409: "name_taken"}),
    openapi_extra={**DEFINITION, **IF_MATCH},
)
async def put_trigger(trigger_id: TriggerId, request: Request) -> Response:
    container, raw = container_of(request), await _definition(request)
    stored = _stored(request, trigger_id)
    _check_match(request, stored)
    if raw.get("id") not in (None, stored.id):
        raise BadRequest(f"the trigger has another id than the path ({stored.id!r}): an id stays as it is")
    body = read_trigger_body(raw, await _secrets_of(container, stored))
    _check_kind(body, stored)
    await container.trigger_checks.check(stored.user, body.definition)
    return await _answer(request, await container.triggers.change(stored, body.definition, secrets_=body.secrets))


@router.delete(
    "/{trigger_id}",
    summary="Delete a trigger; runs that it started go on",
    status_code=204,
    responses=answer("It is gone.", status=204) | errors({**UNKNOWN, **CHANGED}),
    openapi_extra=IF_MATCH,
)
async def delete_trigger(trigger_id: TriggerId, request: Request) -> Response:
    stored = _stored(request, trigger_id)
    _check_match(request, stored)
    await container_of(request).triggers.delete(stored)
    return Response(status_code=204)


@router.post(
    "/{trigger_id}/enable",
    summary="Switch a trigger on",
    responses=answer("It is on.", ShownTrigger, headers=VERSIONED)
    | errors({**UNKNOWN, 412: "version_mismatch", 422: "invalid_trigger", 503: "engine_unavailable"}),
)
async def enable_trigger(trigger_id: TriggerId, request: Request) -> Response:
    container, stored = container_of(request), _stored(request, trigger_id)
    definition = switched(stored.definition, enabled=True)
    if problems := scheme_problems(definition, await _secrets_of(container, stored)):
        raise InvalidTrigger(problems)
    await container.trigger_checks.check(stored.user, definition)
    return await _answer(request, await container.triggers.change(stored, definition))


@router.post(
    "/{trigger_id}/disable",
    summary="Switch a trigger off",
    responses=answer("It is off.", ShownTrigger, headers=VERSIONED)
    | errors({**UNREADABLE, **UNKNOWN, 412: "version_mismatch"}),
    openapi_extra=json_body(Disabling, "Why; without a body nothing is noted.", required=False),
)
async def disable_trigger(trigger_id: TriggerId, request: Request) -> Response:
    container, stored = container_of(request), _stored(request, trigger_id)
    note = read_note(await _optional_body(request, "{note?}"))
    definition = switched(stored.definition, enabled=False, note=note)
    return await _answer(request, await container.triggers.change(stored, definition))


@router.post(
    "/{trigger_id}/test",
    summary="Try a trigger with a delivery: what would run, with which inputs",
    responses=answer("What would become of it; with `run` what became of it.", TriedDelivery)
    | errors({**UNREADABLE, **UNKNOWN, 429: "too_many_deliveries"}),
    openapi_extra=json_body(SampleDelivery, "The delivery.", required=False),
)
async def try_trigger(trigger_id: TriggerId, request: Request) -> Response:
    container, stored = container_of(request), _stored(request, trigger_id)
    body = await _optional_body(request, "{payload, headers?, query?, deliveryId?, run?}", MAX_SAMPLE_BYTES)
    arrival = read_sample(stored.definition, body)
    if body.get("run") is True:
        return json_response(await _run_sample(container, stored, arrival))
    # What a disabled trigger would do is what its owner wants to know before she enables it.
    definition = switched(stored.definition, enabled=True)
    tried = container.intake.try_out(definition, stored, arrival)
    told = _tried(tried.outcome, tried.reason, tried.inputs, tried.problems)
    if not stored.definition.enabled:
        told["notes"] = ["the trigger is disabled: a real delivery is refused"]
    return json_response(told)


@router.get(
    "/{trigger_id}/results",
    summary="The last deliveries of a trigger, newest first",
    responses=answer("The deliveries.", TriggerResults) | errors({400: "bad_request", **UNKNOWN}),
)
async def list_trigger_results(
    trigger_id: TriggerId,
    request: Request,
    limit: int = Query(MAX_RESULTS, ge=1, le=MAX_RESULTS, description="At most so many."),
) -> Response:
    container, stored = container_of(request), _stored(request, trigger_id)
    results = await container.intake.results(stored, limit)
    return json_response({"results": results, "counters": counters_of(stored)})


@router.get(
    "/{trigger_id}/preview",
    summary="The next times of a schedule",
    responses=answer("The times, and what is odd about them.", SchedulePreview)
    | errors({400: "bad_request", **UNKNOWN, 409: "wrong_kind", 422: "invalid_trigger", 503: "engine_unavailable"}),
)
async def preview_trigger(
    trigger_id: TriggerId,
    request: Request,
    count: int = Query(10, ge=1, le=MAX_TIMES, description="So many times."),
) -> Response:
    container, stored = container_of(request), _stored(request, trigger_id)
    if stored.definition.schedule is None:
        raise NotOfItsKind("only a schedule has times; this trigger is of the kind " + repr(stored.definition.kind))
    return json_response(await container.schedules.preview(stored, count))


@router.post(
    "/{trigger_id}/rotate-token",
    summary="Give a webhook a new address; the old one is unknown at once",
    responses=answer("The new address, told this once.", NewToken)
    | errors({**UNKNOWN, 409: "wrong_kind", 412: "version_mismatch"}),
)
async def rotate_trigger_token(trigger_id: TriggerId, request: Request) -> Response:
    container, stored = container_of(request), _stored(request, trigger_id)
    if stored.definition.webhook is None:
        raise NotOfItsKind("only a webhook has a token; this trigger is of the kind " + repr(stored.definition.kind))
    _, token = await container.triggers.rotate_token(stored)
    return json_response(address(token))


# --- pure -----------------------------------------------------------------------------------------------------------


def etag(stored: StoredTrigger) -> str:
    return f'"{stored.version}"'


def address(token: str) -> JsonObject:
    """What is told of a webhook's address: only when it is new, for only its hash is kept."""
    return {"token": token, "url": f"/hooks/{token}"}


def shown(stored: StoredTrigger, warnings: Sequence[str] | None = None) -> JsonObject:
    """A trigger as clients see it. `secretCount` is what the vault holds."""
    told = {
        "id": stored.id,
        **stored.definition.to_json(),
        "version": stored.version,
        "createdAt": iso(stored.created_at),
        "updatedAt": iso(stored.updated_at),
        "secretCount": len(stored.secrets),
    }
    return told if warnings is None else {**told, "warnings": list(warnings)}


def switched(definition: Trigger, *, enabled: bool, note: str = "") -> Trigger:
    """The definition switched on or off. The note of a schedule says why it is off, and goes when it is on."""
    schedule = definition.schedule
    if schedule is not None:
        schedule = schedule.model_copy(update={"note": note})
    return definition.model_copy(update={"enabled": enabled, "schedule": schedule})


def read_note(body: Mapping[str, Any]) -> str:
    """Raises BadRequest."""
    note = body.get("note", "")
    if not isinstance(note, str) or len(note) > MAX_NOTE_CHARS:
        raise BadRequest(f"'note' is a text of at most {MAX_NOTE_CHARS} characters")
    return note


def read_sample(definition: Trigger, body: Mapping[str, Any]) -> Arrival:
    """A delivery to try a trigger with. Raises BadRequest."""
    delivery_id = body.get("deliveryId")
    if delivery_id is not None and (not isinstance(delivery_id, str) or not 0 < len(delivery_id) <= MAX_ID_CHARS):
        raise BadRequest(f"'deliveryId' is a text of 1 to {MAX_ID_CHARS} characters")
    if not isinstance(body.get("run", False), bool):
        raise BadRequest("'run' is true or false")
    payload = body.get("payload")
    if definition.kind == "webhook":
        headers = {name.lower(): value for name, value in _values(body, "headers").items()}
        read = Payload("json", "application/json", payload, _values(body, "query"), headers)
        return Arrival(read.view(), delivery_id=delivery_id)
    for key in ("headers", "query"):
        if body.get(key) is not None:
            raise BadRequest(f"{key!r} belongs to webhooks; this trigger is of the kind {definition.kind!r}")
    return Arrival(_sample_payload(definition, payload, delivery_id), delivery_id=delivery_id)


def _sample_payload(definition: Trigger, payload: Any, delivery_id: str | None) -> JsonObject:
    """What the mapping sees: the payload itself when it is that already, else one around it."""
    whole = WHOLE[definition.kind]
    if isinstance(payload, dict) and whole in payload and payload.keys() <= {whole, definition.kind}:
        return payload
    event = definition.event
    if event is None:
        return {whole: payload}
    return {whole: payload, "event": {"name": event.name, "source": event.source, "id": delivery_id}}


def _values(body: Mapping[str, Any], key: str) -> dict[str, str | list[str]]:
    found = body.get(key, {})
    if not isinstance(found, dict) or not all(_is_value(value) for value in found.values()):
        raise BadRequest(f"{key!r} is an object of name to text, or to a list of texts")
    return found


def _is_value(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


# --- shared by routes -----------------------------------------------------------------------------------------------


def _stored(request: Request, trigger_id: str) -> StoredTrigger:
    container = container_of(request)
    return container.triggers.get(container.settings.user, trigger_id)


async def _answer(request: Request, stored: StoredTrigger) -> Response:
    warnings = await container_of(request).trigger_checks.warnings(stored.user, stored.definition)
    return json_response(shown(stored, warnings), headers={"ETag": etag(stored)})


async def _definition(request: Request) -> JsonObject:
    data = await request.body()
    if len(data) > MAX_BODY_BYTES:
        raise TooLarge(f"a trigger has at most {MAX_BYTES} bytes, its secrets apart; found {len(data)}")
    container = container_of(request)
    return await container.triggers.with_sealed_callback(await read_body(data, A_TRIGGER), container.settings.user)


async def _optional_body(request: Request, what: str, most: int = MAX_BODY_BYTES) -> JsonObject:
    data = await request.body()
    if len(data) > most:
        raise TooLarge(f"the body has {len(data)} bytes; at most {most} are allowed")
    return await read_body(data, what) if data.strip() else {}


async def _secrets_of(container: Container, stored: StoredTrigger) -> list[str]:
    """The secrets themselves, without those that the vault cannot decrypt: they have to be entered anew."""
    return await asyncio.to_thread(container.triggers.secret_values, stored)


def _check_match(request: Request, stored: StoredTrigger) -> None:
    """Compare If-Match with the stored version.

    Raises:
        PreconditionRequired: It is missing.
        VersionMismatch: It names another one.
    """
    sent = request.headers.get("if-match")
    if sent is None:
        raise PreconditionRequired(
            "a trigger is changed with the header If-Match: the ETag that GET gave, or * for any version"
        )
    tags = [tag.strip().removeprefix("W/") for tag in sent.split(",")]
    if ANY_VERSION not in tags and etag(stored) not in tags:
        raise VersionMismatch(
            f"the trigger {stored.definition.name!r} has version {stored.version} by now, you saw another one: read it "
            "again and repeat your change",
            details={"version": stored.version},
        )


def _check_kind(body: TriggerBody, stored: StoredTrigger) -> None:
    if body.definition.kind != stored.definition.kind:
        message = f"'kind' stays {stored.definition.kind!r}; delete the trigger and make another one"
        raise InvalidTrigger([TriggerProblem("kind", message)])


async def _run_sample(container: Container, stored: StoredTrigger, arrival: Arrival) -> JsonObject:
    handled = await container.intake.take(stored, arrival)
    inputs = map_inputs(stored.definition, arrival.payload).values
    told = _tried(handled.outcome, handled.reason, inputs, handled.problems)
    return {**told, "runId": handled.run} if handled.run else told


def _tried(outcome: str, reason: str, inputs: Mapping[str, Any], problems: Sequence[InputProblem]) -> JsonObject:
    told = [{"input": problem.input, "reason": problem.reason} for problem in problems]
    return {"outcome": outcome, "reason": reason, "inputs": inputs, "problems": told, "notes": []}
