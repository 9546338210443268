"""Character cards of the user and of all users, as ComfyTavern's front end asks for them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path as FolderPath
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response

from innkeeper.gateway.api.file_transfer import path_in
from innkeeper.gateway.api.files import NOT_MODIFIED, PART, READ_ERRORS, READ_HEADERS, VERSION, file_response, utf8_path
from innkeeper.gateway.api.models.characters import Characters
from innkeeper.gateway.api.responses import BYTES, answer, binary, contents, errors
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import NotFound, json_response, shown
from innkeeper.gateway.storage.character_library import FOLDERS, PICTURES, CharacterLibrary
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.resources import FolderResources

router = APIRouter(prefix="/api/characters", tags=["files"], default_response_class=Response)

IMAGE = "image/*"
_PICTURE = binary("The bytes of the picture, or of a part of it.")


@router.get(
    "",
    summary="Character cards",
    responses=answer(
        "The cards of `user://library/characters/` and `shared://library/characters/`, by name. A file that cannot be "
        "read as a card is left out.",
        Characters,
    )
    | errors(),
)
async def list_characters(request: Request) -> Response:
    settings = container_of(request).settings
    known = _known(settings.data_dir, settings.user)
    # One at a time: many cards take many seconds, and the threads are there for others too.
    async with known.lock:
        cards = await asyncio.to_thread(known.library.cards)
    return json_response({"success": True, "data": cards})


@router.get(
    "/image/{name}",
    summary="The picture of a card",
    dependencies=[Depends(utf8_path)],
    responses={
        **contents("The picture.", {BYTES: _PICTURE, IMAGE: _PICTURE}, headers=VERSION),
        **contents("A part of the picture.", {BYTES: _PICTURE, IMAGE: _PICTURE}, status=206, headers=PART),
        **NOT_MODIFIED,
        **READ_ERRORS,
    },
    openapi_extra=READ_HEADERS,
)
async def get_character_image(
    name: Annotated[str, Path(description="`imageName` of a card.")], request: Request
) -> Response:
    if not name.lower().endswith(PICTURES):
        raise NotFound(f"{shown(name)} is no picture of a card: their names end in {', '.join(PICTURES)}")
    for folder in FOLDERS:
        try:
            return await file_response(request, path_in(folder, name))
        except ResourceError as error:
            if error.code != "resource_not_found":
                raise
    raise NotFound(f"there is no picture {shown(name)}; GET /api/characters lists the cards")


@dataclass(frozen=True)
class _Known:
    """A library that remembers cards which have not changed, and the lock of who reads it."""

    library: CharacterLibrary
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@lru_cache(maxsize=64)
def _known(data_dir: FolderPath, user: str) -> _Known:
    return _Known(CharacterLibrary(FolderResources(data_dir, user)))
