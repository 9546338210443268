"""What protocols other than OpenAI's add to a base URL. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.services.llm.base_url import BaseUrl

_VERSION = re.compile(r"/v\d+\w*$")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]*")


def without(base: BaseUrl, *endings: str) -> BaseUrl:
    """The base URL without the first of these endings that it has: paths of another protocol of the same server."""
    ending = next((path for path in endings if base.url.endswith(path)), "")
    return replace(base, url=base.url.removesuffix(ending).rstrip("/"))


def versioned(base: BaseUrl, version: str) -> BaseUrl:
    """With the version of the API at its end, unless it names one."""
    return base if _VERSION.search(base.url) else replace(base, url=f"{base.url}/{version}")


def accepting(stream: bool, kind: str = "text/event-stream") -> dict[str, str]:
    """The header that asks for a stream of this kind, or for one JSON value."""
    return {"Accept": kind if stream else "application/json"}


def model_path(model: str) -> str:
    """`models/NAME`, for protocols that have the model in their path. `tunedModels/NAME` and such stay as they are.

    Raises:
        NodeInputError: The name would lead to another path.
    """
    parts = model.split("/")
    if len(parts) > 2 or not all(_MODEL.fullmatch(part) for part in parts):
        raise NodeInputError("'model' holds characters that no name of a model has here; it looks like 'gemini-pro'")
    return model if len(parts) == 2 else f"models/{model}"
