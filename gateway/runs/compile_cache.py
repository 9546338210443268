"""The last documents that were compiled: schedules, webhooks and editors submit the same one again and again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any, Generic, TypeVar

import orjson

from innkeeper.nodes.catalogue.plugins import Catalogue

T = TypeVar("T")
MAX_ENTRIES = 32
MAX_NODES = 3_200
"""Of all documents that are kept, together: compiled, a node takes some kilobytes."""
MAX_BYTES = 1_000_000
"""Of its JSON: it is kept beside what became of it."""


class CompileCache(Generic[T]):
    """What documents gave with the present catalogue, those that were asked for last. For use in any thread.

    Only for what follows from document, inputs, user and catalogue alone: no document that runs stored workflows, and
    none with secrets, which are looked up for each run.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._catalogue: Catalogue | None = None
        self._found: OrderedDict[bytes, tuple[T, int]] = OrderedDict()
        self._nodes = 0

    def get(self, catalogue: Catalogue, key: bytes) -> T | None:
        with self._lock:
            if catalogue is not self._catalogue or key not in self._found:
                return None
            self._found.move_to_end(key)
            return self._found[key][0]

    def put(self, catalogue: Catalogue, key: bytes, value: T, nodes: int) -> None:
        """Keep what a document of so many nodes gave; nothing, when it has too many."""
        with self._lock:
            if catalogue is not self._catalogue:
                self._catalogue, self._found, self._nodes = catalogue, OrderedDict(), 0
            self._drop(key)  # somebody else compiled it meanwhile
            if nodes > MAX_NODES:
                return
            self._found[key] = value, nodes
            self._nodes += nodes
            while len(self._found) > MAX_ENTRIES or self._nodes > MAX_NODES:
                self._drop(next(iter(self._found)))

    def _drop(self, key: bytes) -> None:
        if (found := self._found.pop(key, None)) is not None:
            self._nodes -= found[1]


def cache_key(document: Mapping[str, Any], inputs: Mapping[str, Any], user: str) -> bytes | None:
    """None: the document is too large to be kept, or holds what JSON of ours cannot say.

    The order of keys counts: it decides the order of inputs.
    """
    nodes = document.get("nodes")
    if not isinstance(nodes, list) or len(nodes) > MAX_NODES:
        return None
    try:
        data = orjson.dumps([document, inputs, user])
    except TypeError:
        return None
    return hashlib.sha256(data).digest() if len(data) <= MAX_BYTES else None
