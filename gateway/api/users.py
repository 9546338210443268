"""The one local user, as ComfyTavern's front end asks for users: name, picture, keys."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from innkeeper.gateway.api.control import UNREADABLE
from innkeeper.gateway.api.forms import files_in_form, form_body
from innkeeper.gateway.api.models.users import (
    AvatarForm,
    AvatarStored,
    Credentials,
    NewUsername,
    Renamed,
    ServiceKeys,
    UserContext,
)
from innkeeper.gateway.api.output_response import SAFE_HEADERS
from innkeeper.gateway.api.responses import BYTES, answer, binary, contents, errors, json_body
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import NotEditable, NotFound, TooLarge, json_response
from innkeeper.gateway.moments import iso_of
from innkeeper.gateway.runs.admission import read_body
from innkeeper.gateway.storage.profiles import AVATAR_SIDE, MAX_AVATAR_BYTES, Profile, checked_name
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.process.redaction import MASK
from innkeeper.nodes.services.channel_book import is_stored_key
from innkeeper.nodes.services.channel_file import CHANNELS_FILE

router = APIRouter(prefix="/api", tags=["user"], default_response_class=Response)

AVATAR = "/api/users/me/avatar"
PNG = "image/png"
_DECODING = asyncio.Lock()
"""One picture at a time: a small file may take 100 MB of memory."""


@router.get(
    "/auth/current",
    summary="Who is asking",
    responses=answer("The one local user.", UserContext) | errors(),
)
async def get_current_user(request: Request) -> Response:
    user = await asyncio.to_thread(_current_user, profile_of(request), request)
    context = {"mode": "SingleUser", "multiUserMode": False, "accessPasswordRequired": False, "isAuthenticated": True}
    return json_response({**context, "currentUser": user})


@router.put(
    "/users/me/username",
    summary="Call the user something else",
    responses=answer("The name.", Renamed) | errors({**UNREADABLE, 507: "storage_failed"}),
    openapi_extra=json_body(NewUsername, "The name; spaces around it are left out."),
)
async def rename_user(request: Request) -> Response:
    body = await read_body(await request.body(), "a username")
    name = checked_name(body.get("username"))
    await asyncio.to_thread(profile_of(request).set_name, name)
    return json_response({"success": True, "message": "the name is stored", "username": name})


@router.post(
    "/users/me/avatar",
    summary="Give the user a picture",
    responses=answer("The picture is stored.", AvatarStored)
    | errors({400: "bad_request", 413: "too_large", 507: "storage_failed"}),
    openapi_extra=form_body(
        AvatarForm,
        f"At most {MAX_AVATAR_BYTES:,} bytes. It is stored as a PNG of at most {AVATAR_SIDE} pixels a side.",
    ),
)
async def upload_avatar(request: Request) -> Response:
    async with files_in_form(request, "avatar", most=1) as (upload,):
        picture = await upload.read(MAX_AVATAR_BYTES + 1)
    if len(picture) > MAX_AVATAR_BYTES:
        raise TooLarge(f"the picture has over {MAX_AVATAR_BYTES:,} bytes: make it smaller")
    profile = profile_of(request)
    async with _DECODING:
        await asyncio.to_thread(profile.set_avatar, picture)
    url = await asyncio.to_thread(_avatar_url, profile)
    return json_response({"success": True, "message": "the picture is stored", "avatarUrl": url})


@router.get(
    "/users/me/avatar",
    summary="The user's picture",
    responses=contents("The picture.", {BYTES: binary("A PNG."), PNG: binary("A PNG.")}) | errors({404: "not_found"}),
)
async def get_avatar(request: Request) -> Response:
    picture = await asyncio.to_thread(profile_of(request).avatar)
    if picture is None:
        raise NotFound(f"the user has no picture; POST {AVATAR} gives one")
    return Response(picture, media_type=PNG, headers={**SAFE_HEADERS, "Cache-Control": "private, no-cache"})


@router.get(
    "/users/me/service-keys",
    summary="Keys that open this gateway: none, it has one access token",
    responses=answer("No keys.", ServiceKeys) | errors(),
)
async def list_service_keys() -> Response:
    return json_response({"keys": []})


@router.get(
    "/users/me/credentials",
    summary="Stored keys of channels, masked",
    responses=answer("One for each channel whose key is stored here.", Credentials) | errors(),
)
async def list_credentials(request: Request) -> Response:
    return json_response({"credentials": await asyncio.to_thread(_credentials, request)})


# These only refuse, so the OpenAPI document leaves them out.
@router.post("/users/me/service-keys", include_in_schema=False)
@router.delete("/users/me/service-keys/{key}", include_in_schema=False)
async def refuse_service_keys() -> Response:
    raise NotEditable(
        "this gateway has no keys of users: whoever has INNKEEPER_ACCESS_TOKEN may use it, and it is set where the "
        "gateway is started"
    )


@router.post("/users/me/credentials", include_in_schema=False)
@router.delete("/users/me/credentials/{key}", include_in_schema=False)
async def refuse_credentials() -> Response:
    raise NotEditable(
        "a key is stored with the channel that uses it: POST or PUT /api/llm/channels, or `innkeeper channels "
        f"--store-key` for {CHANNELS_FILE} in the data directory"
    )


def profile_of(request: Request) -> Profile:
    settings = container_of(request).settings
    return Profile(settings.data_dir, settings.user)


def _current_user(profile: Profile, request: Request) -> dict[str, Any]:
    url = _avatar_url(profile)
    return {
        "uid": container_of(request).settings.user,
        "username": profile.name(),
        "isAdmin": True,
        "createdAt": iso_of(profile.created_at()),
        **({"avatarUrl": url} if url else {}),
        "serviceApiKeys": [],
        "externalCredentials": _credentials(request),
    }


def _avatar_url(profile: Profile) -> str | None:
    # With its version: browsers show an old picture at an old address.
    version = profile.avatar_version()
    return f"{AVATAR}?v={version}" if version else None


def _credentials(request: Request) -> list[dict[str, Any]]:
    container = container_of(request)
    try:
        channels = container.channels.config(container.settings.user).channels
    except InnkeeperError:  # the page of channels tells what is the matter
        return []
    return [
        {
            "id": channel.id,
            "serviceName": channel.adapter_type,
            "displayName": channel.label or channel.id,
            "displayHint": {"prefix": MASK, "suffix": ""},
            "createdAt": iso_of(channel.created_at or _written(container.settings.data_dir / CHANNELS_FILE)),
        }
        for channel in channels
        if is_stored_key(channel)
    ]


def _written(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)
