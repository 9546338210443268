"""Other values for the interface inputs of a plan that is compiled already. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from innkeeper.nodes.errors import Problem
from innkeeper.workflows.compiler.literals import Literals, Place
from innkeeper.workflows.compiler.secrets_plan import Keys
from innkeeper.workflows.plan import RunPlan


def with_new_inputs(
    plan: RunPlan, inputs: Mapping[str, Any], literals: Literals
) -> tuple[RunPlan, tuple[Problem, ...]]:
    """The plan with these values, and a warning for every key that it does not have.

    A value that feeds a secret slot becomes a reference; `literals` gathers the secret and what is large.
    """
    secret = _secret_keys(plan)
    known = dict.fromkeys((*secret, *plan.interface_inputs))
    given = {
        key: literals.pack(value, secret.get(key, ()), Place(slot=key)) for key, value in inputs.items() if key in known
    }
    names = ", ".join(repr(str(key)) for key in known) or "none"
    problems = tuple(
        Problem("unknown_input", f"the run had no input {key!r}; its inputs are {names}", level="warning", slot=key)
        for key in inputs
        if key not in known
    )
    return replace(plan, interface_inputs={**plan.interface_inputs, **given}), problems


def _secret_keys(plan: RunPlan) -> dict[str, Keys]:
    """Every interface input that core:GroupInput gives, with its secret keys."""
    found: dict[str, Keys] = {}
    for node in plan.nodes:
        if node.interface_values:
            for key, slot in node.outputs.items():
                found[key] = (*found.get(key, ()), *slot.seal)
    return found
