"""The keys of signatures: one file that the gateway makes and that gateway and workers read."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.services.damaged import set_aside, tell
from innkeeper.nodes.services.files import write_new
from innkeeper.nodes.services.key_ring import KeyRing, OtherOwner, other_user, random_text, with_new_key

SIGNING_FILE = "signing.json"
CLOCK_SLACK_S = 60.0
"""How far the clocks of the gateway and of the Temporal server may differ."""


class SigningKeysUnusable(InnkeeperError):
    """There are no keys to sign or to check with."""

    code = "signing_keys_unusable"


@dataclass(frozen=True)
class _Exempt:
    """Runs that go on without a signature.

    Attributes:
        runs: Those that were open when the file was made.
        made_at: When that was, in seconds since 1970.
    """

    runs: frozenset[str]
    made_at: float


class SigningKeys(KeyRing[_Exempt]):
    """The keys that sign for one data directory (`create_signing_keys`)."""

    purpose = "signature"

    def is_exempt(self, run: str, began_at: float) -> bool:
        """Was this run open when the file was made, and did this part of it begin before (seconds since 1970)?

        The time counts because everybody on this machine can see the ids of open runs. Raises as `current`.
        """
        exempt = self._content().rest
        return run in exempt.runs and began_at <= exempt.made_at + CLOCK_SLACK_S

    def _rest_of(self, raw: Mapping[str, Any]) -> _Exempt:
        return _Exempt(frozenset(raw["unsignedRuns"]), float(raw["madeAt"]))

    def _unusable(self, error: Exception) -> SigningKeysUnusable:
        return _unusable(error)


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
        "keys": [random_text()],
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
        return with_new_key(path)
    except OtherOwner as error:
        raise SigningKeysUnusable(other_user(SIGNING_FILE)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(error) from error
