"""Recorded cases of example dialogue."""

from __future__ import annotations

import pytest

from innkeeper.nodes.tavern.macros import MacroEnvironment, Macros
from innkeeper.nodes.tavern.prompts.examples import Speakers, read_block, split_examples
from tests.vectors.sillytavern.recorded import Case, load, name_of


@pytest.mark.parametrize("case", load("example_messages"), ids=name_of)
def test_recorded_case(case: Case) -> None:
    given = case["input"]
    macros = Macros(MacroEnvironment(user=given["user"], char=given["char"]))
    blocks = split_examples(macros(given["mes_example"]))
    speakers = Speakers(given["user"], given["char"])
    messages = [
        [{"role": "system", "content": line.text, "name": line.name} for line in read_block(block, speakers)]
        for block in blocks
    ]
    assert {"blocks": list(blocks), "messages": messages} == case["expected"]
