"""What deterministic nodes gave before, by what they were asked: a cache across runs, one per user."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from innkeeper.nodes.call import NodeCall
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.files import write_atomic

log = logging.getLogger("innkeeper.results")

SWEEP_EVERY = 200
"""Results that one process writes between two looks at the size of all."""


class KeptResult(NamedTuple):
    """What a node gave: its outputs as they travel, and what it warned its user of (`{"code", "message"}`)."""

    outputs: dict[str, Any]
    warnings: Sequence[dict[str, str]] = ()


def result_key(call: NodeCall, version: str) -> str | None:
    """What a call asks, as a hash; None when its answer may not be kept.

    Values count as they travel: a blob's reference names its content. Secrets and streams keep a call out.
    """
    if not call.cached or call.streams or call.stream_inputs or call.seal or call.interface_inputs:
        return None
    if _holds_secret([call.inputs, call.config]):
        return None
    asked = [call.type, version, call.mode, call.config, _plain(call.inputs), call.multi]
    return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


def blobs_in(value: Any) -> Iterator[str]:
    """The hashes of all stored values that a value refers to."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            if isinstance(item.get("$blob"), str):
                yield item["$blob"]
            else:
                stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


class FolderResults:
    """Results as files: `<root>/<user>/<two digits>/<key>`. Safe for many processes at once.

    Args:
        keep_blob: Keep the stored value of this hash, which somebody is about to use; False when it has gone.
        max_bytes: All results together; the oldest go first. 0: keep nothing.
        max_age_s: Older results are not given any more.
    """

    def __init__(self, root: Path, keep_blob: Callable[[str], bool], *, max_bytes: int, max_age_s: float) -> None:
        self._root = root
        self._keep_blob = keep_blob
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._written = 0

    async def get(self, user: str, key: str) -> KeptResult | None:
        """What is kept for a key of this user; None when there is nothing, or a value of its outputs has gone."""
        return await asyncio.to_thread(self._get, user, key) if self._max_bytes else None

    async def put(self, user: str, key: str, result: KeptResult) -> None:
        """Keep a result. A disk that refuses is no reason for a node to fail: then nothing is kept."""
        if self._max_bytes:
            await asyncio.to_thread(self._put_sync, user, key, result)

    def _get(self, user: str, key: str) -> KeptResult | None:
        path = self._path(user, key)
        try:
            if time.time() - path.stat().st_mtime > self._max_age_s:
                return None
            found = orjson.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or found.get("user") != user or not isinstance(found.get("outputs"), dict):
            return None
        result = KeptResult(found["outputs"], found.get("warnings") or [])
        return result if all(self._keep_blob(sha) for sha in blobs_in(result.outputs)) else None

    def _put_sync(self, user: str, key: str, result: KeptResult) -> None:
        try:
            write_atomic(self._path(user, key), orjson.dumps({"user": user, **result._asdict()}))
        except ResourceError as error:
            log.warning("a result was not kept: %s", error.message)
            return
        if self._written % SWEEP_EVERY == 0:
            self.sweep()
        self._written += 1

    def sweep(self) -> None:
        """Delete what is too old, then the oldest until the rest is small enough."""
        files = sorted(self._files())
        left = sum(size for _, size, _ in files)
        oldest = time.time() - self._max_age_s
        for changed, size, path in files:
            if changed >= oldest and left <= self._max_bytes:
                return
            left -= size
            with contextlib.suppress(OSError):  # another process was faster
                path.unlink()

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(OSError):
                    stat = path.stat()
                    yield stat.st_mtime, stat.st_size, path

    def _path(self, user: str, key: str) -> Path:
        # A user's name may hold anything; its hash is a good name for a folder.
        return self._root / sha256(user.encode()).hexdigest()[:32] / key[:2] / key


def _holds_secret(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            if "$secret" in item:
                return True
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return False


def _plain(value: Any) -> Any:
    """Values with references by content alone: a preview or size adds nothing."""
    if isinstance(value, Mapping):
        if isinstance(value.get("$blob"), str):
            return {"$blob": value["$blob"], "mime": value.get("mime")}
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
