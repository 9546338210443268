"""The keys that encrypt what travels through Temporal: one file that the gateway makes and that all processes read."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.services.files import write_new
from innkeeper.nodes.services.key_ring import KeyRing, OtherOwner, other_user, random_text, with_new_key

PAYLOAD_KEYS_FILE = "payload_keys.json"
NONCE_BYTES = 12
RESTORE = (
    f"restore {PAYLOAD_KEYS_FILE} and secret.key (or INNKEEPER_SECRET_KEY) from the backup of the data directory; "
    "runs go on by themselves then"
)


class PayloadKeysUnusable(InnkeeperError):
    """There are no keys to encrypt with, or they are not those that encrypted."""

    code = "payload_keys_unusable"


class PayloadKeys(KeyRing[None]):
    """The keys of one data directory. The newest encrypts (AES-256-GCM, a random nonce each time), all decrypt."""

    purpose = "payload"

    def encrypt(self, data: bytes) -> tuple[str, bytes]:
        """The id of the key, and nonce and ciphertext as one. Raises PayloadKeysUnusable."""
        key_id, key = self.current()
        nonce = os.urandom(NONCE_BYTES)
        return key_id, nonce + AESGCM(key).encrypt(nonce, data, key_id.encode())

    def decrypt(self, key_id: str, data: bytes) -> bytes:
        """What was encrypted with the key of this id.

        Raises:
            PayloadKeysUnusable: The key is not in the file, or the bytes are not what it made.
        """
        key = self.find(key_id)
        if key is None:
            message = f"a value is encrypted with the key {key_id[:16]!r}, which this data directory does not have"
            raise PayloadKeysUnusable(f"{message}: {RESTORE}")
        try:
            return AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], key_id.encode())
        except (InvalidTag, ValueError) as error:
            message = f"a value that was encrypted with the key {key_id!r} was changed or cut off since"
            raise PayloadKeysUnusable(message) from error

    def _rest_of(self, raw: Mapping[str, Any]) -> None:
        if raw["secretCheck"] != _check_of(self._secret):
            raise ValueError("another secret")

    def _unusable(self, error: Exception) -> PayloadKeysUnusable:
        return _unusable(error)


def open_payload_keys(data_dir: Path, secret: bytes, *, encrypts: bool, may_create: bool = False) -> PayloadKeys | None:
    """The keys of a data directory; None when nothing is encrypted, and nothing ever was.

    Args:
        secret: The key of the data directory (`load_or_create_key`).
        encrypts: New values are to be encrypted.
        may_create: Make the file when it is missing and needed.

    Raises:
        PayloadKeysUnusable: The file is missing, damaged, or was made with another secret.
        ResourceError: The disk refuses (`storage_failed`).
    """
    path = data_dir / PAYLOAD_KEYS_FILE
    if not os.path.lexists(path):
        if not encrypts:
            return None
        if may_create:
            write_new(path, json.dumps({"keys": [random_text()], "secretCheck": _check_of(secret)}).encode())
    keys = PayloadKeys(path, secret)
    keys.current()
    return keys


def add_payload_key(path: Path) -> int:
    """Put a new key in front, which encrypts from now on; gives the number of keys. The others still decrypt.

    Raises:
        PayloadKeysUnusable: There is no file, it is damaged, or it belongs to another user.
        ResourceError: The disk refuses (`storage_failed`).
    """
    try:
        return with_new_key(path)
    except OtherOwner as error:
        raise PayloadKeysUnusable(other_user(PAYLOAD_KEYS_FILE)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(error) from error


def _check_of(secret: bytes) -> str:
    return hmac.digest(secret, b"innkeeper payload file", "sha256")[:4].hex()


def _unusable(error: Exception) -> PayloadKeysUnusable:
    if isinstance(error, FileNotFoundError):
        return PayloadKeysUnusable(
            f"{PAYLOAD_KEYS_FILE} is not in the data directory: the gateway makes it, so start that first, with the "
            "same INNKEEPER_PAYLOAD_ENCRYPTION"
        )
    reason = error.strerror if isinstance(error, OSError) else "it is damaged, or belongs to another secret.key"
    # Not put aside and made anew: no open run could read its own history any more.
    return PayloadKeysUnusable(f"{PAYLOAD_KEYS_FILE} in the data directory cannot be used ({reason}): {RESTORE}")
