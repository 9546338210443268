"""Signs what we send to others, by the rules of Standard Webhooks (HMAC-SHA256, version `v1`)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets as random_secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

MAC_PREFIX, PUBLIC_PREFIX = "whsec_", "whpk_"
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64
_PUBLIC_BYTES = 32
_NEW_KEY_BYTES = 32
# No full stop: it separates id, time and body in what is signed.
_ID = re.compile(r"[A-Za-z0-9_:-]{1,256}")


class InvalidSecret(ValueError):
    """A secret is not of the form that its scheme needs. The message never holds the secret."""


@dataclass(frozen=True)
class Key:
    """A key: of a MAC (also a token or a password, which are compared as they are), or public for ed25519."""

    kind: Literal["mac", "ed25519"]
    data: bytes = field(repr=False)


def new_secret() -> str:
    """A secret for a receiver: `whsec_` and base64 of random bytes."""
    return MAC_PREFIX + base64.b64encode(random_secrets.token_bytes(_NEW_KEY_BYTES)).decode()


def signed_headers(secrets: Sequence[str], message_id: str, body: bytes, *, sent_at: float) -> dict[str, str]:
    """The headers of one attempt to deliver a message.

    Args:
        secrets: One signature is made with each: give the new and the old one while the receiver changes over.
        message_id: The same in each attempt.
        body: The bytes that are sent.
        sent_at: Time of this attempt, seconds since 1970.

    Raises:
        InvalidSecret: There is no secret, or one is not `whsec_` and base64 of 24 to 64 bytes.
        ValueError: The id holds other characters than letters, digits, `_`, `:` and `-`.
    """
    if not secrets:
        raise InvalidSecret("is missing")
    headers = unsigned_headers(message_id, sent_at=sent_at)
    signed = b".".join((message_id.encode(), headers["webhook-timestamp"].encode(), body))
    signatures = [f"v1,{base64.b64encode(_signature(secret, signed)).decode()}" for secret in secrets]
    return {**headers, "webhook-signature": " ".join(signatures)}


def unsigned_headers(message_id: str, *, sent_at: float) -> dict[str, str]:
    """The headers of an attempt that nothing proves. Raises ValueError as `signed_headers`."""
    if not _ID.fullmatch(message_id):
        raise ValueError("a message id has 1 to 256 letters, digits, '_', ':' and '-'")
    return {"webhook-id": message_id, "webhook-timestamp": str(int(sent_at))}


def signing_key(secret: str) -> Key:
    """The key to sign with. Raises InvalidSecret."""
    key = standard_key(secret)
    if key.kind != "mac":
        raise InvalidSecret("is a public key; one begins with 'whsec_' to sign with")
    return key


def standard_key(secret: str) -> Key:
    """The key in a secret of Standard Webhooks. Raises InvalidSecret."""
    if secret.startswith(MAC_PREFIX):
        data = _bytes(secret.removeprefix(MAC_PREFIX))
        if not MIN_KEY_BYTES <= len(data) <= MAX_KEY_BYTES:
            raise InvalidSecret(f"holds {len(data)} bytes; a key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES}")
        return Key("mac", data)
    # A public key is known to all: it must never become the key of a MAC.
    if secret.startswith(PUBLIC_PREFIX):
        data = _bytes(secret.removeprefix(PUBLIC_PREFIX))
        if len(data) != _PUBLIC_BYTES:
            raise InvalidSecret(f"holds {len(data)} bytes; a public key of ed25519 has {_PUBLIC_BYTES}")
        return Key("ed25519", data)
    raise InvalidSecret(f"must begin with {MAC_PREFIX!r} or {PUBLIC_PREFIX!r}")


def decode_base64(text: bytes, *, is_url_safe: bool = False) -> bytes:
    """The bytes of base64, with or without padding. Raises ValueError for every other character."""
    if is_url_safe:
        if b"+" in text or b"/" in text:
            raise ValueError("these are characters of plain base64")
        text = text.translate(bytes.maketrans(b"-_", b"+/"))
    padded = text if text.endswith(b"=") else text + b"=" * (-len(text) % 4)
    try:
        return base64.b64decode(padded, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _signature(secret: str, signed: bytes) -> bytes:
    return hmac.digest(signing_key(secret).data, signed, hashlib.sha256)


def _bytes(text: str) -> bytes:
    try:
        return decode_base64(text.encode("ascii"))
    except ValueError:
        raise InvalidSecret("is not base64 after its prefix") from None
