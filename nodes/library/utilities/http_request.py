"""core:HttpRequest: ask a web server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output, Retry
from innkeeper.nodes.errors import NodeError, NodeInputError, ProviderError
from innkeeper.nodes.json_values import MAX_VALUE_DEPTH, InvalidJson, dump_json, is_number, read_json
from innkeeper.nodes.library.utilities.text import is_truthy, to_text
from innkeeper.nodes.node import HttpRequest, HttpResponse, Inputs, NodeContext, SecretRef
from innkeeper.nodes.services.masking import MASK, forms_of
from innkeeper.nodes.services.web import METHODS, REPEATABLE_METHODS, check_url
from innkeeper.nodes.tavern.documents import kind_of

READ_BODY = "innkeeper.nodes.library.utilities.http_body:read_body"
MAX_TIMEOUT_S = 300.0
MAX_WAIT_S = 300.0
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_PASSING_CODES = frozenset({"connection_error", "timeout_error"})


async def http_request(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Send one request and give the answer, whatever its status.

    A `body` that is an object or a list, or the text of one, goes out as JSON, other text as plain text, unless a
    header says otherwise. What fails is tried again for methods that a server can be asked twice; POST and PATCH only
    with the config value `repeatUnsafe`: the first request may have done its work.

    `authorization` is a secret: it is sent as that header to the host of `url`, to no other one that the server may
    send us on to, and taken out of the answer where the server repeats it.

    Raises:
        NodeInputError: An input cannot be used.
        ProviderError: No answer (`connection_error`, `timeout_error`), or, with the config value `failOnError`, a
            status of 400 or more (`http_error`).
        RequestRefused: The operator does not allow the address.
        ResourceError: The answer is too large.
    """
    method = to_text(inputs.get("method")).strip().upper()
    if method not in METHODS:
        raise NodeInputError(f"'method' is not one of {', '.join(METHODS)}")
    repeatable = method in REPEATABLE_METHODS or is_truthy(context.config_values.get("repeatUnsafe"))
    if context.attempt > 1 and not repeatable:
        message = f"the {method} request may have reached the server before; 'repeatUnsafe' allows to send it again"
        raise NodeError(message, code="not_repeated", retryable=False)
    request, secret = await _request(method, inputs, context)
    response = await _answered(request, context, repeatable)
    if is_truthy(context.config_values.get("failOnError")) and response.status >= 400:
        raise _status_error(request.url, response, repeatable)
    return await _response_outputs(response, secret, context)


async def _request(method: str, inputs: Inputs, context: NodeContext) -> tuple[HttpRequest, str]:
    url = to_text(inputs.get("url")).strip()
    host = check_url(url)
    body, content_type = _body(inputs.get("body"))
    headers = _headers(inputs.get("headers"))
    if content_type and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = content_type
    timeout_s = _timeout(inputs.get("timeout"))
    # The last step before the call: an earlier failure must not have touched the secret.
    secret = await _authorization(inputs.get("authorization"), host, context)
    if secret:
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        headers["Authorization"] = secret
    return HttpRequest(method, url, headers=headers, body=body, timeout_s=timeout_s), secret


async def _authorization(value: Any, host: str, context: NodeContext) -> str:
    if isinstance(value, SecretRef):
        value = await context.services.secrets.reveal(value, host=host)
    if value is None or isinstance(value, str):
        return value or ""
    raise NodeInputError("'authorization' must be a text such as 'Bearer <token>'")


def _body(body: Any) -> tuple[bytes, str]:
    """The bytes and their content type."""
    if body is None or body == "":
        return b"", ""
    if isinstance(body, bytes | bytearray):
        return bytes(body), "application/octet-stream"
    if not isinstance(body, str):
        return _encoded(dump_json(body)), "application/json"
    return _encoded(body), "application/json" if _is_json(body) else "text/plain; charset=utf-8"


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise NodeInputError("'body' holds half of a surrogate pair, which cannot be sent") from None


def _is_json(text: str) -> bool:
    """Whether it is what people type for an object or a list. Long texts are not looked at: it takes time."""
    if not text.lstrip().startswith(("{", "[")) or len(text) > 100_000:
        return False
    try:
        read_json(text, max_depth=MAX_VALUE_DEPTH)
    except InvalidJson:
        return False
    return True


