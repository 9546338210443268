"""Settings of core:ForEach and core:Loop that name slots of the workflow they run."""

from __future__ import annotations

from collections.abc import Iterable

from innkeeper.nodes.errors import Problem
from innkeeper.workflows.compiler.resolve import ResolvedNode
from innkeeper.workflows.document.model import WorkflowDocument


def repeat_problems(node: ResolvedNode, runs: WorkflowDocument | None) -> list[Problem]:
    """Problems of a node that repeats the workflow `runs`; a missing or bypassed one is no matter here."""
    if runs is None or node.node.bypassed:
        return []
    if node.definition.runs_workflow == "each":
        found = _unknown(node, "itemKey", "input", runs.interface_inputs)
        return found + _unknown(node, "resultKey", "output", runs.output_interface_mappings)
    if node.definition.runs_workflow != "loop":
        return []
    if node.config.get("conditionKey") in (None, ""):
        message = f"node {node.id!r} (core:Loop) needs a value for setting 'conditionKey'; set it"
        unset = "conditionKey" in node.config
        return [Problem("missing_input", message, node=node.id, slot="conditionKey")] if unset else []
    return _unknown(node, "conditionKey", "output", runs.output_interface_mappings)


def _unknown(node: ResolvedNode, setting: str, what: str, names: Iterable[str]) -> list[Problem]:
    key = node.config.get(setting)
    if not isinstance(key, str) or key in names or (not key and setting != "conditionKey"):
        return []
    known = ", ".join(repr(name) for name in names) or "none"
    reference = node.config.get("referencedWorkflowId")
    message = f"node {node.id!r}: setting {setting!r} is {key!r}, which is no {what} of the workflow {reference!r}"
    return [Problem("unknown_slot", f"{message}; {what}s are {known}", node=node.id, slot=setting)]
