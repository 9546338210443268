"""Key rings: files with several keys, of which the newest is used and all are accepted."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.services.files import write_atomic

RECHECK_S = 1.0
"""How long what was read of the file counts without another look at it: each activity would pay for three."""
Rest = TypeVar("Rest")


@dataclass(frozen=True)
class _Content(Generic[Rest]):
    """What the file holds.

    Attributes:
        keys: Id to key; the first one is the newest.
        rest: What else a kind of ring keeps in its file.
    """

    keys: Mapping[str, bytes] = field(repr=False)
    rest: Rest


class KeyRing(Generic[Rest]):
    """The keys of one file. A file that was changed is read again: after `RECHECK_S`, or at once when what was read
    before does not do. One that went away, or was damaged, is remembered until the process ends, so that only the
    first call can fail.

    Each key is derived from the key of the data directory and from a random text of the file, so that neither alone
    is enough. Safe for many threads.

    Args:
        path: The file.
        secret: The key of the data directory (`load_or_create_key`).
        clock: Seconds, rising.
    """

    purpose: ClassVar[str]
    """What the keys are for: keys of different purposes differ, whatever their files hold."""

    def __init__(self, path: Path, secret: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._secret = secret
        self._clock = clock
        self._known: tuple[object, _Content[Rest]] | None = None
        self._looked_at = 0.0

    def current(self) -> tuple[str, bytes]:
        """Id and key of the newest one.

        Raises:
            InnkeeperError: There is no file, or it is damaged.
        """
        return next(iter(self._recent().keys.items()))

    def find(self, key_id: str) -> bytes | None:
        """The key of an id; None for one that is not in the file. Raises as `current`."""
        key = self._recent().keys.get(key_id)
        return key if key is not None else self._content().keys.get(key_id)

    def _rest_of(self, raw: Mapping[str, Any]) -> Rest:
        """What else the file holds. Raises KeyError, TypeError or ValueError when that is damaged."""
        raise NotImplementedError

    def _unusable(self, error: Exception) -> InnkeeperError:
        """What the reader of an error is told."""
        raise NotImplementedError

    def _recent(self) -> _Content[Rest]:
        if self._known is not None and self._clock() - self._looked_at < RECHECK_S:
            return self._known[1]
        return self._content()

    def _content(self) -> _Content[Rest]:
        self._looked_at = self._clock()
        try:
            found = self._path.stat()
            state = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._known is None or self._known[0] != state:
                self._known = state, self._read()
        except (OSError, ValueError, KeyError, TypeError) as error:
            # An error in the middle of a workflow would end a run that has nothing to do with it.
            if self._known is None:
                raise self._unusable(error) from error
        return self._known[1]

    def _read(self) -> _Content[Rest]:
        raw = json.loads(self._path.read_bytes())
        keys = dict(self._derived(str(text)) for text in raw["keys"])
        if not keys:
            raise ValueError("no keys")
        return _Content(keys, self._rest_of(raw))

    def _derived(self, text: str) -> tuple[str, bytes]:
        key = hmac.digest(self._secret, f"innkeeper {self.purpose} {text}".encode(), "sha256")
        # The id depends on both parts: with another `secret.key` the key is unknown, and what it made is no forgery.
        return hmac.digest(key, f"innkeeper {self.purpose} id".encode(), "sha256")[:4].hex(), key


class OtherOwner(Exception):
    """A file of keys belongs to another user, who could not read a new one."""


def with_new_key(path: Path) -> int:
    """Put a new key in front of a file's keys; gives their number. The others are still accepted.

    Raises:
        OSError, ValueError, KeyError, TypeError: There is no file, or it is damaged.
        OtherOwner: It belongs to another user.
        ResourceError: The disk refuses (`storage_failed`).
    """
    if path.stat().st_uid != os.geteuid():
        raise OtherOwner
    content = json.loads(path.read_bytes())
    content["keys"] = [random_text(), *content["keys"]]
    write_atomic(path, json.dumps(content).encode(), durable=True)
    return len(content["keys"])


def random_text() -> str:
    """The file's part of a key."""
    return secrets.token_urlsafe(32)


def other_user(name: str) -> str:
    """The sentence for who may not change a file of keys."""
    return f"{name} belongs to another user: run this command as the one who runs Innkeeper"
