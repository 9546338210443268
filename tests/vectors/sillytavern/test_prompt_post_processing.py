"""Recorded cases of post-processing."""

from __future__ import annotations

import pytest

from innkeeper.nodes.tavern.prompts.post_processing import Names, post_process
from tests.vectors.sillytavern.recorded import Case, load, name_of


@pytest.mark.parametrize("case", load("prompt_post_processing"), ids=name_of)
def test_recorded_case(case: Case) -> None:
    given = case["input"]
    names = Names(given["user"], given["char"])
    assert post_process(given["messages"], given["type"], names) == case["expected"]
