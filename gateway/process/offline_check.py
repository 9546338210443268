"""The compiler's verdict on a workflow without a gateway, as `innkeeper validate` shows it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innkeeper.gateway.storage.workflow_library import WorkflowFiles
from innkeeper.nodes.catalogue.plugins import Catalogue
from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.workflows.compiler.adapt import AdaptedWorkflows, adapt_slots
from innkeeper.workflows.compiler.compile import compile_document
from innkeeper.workflows.document.model import parse_document, with_inputs


@dataclass(frozen=True)
class Verdict:
    """Every problem of a workflow, warnings included; `node_count` counts the nodes that would run."""

    is_valid: bool
    problems: tuple[Problem, ...]
    node_count: int = 0


def check_document(raw: Mapping[str, Any], catalogue: Catalogue, data_dir: Path) -> Verdict:
    """Compile a workflow that was read from JSON. One that cannot run is an answer here, not an error.

    Args:
        data_dir: Where the stored workflows are that its groups may refer to.
    """
    load = AdaptedWorkflows(catalogue, WorkflowFiles.of(data_dir).load)
    try:
        given = raw.get("inputs") if isinstance(raw, Mapping) else None
        parsed, unknown = with_inputs(parse_document(raw), given if isinstance(given, Mapping) else {})
        document, odd = adapt_slots(parsed, catalogue, load)
        compiled = compile_document(document, catalogue, load, secret_id=_name_of_secret)
    except InvalidWorkflow as error:
        return Verdict(False, error.problems)
    return Verdict(True, (*unknown, *odd, *compiled.warnings), len(compiled.plan.nodes))


def _name_of_secret(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
