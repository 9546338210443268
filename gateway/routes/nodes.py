"""The catalogue over HTTP: node types, and plugins with the reasons of those that failed."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.context import gateway_of
from gateway.errors import NotFound, json_response, shown

router = APIRouter(prefix="/api", tags=["catalogue"])


@router.get("/nodes", summary="All node types")
async def nodes(request: Request) -> Response:
    return json_response([node.to_json() for node in gateway_of(request).catalogue.get_definitions()])


@router.get("/nodes/{full_type}", summary="One node type by namespace:type")
async def node(full_type: str, request: Request) -> Response:
    found = gateway_of(request).catalogue.get_node(full_type)
    if found is None:
        raise NotFound(f"there is no node type {shown(full_type)}; GET /api/nodes lists them", code="unknown_node_type")
    return json_response(found.to_json())


@router.get("/plugins", summary="All plugins; those that failed with file and reason")
async def plugins(request: Request) -> Response:
    return json_response([plugin.to_json() for plugin in gateway_of(request).catalogue.plugins])
