"""Signs what we send to others, by the rules of Standard Webhooks (HMAC-SHA256, version `v1`)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets as random_secrets
from collections.abc import Sequence

from innkeeper.gateway.triggers.secret_keys import MAC_PREFIX, InvalidSecret, read_secret

_NEW_KEY_BYTES = 32
# No full stop: it separates id, time and body in what is signed.
_ID = re.compile(r"[A-Za-z0-9_:-]{1,256}")


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
    if not _ID.fullmatch(message_id):
        raise ValueError("a message id has 1 to 256 letters, digits, '_', ':' and '-'")
    if not secrets:
        raise InvalidSecret("is missing")
    timestamp = str(int(sent_at))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    signatures = [f"v1,{base64.b64encode(_signature(secret, signed)).decode()}" for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }


def _signature(secret: str, signed: bytes) -> bytes:
    key = read_secret("standard", secret)
    if key.kind != "mac":
        raise InvalidSecret("is a public key; one begins with 'whsec_' to sign with")
    return hmac.digest(key.data, signed, hashlib.sha256)
