"""Where nodes that write files write them."""

from __future__ import annotations

from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.loaders.resource import MAX_PATH_CHARS
from innkeeper.nodes.node import Inputs


def path_input(placeholder: str) -> Input:
    return Input(
        "STRING",
        display_name="Path",
        description="Where to write it, below user://. A file that is there is replaced.",
        required=True,
        match_categories=("ResourceId", "FilePath"),
        config={"default": "", "placeholder": placeholder},
    )


def target_path(inputs: Inputs) -> str:
    """The value of the slot `path`. Raises NodeInputError when there is none; bounds are the resource service's."""
    path = inputs.get("path")
    if not isinstance(path, str) or not path.strip():
        raise NodeInputError("'path' is empty; give one such as 'user://folder/file.txt'")
    if len(path) > MAX_PATH_CHARS:
        raise NodeInputError(f"'path' is longer than {MAX_PATH_CHARS} characters")
    return path.strip()
