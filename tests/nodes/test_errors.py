"""What errors say."""

from __future__ import annotations

import pytest

from innkeeper.nodes.errors import InvalidWorkflow, Problem


@pytest.mark.parametrize(
    ("count", "said"), [(1, "part 0 is missing"), (2, "the workflow has 2 problems; first: part 0 is missing")]
)
def test_message_of_an_invalid_workflow_counts_its_errors(count: int, said: str) -> None:
    errors = [Problem("missing_input", f"part {number} is missing") for number in range(count)]
    assert InvalidWorkflow([Problem("odd", "odd", level="warning"), *errors]).message == said
