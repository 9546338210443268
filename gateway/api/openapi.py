"""The OpenAPI document: what the routes say of themselves, the types they name, and real examples."""

from __future__ import annotations

import asyncio
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import is_typeddict

from innkeeper.gateway.api import models

JsonObject = dict[str, Any]
PATH = "/openapi.json"
EXAMPLES = Path(__file__).with_name("examples.json")
"""Operation id to `request` and to statuses, each with a body as a gateway sent it. Tests write and check the file."""
METHODS = frozenset({"get", "put", "post", "delete", "head"})

DESCRIPTION = """\
Runs node graphs for LLM work as durable Temporal workflows.

**Errors** have the body `{"error", "code", "details" | "problems"}`. Programs look at `code`; each response lists its
codes (`x-error-codes`). A body that cannot be read has the code `invalid_workflow`, and a problem `malformed_json`,
`document_too_deep` or `document_too_large`.

**Access.** Requests need a `Host` and, if they have one, an `Origin` that the gateway knows. A gateway with an access
token also asks for `Authorization: Bearer <token>`; WebSockets and event streams may send `?token=` instead, `/ws` a
`?ticket=` of `POST /api/ws-ticket`. The console (`/`, `/console/...`) needs none. Pages of
origins in `INNKEEPER_ALLOWED_ORIGINS` get CORS headers and answers to preflights. `/hooks/...` asks for no token: each
webhook has a proof of its own, and a page of any origin may use one that it can sign for.

**WebSocket `/ws`.** Messages are JSON objects `{"type", "payload"}`, one a frame. A client sends `PROMPT_REQUEST` (the
body of `POST /api/prompt`), `INTERRUPT_REQUEST {promptId}`, `SUBSCRIBE {promptId, after, logId?, batch?}` and
`UNSUBSCRIBE {promptId}`. The gateway answers `PROMPT_ACCEPTED_RESPONSE`, `SUBSCRIBED {promptId, logId, after, lastSeq}`
and `error`, then sends the events of the runs that the client follows (`RunEvent`), `SYSTEM_QUEUE_UPDATE`, and
of plugins `NODES_RELOADED`, `plugins-reloaded`, `plugin-enabled` and `plugin-disabled`. With
`batch: true` a frame may hold an array of events. A submission without `requestId` that is refused becomes a run that
fails at once; with one it gets `error`. A socket that has not sent `SUBSCRIBE` gets values of up to 1 MB whole. One
that has sent nothing hears, with `seq` null, how runs end that were submitted over a socket. Close codes: 4401 no
token, 4403 forbidden, 4408 too slow, 4429 too many messages, 1012 the gateway restarts, 1013 too many clients. A client
that comes back sends `SUBSCRIBE` with the `seq` of the last event it has; closing a socket changes no run.

**WebSocket `/internal/worker`** is for workers only.
"""
TAGS = [
    {"name": "runs", "description": "Submit runs, look at them, interrupt and delete them."},
    {"name": "control", "description": "Pause and resume runs, answer approvals, deliver external events."},
    {"name": "events", "description": "Follow a run by server-sent events."},
    {"name": "triggers", "description": "What starts runs: webhooks, schedules, events, files, ends of other runs."},
    {"name": "webhooks", "description": "Where others deliver to webhooks."},
    {"name": "catalogue", "description": "Node types and plugins."},
    {"name": "workflows", "description": "Stored workflows, and checking a document."},
    {"name": "files", "description": "Files that graphs read and write: `user://`, `shared://`, `system://`."},
    {"name": "user", "description": "The one local user, as ComfyTavern's front end asks for users."},
    {"name": "models", "description": "Channels and models: the operator's of `channels.yaml`, and the user's own."},
    {"name": "health", "description": "For operators: is it alive, ready, busy."},
    {"name": "demo", "description": "A demo model behind a part of OpenAI's API, without a key."},
]

router = APIRouter()


@router.get(PATH, include_in_schema=False)
async def openapi(request: Request) -> Response:
    return Response(await document_bytes(request.app), media_type="application/json")


async def document_bytes(app: FastAPI) -> bytes:
    """The document as it is sent; made by the first who asks, in a thread: it takes longer than others should wait."""
    found: bytes | None = getattr(app.state, "openapi_document", None)
    if found is None:
        found = app.state.openapi_document = await asyncio.to_thread(lambda: orjson.dumps(document_of(app)))
    return found


def document_of(app: FastAPI) -> JsonObject:
    """The whole document."""
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, tags=TAGS)
    document["components"] = {
        "schemas": schemas(),
        "securitySchemes": {"accessToken": {"type": "http", "scheme": "bearer"}},
    }
    # The empty one: a gateway without a token asks for none.
    document["security"] = [{}, {"accessToken": []}]
    examples = orjson.loads(EXAMPLES.read_bytes())
    for operation in operations(document):
        _add_examples(operation, examples.get(operation["operationId"], {}))
        # Added by the framework for routes with parameters; ours answers 400, which routes declare.
        if "HTTPValidationError" in str(operation["responses"].get("422")):
            del operation["responses"]["422"]
    return document


def operations(document: JsonObject) -> Iterator[JsonObject]:
    """Every operation of the document."""
    for item in document["paths"].values():
        yield from (operation for method, operation in item.items() if method in METHODS)


class _Schemas(GenerateJsonSchema):
    """Without a title for each field: it only repeats the name."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


@cache
def schemas() -> JsonObject:
    """Name to JSON Schema of every type in `api/models`."""
    # One adapter for all: each type is looked at once, whoever refers to it.
    everything: Any = tuple.__class_getitem__(tuple(model_types()))
    found = TypeAdapter(everything).json_schema(ref_template="#/components/schemas/{model}", schema_generator=_Schemas)
    defined: JsonObject = found["$defs"]
    return defined


def model_types() -> list[type]:
    """The types in `api/models`, by module and place. A name with `_` in front is only a base of others."""
    found = []
    for info in pkgutil.iter_modules(models.__path__, f"{models.__name__}."):
        module = import_module(info.name)
        found += [
            value
            for name, value in vars(module).items()
            if is_typeddict(value) and value.__module__ == module.__name__ and not name.startswith("_")
        ]
    return found


def _add_examples(operation: JsonObject, examples: JsonObject) -> None:
    places = {**operation["responses"], "request": operation.get("requestBody", {})}
    for key, example in examples.items():
        if content := places.get(key, {}).get("content", {}).get("application/json"):
            content["example"] = example
