"""Plugins over HTTP: loaded anew, turned on and off, their settings, and the files of their front ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse, Response

from innkeeper.gateway.api.models.catalogue import (
    NodesReloaded,
    Plugin,
    PluginChanged,
    PluginRefused,
    PluginSettings,
    PluginState,
)
from innkeeper.gateway.api.models.errors import Error
from innkeeper.gateway.api.responses import (
    ANY,
    BYTES,
    JSON,
    TEXT,
    answer,
    binary,
    contents,
    errors,
    json_body,
    list_of,
    one_of,
    request_headers,
    text,
)
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import BadRequest, body_of, internal_error, json_response, status_of, unsuccessful
from innkeeper.gateway.plugins.service import Loaded
from innkeeper.gateway.runs.admission import read_body
from innkeeper.nodes.errors import InnkeeperError

router = APIRouter(tags=["catalogue"], default_response_class=Response)

Name = Annotated[str, Path(description="Name of the plugin.")]
A_STATE = '{"enabled": true or false}'
SETTINGS = "setting to value"
FILE = binary("The file, with the media type of its name.")
ASSETS = {BYTES: FILE, ANY: FILE}
ASSET_ERRORS = errors({400: "bad_request", 404: "not_found"})
# The framework serves the file, and answers a bad Range header in its own way.
ASSET_ERRORS[400]["content"][TEXT] = {"schema": text("Of a `Range` header that cannot be read.")}
RELOAD_ERRORS = errors()
RELOAD_ERRORS[500]["content"] = {JSON: {"schema": one_of(PluginRefused, Error)}}
MEDIA_TYPES = {
    **{".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".html": "text/html"},
    **{".json": "application/json", ".map": "application/json", ".wasm": "application/wasm", ".txt": "text/plain"},
    **{".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"},
    **{".gif": "image/gif", ".webp": "image/webp", ".avif": "image/avif", ".ico": "image/x-icon"},
    **{".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf"},
}
"""What a browser is told a file is; a system's own table differs from machine to machine."""


@router.get(
    "/api/plugins",
    summary="All plugins; those that failed with file and reason",
    responses=answer("The plugins.", list_of(Plugin)) | errors(),
)
async def list_plugins(request: Request) -> Response:
    return json_response([plugin.to_json() for plugin in container_of(request).catalogue.plugins])


@router.post(
    "/api/nodes/reload",
    summary="Load all plugins anew, here and in the workers; runs go on. `count` is the number of node types",
    responses=answer("What was loaded.", NodesReloaded) | RELOAD_ERRORS,
)
async def reload_nodes(request: Request) -> Response:
    return await _reloaded(request, lambda loaded: loaded.node_count)


@router.post(
    "/api/plugins/reload",
    summary="The same; `count` is the number of plugins",
    responses=answer("What was loaded.", NodesReloaded) | RELOAD_ERRORS,
)
async def reload_plugins(request: Request) -> Response:
    return await _reloaded(request, lambda loaded: loaded.plugin_count)


@router.put(
    "/api/plugins/{name}/state",
    summary="Turn a plugin on or off, for good",
    responses=answer("It is so, here and in the workers.", PluginChanged)
    | errors(
        {400: "bad_request malformed_json", 404: "unknown_plugin", 422: "plugin_load_failed", 507: "storage_failed"},
        schema=PluginRefused,
    ),
    openapi_extra=json_body(PluginState, "Whether it is to be on."),
)
async def set_plugin_state(name: Name, request: Request) -> Response:
    async def change() -> str:
        is_enabled = (await read_body(await request.body(), A_STATE)).get("enabled")
        if not isinstance(is_enabled, bool):
            raise BadRequest(f"the body must be {A_STATE}")
        loaded = await container_of(request).plugins.set_enabled(name, is_enabled)
        return f"plugin {name!r} is {'enabled' if is_enabled else 'disabled'}; {loaded.message}"

    return await _changed(change)


@router.get(
    "/api/plugins/{name}/settings",
    summary="The settings of a plugin: its defaults, and above them what was set. Secrets are masked",
    responses=answer("Setting to value.", PluginSettings) | errors({404: "unknown_plugin"}),
)
async def get_plugin_settings(name: Name, request: Request) -> Response:
    return json_response(await container_of(request).plugins.settings(name))


@router.post(
    "/api/plugins/{name}/settings",
    summary="Replace the settings of a plugin; what is not sent has its default again",
    responses=answer("They are stored; nodes that begin from now on get them.", PluginChanged)
    | errors(
        {400: "bad_request malformed_json", 404: "unknown_plugin", 422: "invalid_settings", 507: "storage_failed"},
        schema=PluginRefused,
    ),
    openapi_extra=json_body(PluginSettings, "Setting to value. A masked secret keeps what is stored."),
)
async def save_plugin_settings(name: Name, request: Request) -> Response:
    async def change() -> str:
        given = await read_body(await request.body(), SETTINGS)
        workers = await container_of(request).plugins.save_settings(name, given)
        late = f"; {workers.missing} of the workers have not taken them yet" if workers.missing else ""
        return f"the settings of plugin {name!r} are stored{late}"

    return await _changed(change)


@router.get(
    "/plugins/{name}/{path:path}",
    summary="A file of the front end of a plugin that is loaded",
    responses={
        **contents("The file.", ASSETS, headers={"ETag": "Version of the file."}),
        **contents("A part of the file.", ASSETS, status=206, headers={"Content-Range": "Which part."}),
        **contents("The range lies outside the file.", {TEXT: text("Nothing.")}, status=416),
        **ASSET_ERRORS,
    },
    openapi_extra=request_headers({"Range": "`bytes=<first>-<last>`: one part of the file."}),
)
def get_plugin_file(
    name: Name,
    path: Annotated[str, Path(description="Path below the plugin's folder, in its folder of assets.")],
    request: Request,
) -> Response:
    file = container_of(request).plugins.asset(name, path)
    kind = MEDIA_TYPES.get(file.suffix.lower(), "application/octet-stream")
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return FileResponse(file, media_type=kind, headers=headers)


async def _reloaded(request: Request, count: Callable[[Loaded], int]) -> Response:
    try:
        loaded: Loaded = await container_of(request).plugins.reload()
    except Exception as error:
        return json_response(unsuccessful(internal_error(error)), 500)
    return json_response({"success": True, "message": loaded.message, "count": count(loaded)})


async def _changed(change: Callable[[], Awaitable[str]]) -> Response:
    try:
        message = await change()
    except InnkeeperError as error:
        status = status_of(error)
        if status == 500:
            raise
        return json_response(unsuccessful(body_of(error)), status)
    return json_response({"success": True, "message": message})
