"""Submissions that were refused, as runs that have ended.

ComfyTavern's editor hears of nothing but runs: whatever keeps its graph from running must look like the end of one.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from innkeeper.gateway.errors import told_of
from innkeeper.gateway.runs.finisher import RunFinisher
from innkeeper.gateway.runs.live_preview import is_preview
from innkeeper.gateway.runs.origin import Origin
from innkeeper.gateway.runs.outcome import RunOutcome, error_info, fact_of
from innkeeper.gateway.runs.rate_limit import RateLimit
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.view import JsonObject
from innkeeper.gateway.store.runs import NewRun, RunStore
from innkeeper.nodes.errors import InvalidWorkflow, Problem

logger = logging.getLogger("innkeeper.gateway.runs")

MAX_NODES = 100
MAX_PROBLEMS = 100
MAX_TOLD = 10
"""Problems in the sentence for the run as a whole."""
MAX_SHORT_CHARS = 300
MAX_NODE_CHARS = 2_000
MAX_NAME_CHARS = 200
BURST = 50
PER_S = 2.0
"""Refused runs that are kept; more than these come only from a client that floods."""


@dataclass(frozen=True)
class Refusal:
    """A submission that was refused.

    Attributes:
        is_kept: There is a run of this id, with a log; else nobody but the client that is told now hears of it.
    """

    run: str
    is_kept: bool
    outcome: RunOutcome

    def events(self) -> Iterator[tuple[str, JsonObject]]:
        """Type and payload of what the run's log has, or would have."""
        for path, entry in self.outcome.nodes.items():
            kind, payload = fact_of(entry)
            yield kind, {"promptId": self.run, "nodeId": path, **payload}
        info = error_info(self.outcome, self.outcome.nodes)
        yield "EXECUTION_STATUS_UPDATE", {"promptId": self.run, "status": "error", "errorInfo": info}


class Refusals:
    """Keeps refused submissions."""

    def __init__(self, store: RunStore, run_log: RunLog, finisher: RunFinisher) -> None:
        self._store = store
        self._run_log = run_log
        self._finisher = finisher
        self._rate = RateLimit(BURST, PER_S)

    async def record(
        self, body: Mapping[str, object], user: str, error: Exception, *, origin: Origin | None = None
    ) -> Refusal:
        """Make a run of a submission and the error that it ended with. Raises nothing: its client must get an answer.

        Not kept when there are too many of them, or nothing can be written.

        Args:
            origin: The trigger that submitted it, which also says the run's id.
        """
        run, outcome = secrets.token_hex(10) if origin is None else origin.run, outcome_of_refusal(error)
        if not self._rate.take():
            return Refusal(run, False, outcome)
        try:
            await self._keep(run, body, user, outcome, origin)
        except Exception:  # the disk may be full, which may also be why the submission was refused
            logger.warning("a refused run could not be kept", extra={"run": run}, exc_info=True)
            return Refusal(run, False, outcome)
        return Refusal(run, True, outcome)

    async def _keep(
        self, run: str, body: Mapping[str, object], user: str, outcome: RunOutcome, origin: Origin | None
    ) -> None:
        self._run_log.check_writable()
        new = NewRun(
            id=run,
            user_id=user,
            plan=None,
            workflow_id=_name(body.get("workflowId")) or _name(body.get("id")),
            workflow_name=_name(body.get("name")) or _name(_metadata(body).get("workflowName")),
            # Should the gateway be killed before the rest is written, its next start closes the run.
            status=outcome.status,
            rerun={"preview": True} if is_preview(body) else None,
            origin=None if origin is None else origin.encode(),
        )
        if await self._store.add(new) is None:  # an earlier attempt got so far
            return
        await self._run_log.open(run, {})
        await self._finisher.close_refused(run, outcome)


def outcome_of_refusal(error: Exception) -> RunOutcome:
    """How a run ends that could not begin."""
    told = told_of(error)
    summary: JsonObject = {"message": told["error"], "code": told["code"]}
    if not isinstance(error, InvalidWorkflow):
        return RunOutcome("error", error=summary, is_refused=True)
    problems = [problem for problem in error.problems if problem.level == "error"]
    summary |= {"message": _sentence(problems), "problems": [problem.to_json() for problem in problems[:MAX_PROBLEMS]]}
    return RunOutcome("error", nodes=_failed_nodes(problems), error=summary, is_refused=True)


def _failed_nodes(problems: Sequence[Problem]) -> dict[str, JsonObject]:
    """Entries of a node table. A node ends once, so all its problems are one error."""
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.node and len(problem.node) <= MAX_NAME_CHARS and (problem.node in found or len(found) < MAX_NODES):
            found.setdefault(problem.node, []).append(problem)
    return {
        node: {
            "status": "error",
            "error": {
                "message": "; ".join(one.message for one in mine)[:MAX_NODE_CHARS],
                "code": mine[0].code,
                "retryable": False,
            },
            "attempts": 0,
        }
        for node, mine in found.items()
    }


def _sentence(problems: Sequence[Problem]) -> str:
    told = [problem.message[:MAX_SHORT_CHARS] for problem in problems[:MAX_TOLD]]
    if len(problems) == 1:
        return told[0]
    more = [f"and {len(problems) - MAX_TOLD} more"] if len(problems) > MAX_TOLD else []
    return f"the workflow has {len(problems)} problems: " + "; ".join([*told, *more])


def _name(value: object) -> str | None:
    return value[:MAX_NAME_CHARS] if isinstance(value, str) and value else None


def _metadata(body: Mapping[str, object]) -> Mapping[str, object]:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}
