"""Which file a request for a node's client script may have."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.exceptions import HTTPException

from innkeeper.gateway.errors import BadRequest, NotFound, shown
from innkeeper.nodes.definition import NodeDefinition

MAX_PATH_CHARS = 200


def script_file(node: NodeDefinition, path: str) -> Path:
    """The file of a script path, which is relative to the node's file, as `clientScriptUrl` is.

    Scripts may import others: every `.js` file in the folder of the declared script is served, and no other.

    Raises:
        BadRequest: The path is none of a script.
        NotFound: The node has no scripts, or not this one.
        HTTPException: 403, the file lies outside that folder.
    """
    if not path.endswith(".js") or ".." in path or not path.isprintable() or len(path) > MAX_PATH_CHARS:
        raise BadRequest("the path of a client script ends in '.js', has no '..' and at most 200 characters")
    if not node.client_script_url or not node.file_path:
        raise NotFound(f"node type {node.full_type!r} has no client script")
    home = Path(node.file_path).resolve().parent
    folder = (home / node.client_script_url).resolve().parent
    # Resolved, so that a link does not lead out of the folder.
    file = (home / path).resolve()
    if not file.is_relative_to(folder):
        raise HTTPException(403, f"{shown(path)} is not in the folder of this node's client scripts")
    if not os.path.isfile(file):  # also of a name that is too long for the system
        raise NotFound(f"node type {node.full_type!r} has no client script {shown(path)}")
    return file
