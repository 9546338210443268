"""Which nodes of a plan the result cache may answer for."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.definition import Input
from tests.workflows.toy_graphs import TEXT, compiled, node, toy

SURE = toy("Sure", {"a": Input("STRING")}, {"text": TEXT}, deterministic=True)


def cached(*nodes: dict[str, Any], ends: tuple[str, ...] = ()) -> list[str]:
    plan = compiled(list(nodes), *ends, types=(SURE,)).plan
    assert type(plan).decode(plan.encode()) == plan
    return [str(item.id) for item in plan.nodes if item.cached]


def test_document_has_the_last_word_over_the_node_type() -> None:
    nodes = (node("a", "Sure"), node("b", "Sure", cache=False), node("c", "Echo"), node("d", "Echo", cache=True))
    assert cached(*nodes) == ["a", "d"]
    assert cached(node("a", "Sure", cache=None)) == ["a"]


@pytest.mark.parametrize(
    ("kind", "why"), [("Emit", "a stream"), ("Relay", "a stream"), ("Key", "secrets"), ("Vault", "secrets")]
)
def test_wish_that_cannot_be_is_a_warning(kind: str, why: str) -> None:
    found = compiled([node("a", kind, cache=True)])
    (problem,) = (item for item in found.warnings if item.code == "not_cached")
    assert (problem.level, problem.node, why in problem.message) == ("warning", "a", True)
    assert not found.plan.nodes[0].cached


def test_neither_bypassed_nodes_nor_those_that_seal_what_they_give_are_kept() -> None:
    assert cached(node("a", "Sure", bypassed=True)) == []
    assert cached(node("a", "Sure"), node("k", "Key"), ends=("a.text > k.api_key",)) == []
