"""Replaying histories as a worker of ours would."""

from __future__ import annotations

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from innkeeper.workflows.engine.callback_workflow import CallbackWorkflow
from innkeeper.workflows.engine.graph_workflow import GraphWorkflow
from innkeeper.workflows.engine.trigger_launcher import TriggerLauncher
from innkeeper.workflows.payload_converter import DATA_CONVERTER


async def replay(history: WorkflowHistory) -> None:
    """Raises when today's code would do something else than the history says."""
    workflows = [GraphWorkflow, TriggerLauncher, CallbackWorkflow]
    await Replayer(workflows=workflows, data_converter=DATA_CONVERTER).replay_workflow(history)
