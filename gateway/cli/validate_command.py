"""`innkeeper validate`: the compiler's verdict on a file, without a gateway."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from innkeeper.gateway.cli.run_command import read_document
from innkeeper.gateway.storage.workflow_library import WorkflowFiles
from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.nodes.plugins import Catalogue
from innkeeper.workflows.compiler.adapt import AdaptedWorkflows, adapt_slots
from innkeeper.workflows.compiler.compile import compile_document
from innkeeper.workflows.document.model import parse_document


@dataclass(frozen=True)
class CheckedFile:
    """Every problem of a file, warnings included; `node_count` counts the nodes that would run."""

    is_valid: bool
    problems: tuple[Problem, ...]
    node_count: int = 0


def check_file(file: Path, catalogue: Catalogue, workflows: WorkflowFiles) -> CheckedFile:
    """Read and compile a workflow file. A file that cannot run is an answer here, not an error.

    `workflows` are the stored ones that its groups may refer to.
    """
    load = AdaptedWorkflows(catalogue, workflows.load)
    try:
        document, odd = adapt_slots(parse_document(read_document(file)), catalogue, load)
        compiled = compile_document(document, catalogue, load, secret_id=_name_of_secret)
    except InvalidWorkflow as error:
        return CheckedFile(False, error.problems)
    return CheckedFile(True, (*odd, *compiled.warnings), len(compiled.plan.nodes))


def _name_of_secret(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
