"""Every workflow that workers run, in one place: what serves them and what replays them must know the same ones."""

from __future__ import annotations

from innkeeper.workflows.engine.callback_workflow import CallbackWorkflow
from innkeeper.workflows.engine.graph_workflow import GraphWorkflow
from innkeeper.workflows.engine.trigger_launcher import LAUNCHER_TYPE, TriggerLauncher

WORKFLOWS: tuple[type, ...] = (GraphWorkflow, TriggerLauncher, CallbackWorkflow)
RUN_TYPE = "GraphWorkflow"
WORKFLOW_TYPES = (RUN_TYPE, LAUNCHER_TYPE, "CallbackWorkflow")
"""Their names in Temporal."""
