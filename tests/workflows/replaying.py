"""Replaying histories with the interpreter of today."""

from __future__ import annotations

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from innkeeper.workflows.engine.all_workflows import WORKFLOWS
from innkeeper.workflows.engine.signing_interceptors import SigningInterceptor
from innkeeper.workflows.payload_converter import DATA_CONVERTER


async def replay(history: WorkflowHistory) -> None:
    """Raises when today's code would do something else than the history says.

    Where a signer is installed, what it refuses is dropped again, as the worker dropped it.
    """
    replayer = Replayer(workflows=WORKFLOWS, data_converter=DATA_CONVERTER, interceptors=[SigningInterceptor()])
    await replayer.replay_workflow(history)
