"""The error tree. Codes are part of the API; translation to Temporal and HTTP happens at two borders only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


class InnkeeperError(Exception):
    """Root of every error this project raises on purpose.

    Attributes:
        code: Stable machine-readable word.
        message: What was found, what exists, what to do. Never a secret, never user content.
        details: JSON-safe extras.
        retryable: Whether trying the same again later may help.
    """

    code = "internal_error"
    retryable = False

    def __init__(self, message: str, *, code: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        if code is not None:
            self.code = code


@dataclass(frozen=True)
class Problem:
    """One thing wrong (`error`) or odd (`warning`) in a workflow document."""

    code: str
    message: str
    level: Literal["error", "warning"] = "error"
    node: str | None = None
    slot: str | None = None
    edge: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


class InvalidWorkflow(InnkeeperError):
    """The document cannot run. `problems` holds every problem found, warnings included."""

    code = "invalid_workflow"

    def __init__(self, problems: Sequence[Problem], message: str | None = None) -> None:
        self.problems = tuple(problems)
        errors = [problem for problem in self.problems if problem.level == "error"]
        count = f"the workflow has {len(errors)} problems; first: " if len(errors) > 1 else ""
        super().__init__(message or f"{count}{errors[0].message}")


class NodeError(InnkeeperError):
    """One node failed. Tried again unless it says `retryable=False`, like any other exception of a node."""

    code = "node_failed"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message, code=code, details=details)
        if retryable is not None:
            self.retryable = retryable


class NodeInputError(NodeError):
    """An input value cannot be used; trying again will not help."""

    code = "invalid_input"
    retryable = False


class InvalidNode(NodeError):
    """The node itself is at fault (no such type here, an output that is not data); trying again will not help."""

    code = "invalid_output"
    retryable = False


class NodeTimeout(NodeError):
    code = "timeout"


class ProviderError(NodeError):
    """A model provider or another remote service answered with an error.

    Attributes:
        retry_after: Seconds the provider asked us to wait, or None.
    """

    code = "server_error"
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, details=details, retryable=retryable)
        self.retry_after = retry_after


class NodeMustWait(NodeError):
    """The node has to be tried again after `delay_s` (429, no channel free). Not counted as a failure."""

    code = "waiting"

    def __init__(self, message: str, *, delay_s: float, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, details=details)
        self.delay_s = delay_s


class BudgetReached(NodeError):
    """A call would go past what may be spent. The node is parked until somebody raises the limit or stops the run.

    `details`: `{scope: run | workflow | user | day, limit: {tokens?, money?}, used: {tokens, money?},
    needed?: {tokens?, money?}}`; `needed` is what the call may take at most.
    """

    code = "budget_reached"
    retryable = False


class PluginError(InnkeeperError):
    code = "plugin_error"


class PluginLoadError(PluginError):
    """A plugin or node file cannot be loaded; kept per plugin and shown by the API."""

    code = "plugin_load_failed"

    def __init__(self, message: str, *, plugin: str | None = None, file: str | None = None) -> None:
        super().__init__(message, details={"plugin": plugin, "file": file})
        self.plugin = plugin
        self.file = file


class DuplicateNodeType(PluginError):
    code = "duplicate_node_type"


class RunError(InnkeeperError):
    """The request does not fit the run."""

    code = "run_error"


class RunNotFound(RunError):
    code = "run_not_found"


class RunNotActive(RunError):
    code = "run_not_active"


class RunStillActive(RunError):
    code = "run_still_active"


class ResourceError(InnkeeperError):
    """A resource (`user://`, `shared://`, `system://`), blob or secret is missing, too large or out of bounds."""

    code = "resource_error"


class RequestRefused(InnkeeperError):
    """An outgoing request goes to an address that the operator does not allow."""

    code = "request_refused"
