"""What the file manager of ComfyTavern's front end sends and reads."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypeAliasType, TypedDict

from innkeeper.gateway.api.models.base import CLOSED, Count, JsonValue

ItemType = TypeAliasType("ItemType", Literal["file", "directory"])
SomePaths = Annotated[list[str], Field(min_length=1, max_length=1000)]


@with_config(CLOSED)
class FolderItem(TypedDict):
    """A file or a folder."""

    id: str
    """The logical path."""
    name: str
    logicalPath: str
    """Such as `user://cards/a.png`; of a folder with '/' at its end."""
    itemType: ItemType
    size: NotRequired[Count]
    """Of a file, in bytes."""
    lastModified: Count
    """Milliseconds since 1970."""
    mimeType: NotRequired[str]
    """Of a file: what its name stands for."""
    isWritable: bool


@with_config(CLOSED)
class NewFolder(TypedDict):
    """A folder to make."""

    parentLogicalPath: str
    dirName: str


@with_config(CLOSED)
class JsonFile(TypedDict):
    """A file to write."""

    logicalPath: str
    content: JsonValue
    """Written as JSON."""


@with_config(CLOSED)
class NewName(TypedDict):
    """A file or folder and its new name, in the same folder."""

    logicalPath: str
    newName: str


@with_config(CLOSED)
class NewPlace(TypedDict):
    """Files and folders, and the folder that they go to."""

    sourcePaths: SomePaths
    targetParentPath: str


@with_config(CLOSED)
class Unwanted(TypedDict):
    """Files and folders to delete, folders with all that is in them."""

    logicalPaths: SomePaths


@with_config(CLOSED)
class FilesForm(TypedDict):
    """A form with files."""

    files: list[Annotated[str, Field(json_schema_extra={"format": "binary"})]]
    """Each with its name."""
