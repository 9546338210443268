"""Secrets as users paste them, and the keys in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from innkeeper.gateway.triggers.schemes import SecretForm
from innkeeper.nodes.services.webhook_signing import InvalidSecret, Key, decode_base64, standard_key

__all__ = ["InvalidSecret", "Key", "decode_base64", "read_secret", "usable_keys"]


def read_secret(form: SecretForm, secret: str) -> Key:
    """The key in a secret. Raises InvalidSecret."""
    if not secret.strip():
        raise InvalidSecret("is empty")
    if secret != secret.strip():
        raise InvalidSecret("begins or ends with white space; paste it without")
    if form == "standard":
        return standard_key(secret)
    if form == "basic" and not all(secret.partition(":")):
        raise InvalidSecret("must be 'user:password'")
    try:
        return Key("mac", secret.encode())
    except UnicodeEncodeError:
        raise InvalidSecret("holds characters that UTF-8 cannot hold") from None


def usable_keys(form: SecretForm, secrets: Sequence[str]) -> Iterator[Key]:
    """The keys of those secrets that can be used. The others were refused when they were saved."""
    for secret in secrets:
        try:
            yield read_secret(form, secret)
        except InvalidSecret:
            continue
