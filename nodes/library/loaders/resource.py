"""What all loaders do: config value, logical path, bytes, and a reader in the killable process."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import InnkeeperError, NodeInputError
from innkeeper.nodes.node import Inputs, NodeContext
from innkeeper.nodes.tavern.documents import kind_of

MAX_PATH_CHARS = 1024
_EXAMPLE = "'user://library/file.json'"


async def load(context: NodeContext, key: str, kind: str, function: str, *, path: str | None = None) -> Any:
    """Read the file that the config value `key` names and give what `function` makes of it.

    Args:
        path: Of a file that is read instead.
        kind: What is loaded, for messages: `character card`.
        function: `module:name`, called through `services.scripts` with `name` (the file's name without folders)
            and `data` (the bytes; left out for an empty file, so it needs a default).

    Raises:
        NodeInputError: No file is chosen.
        InnkeeperError: The error of the resource service or of the reader, with its class and code; the message says
            `failed to load <kind> '<path>': <reason>`.
    """
    path = path or chosen_path(context, key, kind)
    try:
        data = await context.services.resources.read_bytes(path)
        call = {"name": posixpath.basename(path)}
        return await context.services.scripts.call(function, call, data=data)
    except InnkeeperError as error:
        # The same object goes on: its class, code and whether it may be tried again decide what happens next.
        error.message = f"failed to load {kind} {path!r}: {error.message}"
        error.args = (error.message,)
        raise


def tell(
    context: NodeContext, key: str, kind: str, warnings: Sequence[Mapping[str, str]], *, path: str | None = None
) -> None:
    """Warn the user of what a reader overlooked, and log it with the file's path.

    Args:
        path: Of a file that was read instead of the one that the config value `key` names.
        warnings: As readers give them: `{"code", "message"}`.
    """
    for warning in warnings:
        context.logger.warning("%s %r: %s", kind, path or context.config_values[key], warning["message"])
        context.warn(warning["code"], warning["message"])


def chosen_path(context: NodeContext, key: str, kind: str) -> str:
    """The logical path in the config value `key`. Raises NodeInputError when there is none, or none that could be."""
    path = context.config_values.get(key)
    if path is None or (isinstance(path, str) and not path.strip()):
        raise NodeInputError(f"failed to load {kind}: no file is chosen; set {key!r} to a path such as {_EXAMPLE}")
    if not isinstance(path, str):
        raise NodeInputError(f"failed to load {kind}: {key!r} must be a text, found {kind_of(path)}")
    if len(path) > MAX_PATH_CHARS:
        raise NodeInputError(f"failed to load {kind}: {key!r} is longer than {MAX_PATH_CHARS} characters")
    return path.strip()


def given_path(inputs: Inputs, kind: str) -> str | None:
    """The logical path in the slot `path`; None where it is empty. Raises NodeInputError: it is none that could be."""
    path = inputs.get("path")
    if path is None or (isinstance(path, str) and not path.strip()):
        return None
    if not isinstance(path, str) or len(path) > MAX_PATH_CHARS:
        raise NodeInputError(f"failed to load {kind}: 'path' must be a text of at most {MAX_PATH_CHARS} characters")
    return path.strip()


def resource_item(display_name: str, types: Sequence[str], placeholder: str) -> Input:
    """The one config item of a loader. `types` are file name endings without the dot."""
    return Input(
        "STRING",
        display_name=display_name,
        description="The file to read, by its logical path.",
        required=True,
        match_categories=("ResourceId", "FilePath"),
        config={
            "acceptedTypes": tuple({"value": ending, "label": ending.upper()} for ending in types),
            "placeholder": placeholder,
        },
    )
