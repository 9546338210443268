"""How routes describe what they take and give, in the words of OpenAPI.

Everything here only describes. Routes answer with JSON of their own making (`json_response`), whose schema is named by
a reference to a type of `api/models`; `api/openapi.py` puts the types themselves into the document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.gateway.api.models.errors import Error

JsonObject = dict[str, Any]
Responses = dict[int | str, JsonObject]

JSON = "application/json"
TEXT = "text/plain"
BYTES = "application/octet-stream"
ANY = "*/*"
_EVERYWHERE = {401: "unauthorized", 403: "forbidden", 408: "too_slow", 500: "internal_error"}
_STATUS = {
    400: "The request cannot be understood.",
    401: "The gateway has an access token, and the request has not.",
    403: "Not allowed here.",
    404: "Not found.",
    408: "The body came too slowly.",
    409: "It does not fit the present state.",
    412: "A condition of the request does not hold.",
    413: "Too large.",
    415: "The body comes in a form that is not taken.",
    416: "The range lies outside the file.",
    422: "It is well formed and cannot be used.",
    428: "A condition is missing that the request needs.",
    429: "Too much at once; try again later.",
    500: "A defect of the gateway; its log has the reference.",
    502: "A server that was asked for it does not answer as it should.",
    503: "A part that is needed does not answer; try again later.",
    507: "The disk refuses.",
}


def reference(model: type) -> JsonObject:
    """The schema of a type of `api/models`, by its name."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def one_of(*models: type) -> JsonObject:
    """A schema that any of the types fits."""
    return {"anyOf": [reference(model) for model in models]}


def list_of(model: type) -> JsonObject:
    return {"type": "array", "items": reference(model)}


def answer(
    description: str,
    schema: type | JsonObject | None = None,
    /,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Responses:
    """A JSON response, or one without a body. `headers` maps a header to what it says."""
    content = {} if schema is None else {JSON: _schema(schema)}
    return contents(description, content, status=status, headers=headers)


def contents(
    description: str,
    schemas: Mapping[str, JsonObject],
    /,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Responses:
    """A response whose body may have several media types."""
    response: JsonObject = {"description": description}
    if schemas:
        response["content"] = {kind: {"schema": schema} for kind, schema in schemas.items()}
    if headers:
        response["headers"] = {
            name: {"description": told, "schema": {"type": "string"}} for name, told in headers.items()
        }
    return {status: response}


def text(description: str) -> JsonObject:
    """The schema of a text."""
    return {"type": "string", "description": description}


def binary(description: str) -> JsonObject:
    """The schema of bytes, as generators of clients know it."""
    return {"type": "string", "format": "binary", "description": description}


def errors(
    codes: Mapping[int, str] | None = None, /, *, schema: type | JsonObject = Error, needs_token: bool = True
) -> Responses:
    """Error responses: status to its codes, separated by spaces. What any request may get is always among them."""
    merged = {status: words for status, words in _EVERYWHERE.items() if needs_token or status != 401}
    for status, words in (codes or {}).items():
        merged[status] = f"{merged[status]} {words}" if status in merged else words
    return {
        status: _error(status, words, Error if status in _EVERYWHERE else schema)
        for status, words in sorted(merged.items())
    }


def without_bodies(responses: Responses) -> Responses:
    """The same responses as HEAD gives them."""
    return {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in responses.items()
    }


def json_body(model: type, description: str, *, required: bool = True) -> JsonObject:
    """What `openapi_extra` says of a JSON body that the route reads itself."""
    content = {JSON: {"schema": reference(model)}}
    return {"requestBody": {"required": required, "description": description, "content": content}}


def binary_body(description: str) -> JsonObject:
    content = {BYTES: {"schema": binary("The bytes of the file.")}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def request_headers(headers: Mapping[str, str]) -> JsonObject:
    """What `openapi_extra` says of headers that the route reads itself: name to what it does."""
    return {
        "parameters": [
            {"name": name, "in": "header", "required": False, "description": told, "schema": {"type": "string"}}
            for name, told in headers.items()
        ]
    }


def _schema(schema: type | JsonObject) -> JsonObject:
    return reference(schema) if isinstance(schema, type) else schema


def _error(status: int, codes: str, schema: type | JsonObject) -> JsonObject:
    listed = sorted(set(codes.split()))
    told = f" Codes: {', '.join(f'`{code}`' for code in listed)}." if listed else ""
    content = {JSON: {"schema": _schema(schema)}}
    return {"description": _STATUS[status] + told, "content": content, **({"x-error-codes": listed} if listed else {})}
