"""The node types over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse, Response

from innkeeper.gateway.api.client_scripts import script_file
from innkeeper.gateway.api.models.catalogue import NodeType
from innkeeper.gateway.api.responses import TEXT, answer, contents, errors, list_of, request_headers, text
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import NotFound, json_response, shown
from innkeeper.nodes.definition import NodeDefinition
from innkeeper.workflows.document.schema import document_schema

router = APIRouter(prefix="/api", tags=["catalogue"], default_response_class=Response)

SCHEMA = "application/schema+json"
SCRIPT = {"text/javascript": text("JavaScript.")}
SCRIPT_ERRORS = errors({400: "bad_request", 403: "forbidden", 404: "unknown_node_type not_found"})
# The framework serves the file, and answers a bad Range header in its own way.
SCRIPT_ERRORS[400]["content"][TEXT] = {"schema": text("Of a `Range` header that cannot be read.")}


@router.get("/nodes", summary="All node types", responses=answer("The catalogue.", list_of(NodeType)) | errors())
async def list_node_types(request: Request) -> Response:
    return json_response([node.to_json() for node in container_of(request).catalogue.get_definitions()])


@router.get(
    "/workflow.schema.json",
    summary="JSON Schema of workflow documents, with the node types known here",
    responses=contents("The schema.", {SCHEMA: {"type": "object"}}) | errors(),
)
async def get_workflow_schema(request: Request) -> Response:
    schema = document_schema(container_of(request).catalogue.get_definitions())
    return Response(json_response(schema).body, media_type=SCHEMA)


@router.get(
    "/nodes/{full_type}",
    summary="One node type",
    responses=answer("The node type.", NodeType) | errors({404: "unknown_node_type"}),
)
async def get_node_type(full_type: Annotated[str, Path(description="`namespace:type`.")], request: Request) -> Response:
    return json_response(_found(full_type, request).to_json())


@router.get(
    "/nodes/{namespace}/{type}/client-script/{path:path}",
    summary="A script of a node type, for the editor",
    responses={
        **contents("The script.", SCRIPT, headers={"ETag": "Version of the file."}),
        **contents("A part of the script.", SCRIPT, status=206, headers={"Content-Range": "Which part."}),
        **contents("The range lies outside the script.", {TEXT: text("Nothing.")}, status=416),
        **SCRIPT_ERRORS,
    },
    openapi_extra=request_headers({"Range": "`bytes=<first>-<last>`: one part of the script."}),
)
async def get_client_script(
    namespace: Annotated[str, Path(description="Namespace of the node type.")],
    type: Annotated[str, Path(description="The node type without its namespace.")],
    path: Annotated[str, Path(description="Path of the script, relative to the node's file; ends in `.js`.")],
    request: Request,
) -> Response:
    file = script_file(_found(f"{namespace}:{type}", request), path)
    # A browser runs no script whose type it has to guess; asking again each time keeps it in step with the server.
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return FileResponse(file, media_type="text/javascript", headers=headers)


def _found(full_type: str, request: Request) -> NodeDefinition:
    found = container_of(request).catalogue.get_node(full_type)
    if found is None:
        raise NotFound(f"there is no node type {shown(full_type)}; GET /api/nodes lists them", code="unknown_node_type")
    return found
