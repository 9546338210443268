"""Error bodies, and problems of workflow documents."""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import with_config
from typing_extensions import TypeAliasType, TypedDict

from innkeeper.gateway.api.models.base import CLOSED, FreeObject

ProblemLevel = TypeAliasType("ProblemLevel", Literal["error", "warning"])


@with_config(CLOSED)
class Problem(TypedDict):
    """One thing wrong (`error`) or odd (`warning`) in a workflow document."""

    code: str
    """Stable word for the kind of problem, such as `unknown_node_type`."""
    message: str
    """What was found, what exists, what to do."""
    level: ProblemLevel
    node: NotRequired[str]
    """Id of the node."""
    slot: NotRequired[str]
    """Key of the slot, or of the interface input."""
    edge: NotRequired[str]
    """Id of the edge."""


@with_config(CLOSED)
class Error(TypedDict):
    """The body of every error of this API."""

    error: str
    """A sentence for the user: what was found, what exists, what to do."""
    code: str
    """Stable word for programs. Each response lists its codes."""
    details: NotRequired[FreeObject]
    """More for programs, such as `limit` of `too_large` or `reference` of `internal_error`."""
    problems: NotRequired[list[Problem]]
    """Every problem of a document that cannot run, warnings included."""


@with_config(CLOSED)
class InterruptRefused(TypedDict):
    """A run that cannot be interrupted. `message` and `error` are the same sentence."""

    success: Literal[False]
    message: str
    error: str
    code: str
    details: NotRequired[FreeObject]
