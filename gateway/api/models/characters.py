"""Character cards, as ComfyTavern's front end reads them."""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import with_config
from typing_extensions import TypedDict

from innkeeper.gateway.api.models.base import CLOSED


@with_config(CLOSED)
class Character(TypedDict):
    """What a page shows of one card. Texts are cut off at 4,000 characters."""

    id: str
    """Logical path of the card's file."""
    name: str
    description: str
    imageName: NotRequired[str]
    """What `GET /api/characters/image/{name}` takes, when there is a picture."""
    tags: list[str]
    creator: NotRequired[str]
    creatorComment: NotRequired[str]
    createDate: NotRequired[str]
    characterVersion: NotRequired[str]
    talkativeness: NotRequired[str]
    """A number from 0 to 1 as text, as cards have it."""
    favorite: bool


@with_config(CLOSED)
class Characters(TypedDict):
    success: Literal[True]
    data: list[Character]
