"""How often and how long a node may run, by what its document and its type say."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.definition import NodeDefinition, Retry
from innkeeper.workflows.compiler.node_limits import NO_TOTAL_S, max_timeouts_of, timeouts_of
from innkeeper.workflows.document.model import DocumentNode


def definition(**fields: Any) -> NodeDefinition:
    return NodeDefinition("X", "toys", "X", "X", namespace="toy", **fields)


def document(**fields: Any) -> DocumentNode:
    return DocumentNode("n", "toy:X", **fields)


@pytest.mark.parametrize(
    ("given", "typed", "expected"),
    [
        ({}, {}, (300, 900)),
        ({}, {"timeout_s": 60}, (60, 180)),
        ({}, {"timeout_s": 60, "total_timeout_s": 100}, (60, 100)),
        ({"timeout_seconds": 10.0}, {"timeout_s": 60, "total_timeout_s": 100}, (10, 30)),
        ({"timeout_seconds": 10.0, "total_timeout_seconds": 11.0}, {}, (10, 11)),
        ({"total_timeout_seconds": 5.0}, {"timeout_s": 60, "total_timeout_s": 100}, (60, 5)),
        # A stream may take as long as it goes on, unless somebody says otherwise.
        ({}, {"timeout_counts": "silence"}, (300, NO_TOTAL_S)),
        ({"timeout_seconds": 10.0}, {"timeout_counts": "silence"}, (10, NO_TOTAL_S)),
        ({"timeout_seconds": 10.0}, {"timeout_counts": "silence", "total_timeout_s": 99}, (10, 99)),
        ({"total_timeout_seconds": 7.0}, {"timeout_counts": "silence"}, (300, 7)),
    ],
)
def test_time_for_one_attempt_and_for_all(
    given: dict[str, Any], typed: dict[str, Any], expected: tuple[float, float]
) -> None:
    assert timeouts_of(document(**given), definition(**typed)) == expected


@pytest.mark.parametrize(
    ("retry", "typed", "expected"),
    [
        (None, {}, 2),
        ({"backoff": 3}, {}, 2),
        (None, {"retry": Retry(maximum_attempts=9)}, 2),
        (None, {"retry": Retry(maximum_attempts=1)}, 1),
        # How often in all the user says for time-outs as well.
        ({"maximumAttempts": 1}, {}, 1),
        ({"maximumAttempts": 7}, {}, 7),
    ],
)
def test_a_time_out_is_repeated_once_unless_the_document_counts_attempts(
    retry: dict[str, Any] | None, typed: dict[str, Any], expected: int
) -> None:
    assert max_timeouts_of(document(retry=retry), definition(**typed)) == expected
