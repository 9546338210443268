"""The keys of signatures: one file that the gateway makes and that gateway and workers read."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.services.damaged import set_aside, tell
from innkeeper.nodes.services.files import write_atomic, write_new

SIGNING_FILE = "signing.json"
RECHECK_S = 1.0
"""How long what was read of the file counts without another look at it: each activity would pay for three."""
CLOCK_SLACK_S = 60.0
"""How far the clocks of the gateway and of the Temporal server may differ."""


class SigningKeysUnusable(InnkeeperError):
    """There are no keys to sign or to check with."""

    code = "signing_keys_unusable"


@dataclass(frozen=True)
class _Content:
    """What the file holds.

    Attributes:
        keys: Id to key; the first one signs.
        unsigned_runs: Runs that were open when the file was made.
        made_at: When that was, in seconds since 1970.
    """

    keys: Mapping[str, bytes] = field(repr=False)
    unsigned_runs: frozenset[str]
    made_at: float


class SigningKeys:
    """The keys of one data directory. A file that was changed is read again: after `RECHECK_S`, or at once when what
    was read before does not do. One that went away, or was damaged, is remembered until the process ends, so that only
    the first call can fail.

    Each key is derived from the key of the data directory and from a random text of the file, so that neither alone
    is enough. Safe for many threads.

    Args:
        path: The file (`create_signing_keys`).
        secret: The key of the data directory (`load_or_create_key`).
        clock: Seconds, rising.
    """

    def __init__(self, path: Path, secret: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._secret = secret
        self._clock = clock
        self._known: tuple[object, _Content] | None = None
        self._looked_at = 0.0

    def current(self) -> tuple[str, bytes]:
        """Id and key to sign with.

        Raises:
            SigningKeysUnusable: There is no file, or it is damaged.
        """
        return next(iter(self._recent().keys.items()))

    def find(self, key_id: str) -> bytes | None:
        """The key of an id; None for one that is not in the file. Raises as `current`."""
        key = self._recent().keys.get(key_id)
        return key if key is not None else self._content().keys.get(key_id)

    def is_exempt(self, run: str, began_at: float) -> bool:
        """Was this run open when the file was made, and did this part of it begin before (seconds since 1970)?

        The time counts because everybody on this machine can see the ids of open runs. Raises as `current`.
        """
        content = self._content()
        return run in content.unsigned_runs and began_at <= content.made_at + CLOCK_SLACK_S

    def _recent(self) -> _Content:
        if self._known is not None and self._clock() - self._looked_at < RECHECK_S:
            return self._known[1]
        return self._content()

    def _content(self) -> _Content:
        self._looked_at = self._clock()
        try:
            found = self._path.stat()
            state = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._known is None or self._known[0] != state:
                self._known = state, self._read()
        except (OSError, ValueError, KeyError, TypeError) as error:
            # An error in the middle of a workflow would end a run that has nothing to do with it.
            if self._known is None:
                raise _unusable(error) from error
        return self._known[1]

    def _read(self) -> _Content:
        raw = json.loads(self._path.read_bytes())
        keys = dict(self._derived(str(text)) for text in raw["keys"])
        if not keys:
            raise ValueError("no keys")
        return _Content(keys, frozenset(raw["unsignedRuns"]), float(raw["madeAt"]))

    def _derived(self, text: str) -> tuple[str, bytes]:
        key = hmac.digest(self._secret, b"innkeeper signature " + text.encode(), "sha256")
        # The id depends on both parts: a worker with another `secret.key` finds the key unknown, not the run forged.
        return hmac.digest(key, b"innkeeper signature id", "sha256")[:4].hex(), key


def _unusable(error: Exception) -> SigningKeysUnusable:
    if isinstance(error, OSError):
        return SigningKeysUnusable(
            f"{SIGNING_FILE} in the data directory cannot be read ({error.strerror}): the gateway makes it, so start "
            "'innkeeper up', or the gateway, on this data directory first"
        )
    return SigningKeysUnusable(
        f"{SIGNING_FILE} in the data directory is damaged: restore it from a backup, or stop Innkeeper, delete the "
        "file and start again"
    )


def create_signing_keys(path: Path, secret: bytes, open_runs: Collection[str]) -> None:
    """Make the file. The runs are open and may have been started before there were signatures.

    Raises:
        ResourceError: The disk refuses (`storage_failed`).
    """
    content = {
        "keys": [_random()],
        "unsignedRuns": sorted(open_runs),
        "madeAt": time.time(),
        "secretCheck": _check_of(secret),
    }
    write_new(path, json.dumps(content).encode())


def heal_signing_keys(path: Path, secret: bytes) -> None:
    """Put a file aside with which no open run could go on: one that is damaged, or was made with another key of the
    data directory. Blocking.

    Raises:
        OSError: It cannot be renamed.
    """
    try:
        raw = json.loads(path.read_bytes())
        SigningKeys(path, secret).current()
        if raw.get("secretCheck", _check_of(secret)) == _check_of(secret):
            return
        what = "belongs to another secret.key"
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError, SigningKeysUnusable):
        what = "was damaged"
    aside = set_aside(path)
    tell(path.parent, f"{SIGNING_FILE} {what}; it is kept as {aside.name}. New keys were made, and open runs go on.")


def _check_of(secret: bytes) -> str:
    return hmac.digest(secret, b"innkeeper signing file", "sha256")[:4].hex()


def add_signing_key(path: Path) -> int:
    """Put a new key in front, which signs from now on; gives the number of keys. The others are still accepted.

    Raises:
        SigningKeysUnusable: There is no file, it is damaged, or it belongs to another user, who could not read a new
            one.
        ResourceError: The disk refuses (`storage_failed`).
    """
    try:
        if path.stat().st_uid != os.geteuid():
            message = f"{SIGNING_FILE} belongs to another user: run this command as the one who runs Innkeeper"
            raise SigningKeysUnusable(message)
        content = json.loads(path.read_bytes())
        content["keys"] = [_random(), *content["keys"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(error) from error
    write_atomic(path, json.dumps(content).encode(), durable=True)
    return len(content["keys"])


def _random() -> str:
    return secrets.token_urlsafe(32)
