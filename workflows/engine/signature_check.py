"""What signs and checks in this process. A worker process installs it; without one, as in a replayer, all is taken."""

from __future__ import annotations

from collections.abc import Mapping

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

from innkeeper.workflows.signing import Origin, Signer, launch_message, start_message

NOT_STARTED_HERE = "not_started_here"
_log = workflow.LoggerAdapter(workflow.logger.logger, None)
_log.log_during_replay = True  # whoever cannot replay a run any more wants to know why
_signer: Signer | None = None


def install_signer(signer: Signer | None) -> None:
    """Set what signs and checks in this process; None takes everything."""
    global _signer
    _signer = signer


def installed_signer() -> Signer | None:
    return _signer


def start_refusal(plan: bytes, start: object) -> Exception | None:
    """Why the current workflow must not run; None when the gateway, or a workflow of its, has started it.

    Whether the error fails the workflow or its task, which is tried again, depends on its type. It is not raised here:
    what the constructor of a workflow raises leaves the SDK with a coroutine that nobody awaits.
    """
    return _refusal(start_message(own_origin(workflow.info()), plan, start))


def launch_refusal(schedule: str, launch: object) -> Exception | None:
    """The same for a workflow that a schedule of this gateway starts. Temporal adds the time to the schedule's id, so
    a signature counts for no other schedule."""
    message = launch_message(schedule, launch) if workflow.info().workflow_id.startswith(f"{schedule}-") else b""
    return _refusal(message)


def _refusal(message: bytes) -> Exception | None:
    try:
        if is_own(message, workflow.info().headers):
            return None
    except Exception as unknown:
        return unknown
    workflow.logger.warning("refused a workflow that this gateway did not start")
    told = "this workflow was not started by the gateway of this data directory; nothing of it was run"
    return ApplicationError(told, type=NOT_STARTED_HERE, non_retryable=True)


def is_own(message: bytes, headers: Mapping[str, Payload]) -> bool:
    """Did the gateway, or a workflow of its, send this message to the current workflow?

    Raises:
        UnknownKey, SigningKeysUnusable: That cannot be told here.
    """
    if _signer is None:
        return True
    info = workflow.info()
    try:
        return _signer.is_genuine(headers, message, workflow_id=info.workflow_id, began_at=info.workflow_start_time)
    except Exception as error:
        # In words, since of an exception the log gives only the type.
        _log.error("cannot check a signature: %s", error)
        raise


def own_origin(info: workflow.Info) -> Origin:
    """Where a workflow itself comes from."""
    parent = (info.parent.workflow_id, info.parent.run_id) if info.parent else None
    return Origin(info.workflow_id, parent, info.continued_run_id)
