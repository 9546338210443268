"""The catalogue over HTTP: node types, and plugins with the reasons of those that failed."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from innkeeper.gateway.api.client_scripts import script_file
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import NotFound, json_response, shown
from innkeeper.nodes.definition import NodeDefinition

router = APIRouter(prefix="/api", tags=["catalogue"])


@router.get("/nodes", summary="All node types")
async def nodes(request: Request) -> Response:
    return json_response([node.to_json() for node in container_of(request).catalogue.get_definitions()])


@router.get("/nodes/{full_type}", summary="One node type by namespace:type")
async def node(full_type: str, request: Request) -> Response:
    return json_response(_found(full_type, request).to_json())


@router.get("/nodes/{namespace}/{type}/client-script/{path:path}", summary="A script of a node type, for the editor")
async def client_script(namespace: str, type: str, path: str, request: Request) -> Response:
    file = script_file(_found(f"{namespace}:{type}", request), path)
    # A browser runs no script whose type it has to guess; asking again each time keeps it in step with the server.
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return FileResponse(file, media_type="text/javascript", headers=headers)


@router.get("/plugins", summary="All plugins; those that failed with file and reason")
async def plugins(request: Request) -> Response:
    return json_response([plugin.to_json() for plugin in container_of(request).catalogue.plugins])


def _found(full_type: str, request: Request) -> NodeDefinition:
    found = container_of(request).catalogue.get_node(full_type)
    if found is None:
        raise NotFound(f"there is no node type {shown(full_type)}; GET /api/nodes lists them", code="unknown_node_type")
    return found
