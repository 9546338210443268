from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.workflows.engine.workflow_context import RunStart
from innkeeper.workflows.payload_converter import InnkeeperPayloadConverter
from innkeeper.workflows.signing import (
    HEADER,
    Origin,
    Signer,
    UnknownKey,
    activity_message,
    signal_message,
    start_message,
    update_message,
)

NOW = datetime(2026, 11, 29, tzinfo=UTC)
CONVERTER = InnkeeperPayloadConverter()
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=True)
    | st.text(st.characters(codec=None, exclude_categories=[]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@dataclass
class Keys:
    """Keys at hand."""

    keys: dict[str, bytes]
    exempt: str = ""
    made_at: datetime = NOW

    def current(self) -> tuple[str, bytes]:
        return next(iter(self.keys.items()))

    def find(self, key_id: str) -> bytes | None:
        return self.keys.get(key_id)

    def is_exempt(self, run: str, began_at: float) -> bool:
        return run == self.exempt and began_at <= self.made_at.timestamp()


def genuine(signer: Signer, headers: Any, message: bytes, run: str = "r", began_at: datetime = NOW) -> bool:
    return signer.is_genuine(headers, message, workflow_id=run, began_at=began_at)


def travelled(value: Any, hint: type | None = None) -> Any:
    """What arrives of a value that is sent."""
    payload = CONVERTER.to_payloads([value])[0]
    return CONVERTER.from_payloads([payload], [hint] if hint else None)[0]


@given(VALUES, VALUES)
def test_a_message_is_the_same_before_and_after_its_values_travel(one: Any, other: Any) -> None:
    start = RunStart(inputs={"a": one}, repeat={"b": other})
    origin = Origin("r")
    assert start_message(origin, b"p", start) == start_message(origin, b"p", travelled(start, RunStart))
    args = [one, other]
    assert activity_message("r", "t", "a", args) == activity_message("r", "t", "a", [travelled(one), travelled(other)])


def test_a_version_with_more_fields_takes_what_was_signed_before() -> None:
    @dataclass(frozen=True)
    class LaterStart(RunStart):
        more: str = ""

    origin = Origin("r")
    assert start_message(origin, b"p", RunStart("me")) == start_message(origin, b"p", LaterStart("me"))
    assert start_message(origin, b"p", RunStart("me")) != start_message(origin, b"p", LaterStart("me", more="x"))


def start(user: str = "me", plan: bytes = b"p", **origin: Any) -> bytes:
    return start_message(Origin(**{"workflow_id": "r", **origin}), plan, RunStart(user))


def test_every_part_of_a_message_counts() -> None:
    messages = [
        start(),
        start("you"),
        start(plan=b"q"),
        start(workflow_id="s"),
        start(parent=("r", "t")),
        start(parent=("t", "r")),
        start(before="t"),
        start_message(Origin("r"), b"p", RunStart("me", path="x")),
        start_message(Origin("r"), b"p", RunStart("me", run="x")),
        activity_message("r", "t", "a", [1]),
        activity_message("r", "t", "b", [1]),
        activity_message("r", "u", "a", [1]),
        activity_message("s", "t", "a", [1]),
        activity_message("r", "t", "a", [[1]]),
        signal_message("r", "a", [1]),
        update_message("r", "a", [1]),
    ]
    assert len(set(messages)) == len(messages)


def test_bodies_cannot_be_shifted_into_each_other() -> None:
    assert start_message(Origin("r"), b'a\n"x"', RunStart("y")) != start_message(Origin("r"), b"a", RunStart("x"))


def test_what_is_signed_is_genuine_and_nothing_else() -> None:
    signer = Signer(Keys({"k1": b"1" * 32}))
    headers = signer.signed({}, b"message")
    assert genuine(signer, headers, b"message")
    assert not genuine(signer, headers, b"massage")
    assert not genuine(signer, {}, b"message")
    assert not genuine(Signer(Keys({"k1": b"2" * 32})), headers, b"message")


def test_each_signature_is_the_hmac_of_its_message_whatever_was_signed_before_with_its_key() -> None:
    for key in (b"1" * 32, b"2" * 32, b"1" * 32):
        signer = Signer(Keys({"k": key}))
        for message in (b"one", b"", b"two" * 5_000, b"one"):
            expected = f"k:{hmac.digest(key, message, 'sha256').hex()}".encode()
            assert signer.signed({}, message)[HEADER].data == expected


@pytest.mark.parametrize("change", [lambda data: b"", lambda data: data[:-1], lambda data: data.partition(b":")[0]])
def test_a_mutilated_signature_is_refused(change: Callable[[bytes], bytes]) -> None:
    signer = Signer(Keys({"k1": b"1" * 32}))
    headers = signer.signed({}, b"message")
    headers[HEADER].data = change(headers[HEADER].data)
    assert not genuine(signer, headers, b"message")


def test_an_older_key_counts_for_as_long_as_it_is_there() -> None:
    headers = Signer(Keys({"k1": b"1" * 32})).signed({}, b"message")
    assert genuine(Signer(Keys({"k2": b"2" * 32, "k1": b"1" * 32})), headers, b"message")
    with pytest.raises(UnknownKey, match="'k1'"):
        genuine(Signer(Keys({"k2": b"2" * 32})), headers, b"message")


def test_a_run_from_before_is_taken_with_its_groups_and_without_what_began_later() -> None:
    signer = Signer(Keys({"k1": b"1" * 32}, exempt="r"))
    assert genuine(signer, {}, b"any", "r")
    assert genuine(signer, {}, b"any", "r/g/h")
    assert not genuine(signer, {}, b"any", "r2/g")
    assert not genuine(signer, {}, b"any", "r/g", NOW + timedelta(hours=1))
