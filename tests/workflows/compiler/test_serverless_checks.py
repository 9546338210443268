"""Which nodes of the built-in library may have the queue of serverless functions, and what is said about the others."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.call import SERVERLESS_ATTEMPT_S, SERVERLESS_QUEUE
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.compiler.compile import compile_document
from innkeeper.workflows.document.model import parse_document
from innkeeper.workflows.plan import PlannedNode

LIBRARY = load_catalogue(())
URL = {"method": "GET", "url": "http://example.org"}


class Catalogue:
    """The library and one type more."""

    def __init__(self, more: NodeDefinition) -> None:
        self._more = more

    def get_node(self, full_type: str) -> NodeDefinition | None:
        return self._more if full_type == self._more.full_type else LIBRARY.get_node(full_type)

    def get_definitions(self) -> list[NodeDefinition]:
        return [self._more, *LIBRARY.get_definitions()]


def own(**fields: Any) -> NodeDefinition:
    return NodeDefinition("Own", "Toys", "Own", "", namespace="toy", **fields)


def planned(node: dict[str, Any], definition: NodeDefinition | None = None) -> PlannedNode:
    document = parse_document({"nodes": [{"id": "n", **node}]})
    compiled = compile_document(document, Catalogue(definition or own()), secret_id=lambda value: value)
    return compiled.plan.nodes[0]


def refusal(node: dict[str, Any], definition: NodeDefinition | None = None) -> str:
    with pytest.raises(InvalidWorkflow) as caught:
        planned({"queue": SERVERLESS_QUEUE, **node}, definition)
    return "\n".join(problem.message for problem in caught.value.problems if problem.code == "unfit_for_serverless")


def test_request_with_a_short_limit_goes_there() -> None:
    node = planned({"fullType": "core:HttpRequest", "inputs": URL, "queue": SERVERLESS_QUEUE, "timeoutSeconds": 30})
    assert (node.queue, node.timeout_s) == (SERVERLESS_QUEUE, 30)


def test_request_that_outlasts_an_invocation_is_refused_and_told_the_limit() -> None:
    assert "set 'timeoutSeconds' to 60 or less" in refusal({"fullType": "core:HttpRequest", "inputs": URL})


@pytest.mark.parametrize(
    ("type", "reason"),
    [
        ("core:Delay", "waits or steers"),
        ("core:Approval", "waits or steers"),
        ("core:WaitForEvent", "waits or steers"),
        ("core:NodeGroup", "waits or steers"),
        ("core:GenericLlmRequest", "stream"),
        ("core:OpenAI", "stream"),
        ("core:StreamAggregator", "stream"),
        ("core:OpenAIChat", "does not say that it needs no model"),
        ("core:SaveText", "does not say that it needs no model"),
    ],
)
def test_waits_streams_models_and_files_are_kept_off(type: str, reason: str) -> None:
    if LIBRARY.get_node(type) is None:
        pytest.fail(f"the library has no {type!r} any more")
    assert reason in refusal({"fullType": type})


def test_own_type_says_that_it_fits_and_gets_the_limit_of_an_invocation() -> None:
    node = planned({"fullType": "toy:Own", "queue": SERVERLESS_QUEUE}, own(serverless=True))
    assert (node.queue, node.timeout_s) == (SERVERLESS_QUEUE, SERVERLESS_ATTEMPT_S)


def test_own_type_may_name_the_queue_itself() -> None:
    assert planned({"fullType": "toy:Own"}, own(serverless=True, queue=SERVERLESS_QUEUE)).queue == SERVERLESS_QUEUE
    assert "set 'serverless' in the definition" in refusal({"fullType": "toy:Own"}, own(queue=SERVERLESS_QUEUE))


def test_other_queues_and_bypassed_nodes_are_not_looked_at() -> None:
    assert planned({"fullType": "toy:Own", "queue": "gpu"}).queue == "gpu"
    planned({"fullType": "toy:Own", "queue": SERVERLESS_QUEUE, "bypassed": True})
