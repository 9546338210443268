"""Files of users."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, with_config
from typing_extensions import TypedDict

from innkeeper.gateway.api.models.base import CLOSED, Count, Moment


@with_config(CLOSED)
class ListedFile(TypedDict):
    path: str
    """Logical path, such as `user://cards/a.png`."""
    size: Count
    """In bytes."""
    modifiedAt: Moment


@with_config(CLOSED)
class WrittenFile(TypedDict):
    path: str
    size: Count
    """In bytes."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    created: bool
    """False: it replaced a file."""
