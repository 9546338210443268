"""Spares workflow tasks the walks over their payloads that change nothing.

Around each workflow task the SDK walks six times over all payloads of its messages, for a codec and for external
storage. Without either nothing comes of it, but it was a fifth of what the main thread of a worker did in a chain of
activities. The SDK has no switch for it, so its two functions are replaced, and only in versions that were read.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import temporalio.bridge.worker
from temporalio.converter import DataConverter
from temporalio.service import __version__ as SDK_VERSION

KNOWN_SDKS = ("1.35.",)
"""In these the two functions call the converter's codec and its external storage, and do nothing else."""
VISITS = ("decode_activation", "encode_completion")

Visit = Callable[..., Awaitable[Any]]


def spare_payload_visits() -> None:
    """Let the workers of this process visit payloads only where a codec or external storage may change them."""
    if not SDK_VERSION.startswith(KNOWN_SDKS):
        return
    for name in VISITS:
        visit = getattr(temporalio.bridge.worker, name)
        if not hasattr(visit, "__wrapped__"):
            setattr(temporalio.bridge.worker, name, _if_needed(visit))


def _if_needed(visit: Visit) -> Visit:
    nothing: list[Any] = []  # what the SDK answers when it has changed nothing

    @functools.wraps(visit)
    async def visit_if_needed(message: Any, data_converter: DataConverter, *args: Any, **options: Any) -> Any:
        if data_converter.payload_codec is not None or data_converter.external_storage is not None:
            return await visit(message, data_converter, *args, **options)
        if not nothing:
            nothing.append(await visit(message, data_converter, *args, **options))
        return nothing[0]

    return visit_if_needed
