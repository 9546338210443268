"""Which versions of the worker socket's protocol go together, and what is said to one that does not."""

from __future__ import annotations

import pytest

from innkeeper.nodes.worker_protocol import MAX_REASON_BYTES, PROTOCOL_VERSION, VERSION_BEFORE_FIELD, version_refusal


@pytest.mark.parametrize("version", [PROTOCOL_VERSION, VERSION_BEFORE_FIELD])
def test_the_own_version_and_that_of_older_workers_are_spoken(version: int) -> None:
    assert version_refusal(version) is None


@pytest.mark.parametrize(("version", "older"), [(PROTOCOL_VERSION + 1, "gateway"), (PROTOCOL_VERSION - 1, "worker")])
def test_a_refusal_says_what_was_found_what_is_spoken_and_what_to_upgrade(version: int, older: str) -> None:
    reason = version_refusal(version) or ""
    assert f"protocol {version}" in reason
    assert f"gateway speaks {PROTOCOL_VERSION}" in reason
    assert reason.endswith(f"upgrade the {older}")


@pytest.mark.parametrize("version", [2**63 - 1, -(2**63)])
def test_a_refusal_fits_a_close_frame(version: int) -> None:
    assert len((version_refusal(version) or "").encode()) <= MAX_REASON_BYTES
