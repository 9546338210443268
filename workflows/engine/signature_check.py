"""What signs and checks in this process. A worker process installs it; without one, as in a replayer, all is taken."""

from __future__ import annotations

from temporalio import workflow

from innkeeper.workflows.engine.workflow_context import RunStart
from innkeeper.workflows.signing import Origin, Signer, start_message

_signer: Signer | None = None


def install_signer(signer: Signer | None) -> None:
    """Set what signs and checks in this process; None takes everything."""
    global _signer
    _signer = signer


def installed_signer() -> Signer | None:
    return _signer


def is_own_start(plan: bytes, start: RunStart) -> bool:
    """Was the current workflow started by the gateway, or by a workflow that was?

    Raises:
        UnknownKey, SigningKeysUnusable: That cannot be told here; the workflow task is tried again.
    """
    if _signer is None:
        return True
    info = workflow.info()
    return _signer.is_genuine(
        info.headers,
        start_message(own_origin(info), plan, start),
        workflow_id=info.workflow_id,
        began_at=info.workflow_start_time,
    )


def own_origin(info: workflow.Info) -> Origin:
    """Where a workflow itself comes from."""
    parent = (info.parent.workflow_id, info.parent.run_id) if info.parent else None
    return Origin(info.workflow_id, parent, info.continued_run_id)
