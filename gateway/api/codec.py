"""Temporal's protocol for remote codecs: its web page and command line have encrypted payloads decrypted here.

Not in the OpenAPI document: bodies are Temporal's, and so are the programs that send them.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from google.protobuf import json_format
from temporalio.api.common.v1 import Payloads
from temporalio.exceptions import ApplicationError

from innkeeper.gateway.api.cross_origin import CODEC_PREFIX
from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.errors import BadRequest, NotFound
from innkeeper.nodes.errors import ResourceError
from innkeeper.workflows.payload_codec import EncryptionCodec

router = APIRouter(prefix=CODEC_PREFIX.rstrip("/"), default_response_class=Response, include_in_schema=False)


@router.post("/decode")
async def decode_payloads(request: Request) -> Response:
    codec, payloads = _codec(container_of(request), request), await _payloads(request)
    try:
        await codec.decode_wrapper(payloads)
    except ApplicationError as error:
        raise BadRequest(error.message, code=error.type) from error
    return _answer(payloads)


@router.post("/encode")
async def encode_payloads(request: Request) -> Response:
    codec, payloads = _codec(container_of(request), request), await _payloads(request)
    await codec.encode_wrapper(payloads)
    return _answer(payloads)


def _codec(container: Container, request: Request) -> EncryptionCodec:
    """The gateway's codec, for who may use it.

    Raises:
        ResourceError: No token guards it, or another namespace is meant (`request_refused`).
        NotFound: Nothing is encrypted.
    """
    if container.settings.access_token is None:
        message = "payloads are decrypted for those with an access token only: set INNKEEPER_ACCESS_TOKEN"
        raise ResourceError(message, code="request_refused")
    asked, ours = request.headers.get("x-namespace"), container.temporal.namespace
    if asked is not None and asked != ours:
        message = f"this gateway decrypts payloads of the namespace {ours!r}, not of {asked[:100]!r}"
        raise ResourceError(message, code="request_refused")
    if container.codec is None:
        raise NotFound("nothing is encrypted here: INNKEEPER_PAYLOAD_ENCRYPTION is off, and never was on")
    return container.codec


async def _payloads(request: Request) -> Payloads:
    try:
        return json_format.Parse(await request.body(), Payloads(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise BadRequest('the body must be {"payloads": [...]} as Temporal\'s programs send it') from error


def _answer(payloads: Payloads) -> Response:
    return Response(json_format.MessageToJson(payloads, indent=None), media_type="application/json")