def _headers(headers: Any) -> dict[str, str]:
    if isinstance(headers, str):
        headers = read_json(headers, max_depth=MAX_VALUE_DEPTH) if _is_json(headers) else (headers or None)
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise NodeInputError(f"'headers' must be an object of texts, found {kind_of(headers)}")
    for name, value in headers.items():
        if not isinstance(value, str | int | float):
            raise NodeInputError(f"header {name!r} must be a text, found {kind_of(value)}")
    return {str(name): to_text(value) for name, value in headers.items()}


def _timeout(value: Any) -> float:
    if value is None:
        return 30.0
    if not is_number(value) or value <= 0:
        raise NodeInputError("'timeout' must be a number of seconds above 0")
    return float(min(value, MAX_TIMEOUT_S))


async def _answered(request: HttpRequest, context: NodeContext, repeatable: bool) -> HttpResponse:
    try:
        return await context.services.http.request(request)
    except ProviderError as error:
        # The service knows the method only; the author of the graph may know better.
        error.retryable = error.retryable or (repeatable and error.code in _PASSING_CODES)
        raise


def _status_error(url: str, response: HttpResponse, repeatable: bool) -> ProviderError:
    host = check_url(url)
    return ProviderError(
        f"the server at {host} answered {response.status}",
        code="http_error",
        details={"host": host, "status": response.status},
        retryable=repeatable and response.status in _PASSING_STATUS,
        retry_after=_retry_after(response.headers),
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return min(float(text), MAX_WAIT_S) if text.isascii() and text.isdigit() else None


async def _response_outputs(response: HttpResponse, secret: str, context: NodeContext) -> dict[str, Any]:
    hidden = [form for part in (secret, *secret.split()[1:]) for form in forms_of(part)]
    headers, body = dict(response.headers), response.body
    # Here and not in the process that reads the body: it serves others' templates too.
    for part in hidden:
        headers = {name: value.replace(part, MASK) for name, value in headers.items()}
        body = body.replace(part.encode(errors="surrogatepass"), MASK.encode())
    arguments = {"content_type": headers.get("content-type", "")}
    read = await context.services.scripts.call(READ_BODY, arguments, data=body)
    return {"status": response.status, "headers": headers, **read}


definition = NodeDefinition(
    type="HttpRequest",
    category="实用工具",
    display_name="HTTP request",
    display_names={"zh": "HTTP 请求"},
    description="Sends a request to a web server and gives its answer.",
    inputs={
        "method": Input(
            "STRING",
            display_name="Method",
            description="What to do there.",
            required=True,
            match_categories=("ComboOption",),
            config={"default": "GET", "suggestions": METHODS},
        ),
        "url": Input(
            "STRING",
            display_name="URL",
            description="http or https. Private addresses only where the operator allows them.",
            required=True,
            match_categories=("Url",),
            config={"default": "", "placeholder": "https://host/path"},
        ),
        "headers": Input(
            "OBJECT",
            display_name="Headers",
            description="Name to value. They are stored readable.",
            match_categories=("Json",),
            config={"default": {}},
        ),
        "authorization": Input(
            "STRING",
            display_name="Authorization",
            description="The header of that name, such as 'Bearer <token>'; kept secret.",
            secret=True,
        ),
        "body": Input(
            "WILDCARD",
            display_name="Body",
            description="Objects and lists are sent as JSON.",
            config={"multiline": True},
        ),
        "timeout": Input(
            "FLOAT",
            display_name="Time limit",
            description="In seconds, for all of it.",
            config={"default": 30.0, "min": 0.1, "max": MAX_TIMEOUT_S},
        ),
    },
    outputs={
        "status": Output("INTEGER", display_name="Status", description="200 and the like."),
        "headers": Output("OBJECT", display_name="Headers", description="Names in lower case."),
        "body": Output("STRING", display_name="Body", description="As text."),
        "json": Output(
            "WILDCARD",
            display_name="JSON",
            description="The body, read; null when it is no JSON.",
            match_categories=("Json",),
        ),
    },
    config_schema={
        "failOnError": Input(
            "BOOLEAN",
            display_name="Fail on error",
            description="A status of 400 or more fails the node.",
            config={"default": False},
        ),
        "repeatUnsafe": Input(
            "BOOLEAN",
            display_name="Repeat POST and PATCH",
            description="Send these again too when they fail, although the server may have done its work.",
            config={"default": False},
        ),
    },
    execute=http_request,
    bypass_behavior="mute",
    side_effects=True,
    retry=Retry(maximum_attempts=4),
    timeout_s=MAX_TIMEOUT_S + 120,
    serverless=True,
)
