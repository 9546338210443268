"""What is kept of a node's error."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.workflows.engine.node_errors import MAX_DETAILS_BYTES, bounded
from innkeeper.workflows.sdk_errors import worded


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            {"message": "[TMPRL1103] Attempted to upload payloads of 3000000 bytes", "code": "PayloadsTooLarge"},
            ("what is sent at once is larger than the engine takes; give or return less, or write it to a file and "
             "hand its path on", "value_too_large"),
        ),
        ({"message": "lost: [TMPRL1101] Potential deadlock", "code": "x"}, ("lost: Potential deadlock", "x")),
        ({"message": "half \ud83d", "code": "half \ud83d"}, ("half \ufffd", "half \ufffd")),
        ({"message": "fine", "code": "node_failed"}, ("fine", "node_failed")),
    ],
)  # fmt: skip
def test_messages_are_for_users(error: dict[str, Any], told: tuple[str, str]) -> None:
    kept = bounded(error)
    assert (kept["message"], kept["code"]) == told


def test_no_code_of_the_sdk_is_left() -> None:
    for message in ("[TMPRL1103] too large", "a [TMPRL1100] b [TMPRL1104] c"):
        assert "TMPRL" not in worded(message, "internal_error")[0]


@pytest.mark.parametrize(
    ("details", "kept"),
    [
        ({"x": ["half \ud83d", 10**30]}, {"x": ["half \ufffd", 1e30]}),
        ({"a": "x" * MAX_DETAILS_BYTES}, "they have 64008 bytes"),
        ({"a": "\ud83d" + "x" * MAX_DETAILS_BYTES}, "they have 64011 bytes"),
        ({"a": object()}, "they are no plain JSON"),
    ],
    ids=["odd", "large", "odd and large", "no JSON"],
)
def test_details_are_json_of_bounded_size(details: Any, kept: Any) -> None:
    found = bounded({"message": "", "details": details})["details"]
    assert found == kept if isinstance(kept, dict) else kept in found["omitted"]
