"""The workflows that a document runs as nodes: each read, checked and compiled once, however often it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Generic, Literal, Protocol, TypeVar

import orjson

from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.workflows.compiler.resolve import REFERENCE, ResolvedNode
from innkeeper.workflows.compiler.secrets_plan import Keys
from innkeeper.workflows.document.limits import id_bytes
from innkeeper.workflows.document.model import WorkflowDocument
from innkeeper.workflows.plan import RunPlan

LoadWorkflow = Callable[[str], WorkflowDocument | None]
Style = Literal["group", "repeated"]
"""A group is joined to streams outside; a repeated workflow gets and gives whole values."""
MAX_DEPTH = 64
MAX_EXPANDED_NODES = 100_000
SHOWN_NODES = 10**9
"""Nodes that are still counted out in a message: groups that double at each level have numbers of many lines."""
MAX_INNER_PROBLEMS = 100
"""Of one workflow that a node runs."""
MAX_KEPT = 10_000
MAX_NUMBER_BYTES = 7
"""Of the number of an item or round, with its slash."""


class ResolvedGraph(Protocol):
    """What the groups need of a resolved document (`graph.Graph`, which needs the groups for the nodes in it)."""

    nodes: dict[str, ResolvedNode]

    def problems(self, root_id: str | None = None) -> list[Problem]: ...


GraphT = TypeVar("GraphT", bound=ResolvedGraph)


@dataclass(frozen=True)
class Inner:
    """A compiled workflow below a node.

    Attributes:
        secret_inputs: Interface input to its secret keys.
        kept: Producers inside whose streams are consumed inside.
    """

    hash: str
    plan: RunPlan
    secret_inputs: Mapping[str, Keys]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class Extent:
    """How large a graph is with everything below it, each use of a group counted: nodes, the bytes of its longest
    path, and how many levels of graphs are below it."""

    nodes: int = 0
    path: int = -1
    levels: int = 0


@dataclass
class Groups(Generic[GraphT]):
    """The stored workflows that one compilation needs.

    Attributes:
        load: Finds a stored workflow by its id, None when there is none; InvalidWorkflow when it is no workflow.
        make_graph: Resolves a document.
        compile_graph: Writes the plan of a graph, given which secret keys are asked of its outputs; also gives the
            secret keys of its inputs.
        packed: Hash to plan, as `RunPlan.pack` gives it, of every workflow compiled so far.
    """

    load: LoadWorkflow
    make_graph: Callable[[WorkflowDocument, Style], GraphT]
    compile_graph: Callable[[GraphT, Mapping[str, Keys]], tuple[RunPlan, Mapping[str, Keys]]]
    packed: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _documents: dict[str, WorkflowDocument | InvalidWorkflow | None] = field(default_factory=dict)
    _graphs: dict[tuple[str, Style], GraphT] = field(default_factory=dict)
    _compiled: dict[tuple[str, Style, tuple[tuple[str, Keys], ...]], Inner] = field(default_factory=dict)
    _checked: set[tuple[str, Style]] = field(default_factory=set)
    _open: list[str] = field(default_factory=list)  # the workflows around the one that is checked now
    _extents: dict[str, Extent] = field(default_factory=dict)
    _compiling: set[str] = field(default_factory=set)
    _sound: dict[str, bool] = field(default_factory=dict)
    _reported: set[tuple[str, Problem]] = field(default_factory=set)
    _chains: dict[Problem, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    """A problem inside to the workflows it was found in, outermost first, and its bare message."""

    def document(self, workflow_id: str) -> WorkflowDocument | None:
        """A stored workflow; None when there is none, or when it cannot be read."""
        if workflow_id not in self._documents:
            try:
                self._documents[workflow_id] = self.load(workflow_id)
            except InvalidWorkflow as invalid:
                self._documents[workflow_id] = invalid
        found = self._documents[workflow_id]
        return found if isinstance(found, WorkflowDocument) else None

    def graph(self, node: ResolvedNode) -> GraphT | None:
        """The resolved workflow that a node runs; None when there is none."""
        workflow_id = reference_of(node)
        document = self.document(workflow_id) if workflow_id else None
        if document is None or workflow_id is None:
            return None
        key = (workflow_id, style_of(node))
        if key not in self._graphs:
            self._graphs[key] = self.make_graph(document, key[1])
        return self._graphs[key]

    # --- problems -------------------------------------------------------------------------------------------------

    def problems(self, node: ResolvedNode, root_id: str | None) -> list[Problem]:
        """What keeps a node from running its workflow. What is wrong inside is reported once, not for every use."""
        workflow_id = reference_of(node)
        if workflow_id is None or node.node.bypassed:
            return []
        chain = [*([root_id] if root_id else []), *self._open]
        if workflow_id in chain:
            return [_recursion(node, [*chain, workflow_id])]
        if len(self._open) >= MAX_DEPTH:
            message = f"node {node.id!r} runs a workflow in a workflow {MAX_DEPTH} levels deep; that is the limit"
            return [Problem("group_too_deep", message, node=node.id, slot=REFERENCE)]
        if self.document(workflow_id) is None:
            return self._unreadable(node, workflow_id)
        return self._inner_problems(node, workflow_id, root_id)

    def _unreadable(self, node: ResolvedNode, workflow_id: str) -> list[Problem]:
        found = self._documents[workflow_id]
        if not isinstance(found, InvalidWorkflow):
            message = f"node {node.id!r} runs the workflow {workflow_id!r}, which does not exist; choose another"
            return [Problem("group_not_found", message, node=node.id, slot=REFERENCE)]
        first = next(iter(found.problems)).message
        message = f"node {node.id!r} runs the workflow {workflow_id!r}, which cannot be read: {first}"
        return [Problem("group_invalid", message, node=node.id, slot=REFERENCE)]

    def _inner_problems(self, node: ResolvedNode, workflow_id: str, root_id: str | None) -> list[Problem]:
        key = (workflow_id, style_of(node))
        graph = self.graph(node)
        if key in self._checked or graph is None:
            return []
        self._checked.add(key)
        self._open.append(workflow_id)
        try:
            found = graph.problems(root_id)
        finally:
            self._open.pop()
        # The same workflow may be used as a group and for each item of a list: what both find is reported once.
        fresh = [problem for problem in found if (workflow_id, problem) not in self._reported]
        self._reported.update((workflow_id, problem) for problem in fresh)
        return [self._inside(node, workflow_id, problem) for problem in _foremost(fresh)]

    def _inside(self, node: ResolvedNode, workflow_id: str, problem: Problem) -> Problem:
        """A problem of the workflow that a node runs, as a problem of that node."""
        chain, bare = self._chains.get(problem, ((), problem.message))
        chain = (workflow_id, *chain)
        path = f"{node.id}/{problem.node}" if problem.node else node.id
        found = replace(problem, node=path, message=f"{_where(chain)}: {bare}")
        self._chains[found] = chain, bare
        return found

    # --- plans ----------------------------------------------------------------------------------------------------

    def compile(self, node: ResolvedNode, asked: Mapping[str, Keys]) -> Inner | None:
        """The plan of the workflow that a node runs, for what is asked of its outputs; None when it runs none."""
        graph, workflow_id = self.graph(node), reference_of(node)
        if graph is None or workflow_id is None:
            return None
        style = style_of(node)
        asked = {slot: keys for slot, keys in asked.items() if keys and style == "group"}
        key = (workflow_id, style, tuple(sorted(asked.items())))
        if key not in self._compiled:
            self._compiling.add(workflow_id)
            self._compiled[key] = self._compile(graph, asked)
            self._compiling.discard(workflow_id)
        return self._compiled[key]

    def _compile(self, graph: GraphT, asked: Mapping[str, Keys]) -> Inner:
        plan, secret_inputs = self.compile_graph(graph, asked)
        data = plan.pack()
        digest = sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
        self.packed[digest] = data
        return Inner(digest, plan, secret_inputs, plan.kept_streams)

    def secrets_of_bypassed(self, node: ResolvedNode) -> Mapping[str, Keys]:
        """The secret keys of the inputs of a group that does not run: what was typed into them stays secret.

        Nobody has checked what is in such a group; one that could not run has no secrets.
        """
        workflow_id, graph = reference_of(node), self.graph(node)
        if workflow_id is None or graph is None or workflow_id in self._compiling:
            return {}
        if not self._is_sound(node, workflow_id):
            return {}
        too_deep = len(self._compiling) + self.extent(graph).levels >= MAX_DEPTH
        inner = None if too_deep else self.compile(node, {})
        return inner.secret_inputs if inner is not None else {}

    def _is_sound(self, node: ResolvedNode, workflow_id: str) -> bool:
        if workflow_id not in self._sound:
            before = self._checked, self._reported
            self._checked, self._reported = set(), set()
            found = self._inner_problems(node, workflow_id, None)
            self._checked, self._reported = before
            self._sound[workflow_id] = not any(problem.level == "error" for problem in found)
        return self._sound[workflow_id]

    def extent(self, graph: GraphT) -> Extent:
        """Only for graphs without problems: it walks down every group, each once."""
        total = Extent(len(graph.nodes))
        for node in graph.nodes.values():
            below = Extent() if node.node.bypassed else self._extent_of(node)
            path = max(total.path, id_bytes(node.id) + 1 + below.path)
            total = Extent(total.nodes + below.nodes, path, max(total.levels, below.levels))
        return total

    def _extent_of(self, node: ResolvedNode) -> Extent:
        """What a node adds: nothing, or the graph that it runs."""
        inner, workflow_id = self.graph(node), reference_of(node)
        if inner is None or workflow_id is None:
            return Extent()
        if workflow_id not in self._extents:
            self._extents[workflow_id] = self.extent(inner)
        found = self._extents[workflow_id]
        number = 0 if style_of(node) == "group" else MAX_NUMBER_BYTES
        return Extent(found.nodes, found.path + number, found.levels + 1)


def _foremost(problems: list[Problem]) -> list[Problem]:
    """Those of one workflow that are told outside of it, errors before warnings: a hundred workflows that all run each
    other have thousands, and each would be told again at each level."""
    if len(problems) <= MAX_INNER_PROBLEMS:
        return problems
    return sorted(problems, key=lambda problem: problem.level != "error")[:MAX_INNER_PROBLEMS]


def reference_of(node: ResolvedNode) -> str | None:
    found = node.config.get(REFERENCE) if node.definition.runs_workflow else None
    return found if isinstance(found, str) and found else None


def style_of(node: ResolvedNode) -> Style:
    return "group" if node.definition.runs_workflow == "group" else "repeated"


def _recursion(node: ResolvedNode, chain: list[str]) -> Problem:
    shown = " -> ".join(repr(name) for name in chain[-10:])
    message = f"node {node.id!r} runs a workflow that is already open around it: {shown}"
    return Problem("group_recursion", message, node=node.id, slot=REFERENCE)


def _where(chain: tuple[str, ...]) -> str:
    """Where a problem is, from the outermost workflow to the innermost: of many levels the first and the last."""
    if len(chain) > 3:
        return f"in workflow {chain[0]!r}, {len(chain) - 1} levels below it in workflow {chain[-1]!r}"
    return ": ".join(f"in workflow {name!r}" for name in chain)
