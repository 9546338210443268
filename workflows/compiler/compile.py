"""From a document to a plan, once, at the gate; or every problem of the document at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.workflows.compiler.graph import Graph
from innkeeper.workflows.compiler.groups import (
    MAX_DEPTH,
    MAX_EXPANDED_NODES,
    SHOWN_NODES,
    Extent,
    Groups,
    LoadWorkflow,
)
from innkeeper.workflows.compiler.literals import Literals, SecretUse, SecretValue
from innkeeper.workflows.compiler.planner import Planner
from innkeeper.workflows.compiler.resolve import Catalogue
from innkeeper.workflows.document.limits import MAX_PATH_BYTES
from innkeeper.workflows.document.model import WorkflowDocument
from innkeeper.workflows.plan import MAX_PLAN_BYTES, RunPlan

__all__ = ["Catalogue", "Compiled", "SecretValue", "compile_document"]


@dataclass(frozen=True)
class Compiled:
    """A plan and what must be stored before it runs.

    Attributes:
        secrets: Secrets that were typed into the document.
        references: Stored secrets that the document refers to: whoever stores them says whether it may.
        blobs: sha256 to JSON bytes of large literals.
        warnings: Odd things that do not keep the workflow from running.
        encoded: `plan.encode()`, the argument that the run is started with.
    """

    plan: RunPlan
    secrets: tuple[SecretValue, ...] = ()
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()
    encoded: bytes = field(default=b"", repr=False)
    references: tuple[SecretUse, ...] = ()


def compile_document(
    document: WorkflowDocument,
    catalogue: Catalogue,
    load_workflow: LoadWorkflow | None = None,
    *,
    secret_id: Callable[[str], str],
    owner: str = "default_user",
) -> Compiled:
    """Resolve everything a run needs to know into a plan. Pure: nothing is read or written.

    Args:
        load_workflow: Finds the workflows that groups refer to.
        secret_id: Names a secret's value; equal values should get equal names.
        owner: User to whom the document's secrets belong.

    Raises:
        InvalidWorkflow: With every problem, warnings included, when at least one is an error.
    """
    literals = Literals(secret_id, owner)
    groups: Groups[Graph] = Groups(
        load_workflow or (lambda workflow_id: None),
        lambda inner, style: Graph(inner, catalogue, groups, style),
        lambda graph, asked: Planner(graph, literals, groups, asked).group(),
    )
    graph = Graph(document, catalogue, groups)
    problems = graph.problems(document.id)
    if not any(problem.level == "error" for problem in problems):
        problems += _extent_problems(groups.extent(graph))
    if any(problem.level == "error" for problem in problems):
        raise InvalidWorkflow(problems)
    plan = Planner(graph, literals, groups, {}).run()
    problems += literals.problems
    if any(problem.level == "error" for problem in problems):
        raise InvalidWorkflow(problems)
    encoded = plan.encode()
    if len(encoded) > MAX_PLAN_BYTES:
        raise InvalidWorkflow([*problems, _too_large(len(encoded))])
    return Compiled(
        plan,
        secrets=tuple(literals.secrets.values()),
        blobs=literals.blobs,
        warnings=tuple(problems),
        encoded=encoded,
        references=tuple(literals.references),
    )


def _extent_problems(extent: Extent) -> list[Problem]:
    problems = []
    if extent.levels > MAX_DEPTH:
        message = f"groups are nested {extent.levels} levels deep; the limit is {MAX_DEPTH}; nest less"
        problems.append(Problem("group_too_deep", message))
    if extent.nodes > MAX_EXPANDED_NODES:
        shown = extent.nodes if extent.nodes < SHOWN_NODES else f"more than {SHOWN_NODES}"
        message = f"with its groups the workflow has {shown} nodes; the limit is {MAX_EXPANDED_NODES}"
        problems.append(Problem("too_many_nodes", message))
    if extent.path > MAX_PATH_BYTES:
        found = f"the longest path of a node through groups has {extent.path} bytes"
        message = f"{found}; the limit is {MAX_PATH_BYTES}"
        problems.append(Problem("path_too_long", f"{message}; shorten ids or nest less"))
    return problems


def _too_large(size: int) -> Problem:
    message = f"the compiled workflow has {size} bytes; the limit is {MAX_PLAN_BYTES}; split it or shorten its values"
    return Problem("plan_too_large", message)
