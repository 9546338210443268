"""Workflows written in Python are the JSON that everything else reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from innkeeper import InvalidWorkflow, Workflow
from innkeeper.gateway.client.workflow_builder import Slot
from innkeeper.gateway.process.offline_check import check_document
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.errors import Problem
from innkeeper.workflows.document.model import parse_document

ROOT = Path(__file__).parents[3]


def problems(flow: Workflow, data_dir: Path) -> tuple[Problem, ...]:
    return check_document(flow.to_json(), load_catalogue(()), data_dir).problems


def greeting() -> Workflow:
    flow = Workflow("greeting", description="Says hello twice.")
    who = flow.input("who", default="world")
    first = flow.node("core:Template", "first", template="Hello {{ input }}!", input=who)
    second = flow.node("core:Template", template="Bye {{ input }}.", input=who, options={"title": "Bye"})
    both = flow.node("core:TextMerge", separator=" ", text_inputs=[first["text"], second["text"]])
    flow.output("text", both["merged_text"], "STRING")
    return flow


def test_what_it_writes_can_run(tmp_path: Path) -> None:
    assert problems(greeting(), tmp_path) == ()


def test_edges_orders_and_names_are_those_of_the_format() -> None:
    document = parse_document(greeting().to_json())
    nodes = {node.id: node for node in document.nodes}
    assert list(nodes) == ["in", "first", "Template", "TextMerge", "out"]
    assert nodes["Template"].display_name == "Bye"
    assert nodes["TextMerge"].inputs == {"separator": " "}
    order = nodes["TextMerge"].orders["text_inputs"]
    sources = {edge.id: (edge.source, edge.target_handle) for edge in document.edges}
    assert [sources[edge] for edge in order] == [("first", "text_inputs__0"), ("Template", "text_inputs__1")]
    assert document.interface_inputs["who"].value == "world"
    assert document.output_interface_mappings["text"].node == "TextMerge"


def test_no_two_nodes_lie_on_each_other() -> None:
    flow = greeting()
    for index in range(5):
        flow.node("core:Template", template=str(index))
    places = [tuple(node["position"].values()) for node in flow.to_json()["nodes"]]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("name", ["story", "chat", "approval", "hello"])
def test_documents_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    text = (ROOT / f"examples/{name}.json").read_text("utf-8")
    document = json.loads(text)
    document["of_others"] = {"b": [1, None], "a": "雪"}
    flow = Workflow.from_json(document)
    assert json.dumps(flow.to_json()) == json.dumps(document)
    flow.save(tmp_path / "saved.json")
    assert json.dumps(Workflow.load(tmp_path / "saved.json").to_json()) == json.dumps(document)


def test_a_document_is_gone_on_with(tmp_path: Path) -> None:
    flow = Workflow.load(ROOT / "examples/approval.json")
    louder = flow.node("core:Template", template="{{ input }}!!", input=flow["end"]["value"])
    flow.output("text", louder["text"], "STRING")
    assert problems(flow, tmp_path) == ()
    document = parse_document(flow.to_json())
    assert document.output_interface_mappings["text"].node == louder.id
    assert len({edge.id for edge in document.edges}) == len(document.edges)


def test_what_is_given_back_does_not_change_the_workflow() -> None:
    flow = greeting()
    flow.to_json()["nodes"].clear()
    values = {"a": [1]}
    flow.node("core:Template", "late", input=values)
    values["a"].append(2)
    assert next(node for node in flow.to_json()["nodes"] if node["id"] == "late")["inputValues"]["input"] == {"a": [1]}


def wrong(flow: Workflow, **arguments: Any) -> str:
    with pytest.raises(InvalidWorkflow) as refused:
        flow.node("core:Template", **arguments)
    return refused.value.problems[0].message


def test_mistakes_are_told_at_once_and_leave_nothing_behind() -> None:
    flow = greeting()
    before = flow.to_json()
    assert "'first' already" in wrong(flow, id="first")
    assert "unknown option 'retries'" in wrong(flow, options={"retries": 3})
    assert "'elsewhere', which is no node" in wrong(flow, input=Slot("elsewhere", "text"))
    assert "outputs of nodes only" in wrong(flow, input=[flow["first"]["text"], "text"])
    with pytest.raises(KeyError):
        flow["nowhere"]
    with pytest.raises(InvalidWorkflow):
        Workflow.from_json({"nodes": [{"id": 1}]})
    assert flow.to_json() == before
