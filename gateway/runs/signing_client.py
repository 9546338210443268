"""Signs what the gateway asks of Temporal: starts of runs, signals and updates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from temporalio.client import (
    Interceptor,
    OutboundInterceptor,
    SignalWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    WorkflowHandle,
    WorkflowUpdateHandle,
)

from innkeeper.workflows.signing import Origin, Signer, signal_message, start_message, update_message


class SigningClient(Interceptor):
    """For every client that starts our workflow, or talks to one.

    Args:
        signer: With the keys of the gateway's data directory.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Outbound(super().intercept_client(next), self._signer)


class _Outbound(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, signer: Signer) -> None:
        super().__init__(next)
        self._signer = signer

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        plan, start = input.args
        message = start_message(Origin(input.id), plan, start)
        return await super().start_workflow(replace(input, headers=self._signer.signed(input.headers, message)))

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        message = signal_message(input.id, input.signal, input.args)
        await super().signal_workflow(replace(input, headers=self._signer.signed(input.headers, message)))

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:
        message = update_message(input.id, input.update, input.args)
        return await super().start_workflow_update(replace(input, headers=self._signer.signed(input.headers, message)))
