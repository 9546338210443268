"""Values and errors as they travel: encrypted, readable to who has the keys, and mixed with what is not encrypted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from innkeeper.nodes.services.payload_keys import PayloadKeys, open_payload_keys
from innkeeper.workflows.payload_codec import ENCODING, KEY_ID, EncryptionCodec, data_converter
from tests.effort import LONG

VALUES = ["Once upon a time", {"role": "user", "content": "x"}, b"\x00plan", None, 2**70]


@pytest.fixture
def keys(tmp_path: Path) -> PayloadKeys:
    found = open_payload_keys(tmp_path, b"s" * 32, encrypts=True, may_create=True)
    assert found is not None
    return found


def converter(keys: PayloadKeys | None, *, encrypts: bool = True) -> DataConverter:
    return data_converter(None if keys is None else EncryptionCodec(keys, encrypts=encrypts))


async def test_values_are_hidden_on_the_way_and_come_as_they_were(keys: PayloadKeys) -> None:
    both = converter(keys)
    payloads = await both.encode(VALUES)
    assert [payload.metadata["encoding"] for payload in payloads] == [ENCODING] * len(VALUES)
    assert {payload.metadata[KEY_ID].decode() for payload in payloads} == {keys.current()[0]}
    assert not [payload for payload in payloads if b"Once" in payload.data or b"plan" in payload.data]
    assert await both.decode(payloads) == VALUES


async def test_readable_and_encrypted_values_mix_in_both_directions(keys: PayloadKeys) -> None:
    plain, encrypted = converter(None), converter(keys)
    off_again = converter(keys, encrypts=False)
    mixed = [*await plain.encode(VALUES), *await encrypted.encode(VALUES), *await off_again.encode(VALUES)]
    assert mixed[-len(VALUES) :] == mixed[: len(VALUES)]
    for reader in (encrypted, off_again):
        assert await reader.decode(mixed) == VALUES * 3


async def test_errors_are_hidden_too_with_their_causes(keys: PayloadKeys) -> None:
    try:
        try:
            raise ApplicationError("the answer was 'no'", {"text": "no"}, type="inner")
        except ApplicationError as cause:
            raise ApplicationError("the node failed: no", type="node_failed", non_retryable=True) from cause
    except ApplicationError as raised:
        error = raised
    failure = Failure()
    await converter(keys).encode_failure(error, failure)
    text = failure.SerializeToString()
    assert b"no" not in text.replace(b"node_failed", b"")
    assert b"node_failed" in text  # codes stay: retry policies look at them
    for reader in (converter(keys), converter(keys, encrypts=False)):
        copy = Failure.FromString(text)
        found = await reader.decode_failure(copy)
        assert isinstance(found, ApplicationError)
        assert isinstance(found.cause, ApplicationError)
        assert (found.message, found.type, found.non_retryable) == ("the node failed: no", "node_failed", True)
        assert (found.cause.message, found.cause.details) == ("the answer was 'no'", ({"text": "no"},))


async def test_errors_from_before_encryption_stay_readable(keys: PayloadKeys) -> None:
    failure = Failure()
    await converter(None).encode_failure(ApplicationError("as it was", type="t"), failure)
    found = await converter(keys).decode_failure(failure)
    assert str(found) == "t: as it was"


async def test_missing_key_is_tried_again_and_says_what_to_restore(keys: PayloadKeys, tmp_path: Path) -> None:
    other = open_payload_keys(tmp_path / "other", b"s" * 32, encrypts=True, may_create=True)
    assert other is not None
    payloads = await converter(other).encode(["x"])
    with pytest.raises(ApplicationError, match=r"payload_keys\.json") as refused:
        await converter(keys).decode(payloads)
    assert (refused.value.type, refused.value.non_retryable) == ("payload_keys_unusable", False)
    assert refused.value.next_retry_delay is not None


async def test_size_grows_by_little(keys: PayloadKeys) -> None:
    """A plan may have 1,000,000 bytes, and with what a run carries over 1.9 MB of the server's 2 MiB."""
    (payload,) = await converter(keys).encode([bytes(1_900_000)])
    assert payload.ByteSize() < 1_901_000


@pytest.mark.skipif(not LONG, reason="a measurement")
async def test_encryption_costs_little(keys: PayloadKeys) -> None:
    plain, encrypted = converter(None), converter(keys)
    small, large = [{"text": "x" * 500}], [bytes(1_000_000)]

    async def cost_us(which: DataConverter, values: list[object], times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            await which.decode(await which.encode(values))
        return (time.perf_counter() - began) / times * 1e6

    added = [await cost_us(encrypted, v, n) - await cost_us(plain, v, n) for v, n in ((small, 2_000), (large, 50))]
    print(f"encrypting and decrypting adds {added[0]:.0f} us to 0.5 KB, {added[1]:.0f} us to 1 MB")
    assert added[0] < 500
    assert added[1] < 20_000
