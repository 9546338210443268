"""Secrets as users paste them, and the keys in them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from innkeeper.gateway.triggers.schemes import SecretForm

MAC_PREFIX, PUBLIC_PREFIX = "whsec_", "whpk_"
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64
_PUBLIC_BYTES = 32


class InvalidSecret(ValueError):
    """A secret is not of the form that its scheme needs. The message never holds the secret."""


@dataclass(frozen=True)
class Key:
    """A key: of a MAC (also a token or a password, which are compared as they are), or public for ed25519."""

    kind: Literal["mac", "ed25519"]
    data: bytes = field(repr=False)


def read_secret(form: SecretForm, secret: str) -> Key:
    """The key in a secret. Raises InvalidSecret."""
    if not secret.strip():
        raise InvalidSecret("is empty")
    if secret != secret.strip():
        raise InvalidSecret("begins or ends with white space; paste it without")
    if form == "standard":
        return _standard(secret)
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


def _standard(secret: str) -> Key:
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


def _bytes(text: str) -> bytes:
    try:
        return decode_base64(text.encode("ascii"))
    except ValueError:
        raise InvalidSecret("is not base64 after its prefix") from None


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
