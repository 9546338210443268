"""Encryption of what travels through Temporal: whole payloads, after the payload converter and before the wire.

Signatures (`signing`) are made and checked on the values themselves, so they know nothing of this: a value is signed,
converted, encrypted, and on the other side decrypted, converted, checked. Headers, which hold the signatures, search
attributes, workflow ids and the names of activities stay readable to the server.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec
from temporalio.exceptions import ApplicationError

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.workflows.payload_converter import DATA_CONVERTER

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
UNREADABLE_PAUSE = timedelta(seconds=10)


class Cipher(Protocol):
    """The keys of a data directory (`nodes.services.payload_keys.PayloadKeys`)."""

    def encrypt(self, data: bytes) -> tuple[str, bytes]: ...

    def decrypt(self, key_id: str, data: bytes) -> bytes: ...


class EncryptionCodec(PayloadCodec):
    """Encrypts payloads, and decrypts what it or another process with the same keys encrypted.

    What is not encrypted is taken as it is: histories may begin without encryption and go on with it, and back.

    Args:
        encrypts: Without it, only decrypts.
    """

    def __init__(self, cipher: Cipher, *, encrypts: bool = True) -> None:
        self._cipher = cipher
        self.encrypts = encrypts

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypted(payload) for payload in payloads] if self.encrypts else list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises ApplicationError (`payload_keys_unusable`), which is tried again: the key may come back."""
        return [self._decrypted(payload) for payload in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        key_id, data = self._cipher.encrypt(payload.SerializeToString())
        return Payload(metadata={"encoding": ENCODING, KEY_ID: key_id.encode()}, data=data)

    def _decrypted(self, payload: Payload) -> Payload:
        if not _is_encrypted(payload):
            return payload
        key_id = payload.metadata[KEY_ID].decode("ascii", "replace")
        try:
            return Payload.FromString(self._cipher.decrypt(key_id, payload.data))
        except InnkeeperError as error:
            # Seldom: an attempt that says nothing of itself counts as the death of a worker.
            raise ApplicationError(error.message, type=error.code, next_retry_delay=UNREADABLE_PAUSE) from None


def _is_encrypted(payload: Payload) -> bool:
    return payload.metadata.get("encoding") == ENCODING and KEY_ID in payload.metadata


def data_converter(codec: EncryptionCodec | None) -> DataConverter:
    """The converter of every client, worker and replayer of ours.

    Args:
        codec: None: there is nothing encrypted.
    """
    if codec is None:
        return DATA_CONVERTER
    if not codec.encrypts:
        return dataclasses.replace(DATA_CONVERTER, payload_codec=codec)
    # Messages of errors hold what users wrote, too; without this they would travel beside the encrypted payloads.
    return dataclasses.replace(
        DATA_CONVERTER, payload_codec=codec, failure_converter_class=DefaultFailureConverterWithEncodedAttributes
    )
