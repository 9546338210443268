"""The worker's interceptors: sign what our workflows ask for, and refuse what nobody of ours has asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ContinueAsNewInput,
    ExecuteActivityInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    SignalChildWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from innkeeper.workflows.engine.signature_check import installed_signer, is_own, own_origin
from innkeeper.workflows.signing import (
    Origin,
    UnknownKey,
    activity_message,
    signal_message,
    start_message,
    update_message,
)

NOT_SIGNED = "not_signed"
UNKNOWN_KEY = "unknown_key"
UNKNOWN_KEY_PAUSE = timedelta(seconds=10)


class SigningInterceptor(Interceptor):
    """Signs and checks with the installed signer. The start of a workflow is checked by the workflow itself, which
    reads its plan before any interceptor is asked."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _CheckedActivities(next)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _CheckedWorkflow


class _CheckedActivities(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        # A local one was asked for in this very process.
        if not activity.info().is_local and not _is_own_call(input):
            activity.logger.warning("refused an activity that no workflow of this gateway has asked for")
            message = "this activity was not asked for by a workflow of this gateway; nothing was run"
            raise ApplicationError(message, type=NOT_SIGNED, non_retryable=True)
        return await self.next.execute_activity(input)


def _is_own_call(input: ExecuteActivityInput) -> bool:
    signer = installed_signer()
    info = activity.info()
    if signer is None:
        return True
    if info.workflow_id is None or info.workflow_run_id is None:  # started by a client, without a workflow
        return False
    message = activity_message(info.workflow_id, info.workflow_run_id, info.activity_type, input.args)
    try:
        return signer.is_genuine(input.headers, message, workflow_id=info.workflow_id, began_at=info.scheduled_time)
    except UnknownKey as error:
        # Seldom: an attempt that says nothing of itself counts as the death of a worker.
        activity.logger.error("cannot check a signature: %s", error)
        raise ApplicationError(str(error), type=UNKNOWN_KEY, next_retry_delay=UNKNOWN_KEY_PAUSE) from None


class _CheckedWorkflow(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_SigningWorkflow(outbound))

    async def handle_signal(self, input: HandleSignalInput) -> None:
        if not is_own(signal_message(workflow.info().workflow_id, input.signal, input.args), input.headers):
            workflow.logger.warning("dropped a signal that this gateway did not send")
            return
        await super().handle_signal(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        _check_update(input)
        super().handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        _check_update(input)  # whoever polls the queue as a worker may have accepted it
        return await super().handle_update_handler(input)


def _check_update(input: HandleUpdateInput) -> None:
    if not is_own(update_message(workflow.info().workflow_id, input.update, input.args), input.headers):
        raise ApplicationError("this gateway did not send this update", type=NOT_SIGNED, non_retryable=True)


class _SigningWorkflow(WorkflowOutboundInterceptor):
    """A replay may sign with another key than before: the SDK does not compare headers."""

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        info = workflow.info()
        message = activity_message(info.workflow_id, info.run_id, input.activity, input.args)
        input.headers = _signed(input.headers, message)
        return super().start_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> workflow.ChildWorkflowHandle[Any, Any]:
        info = workflow.info()
        message = _start_message(Origin(input.id, parent=(info.workflow_id, info.run_id)), input.args)
        input.headers = _signed(input.headers, message)
        return await super().start_child_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        info = workflow.info()
        message = _start_message(replace(own_origin(info), before=info.run_id), input.args)
        input.headers = _signed(input.headers, message)
        super().continue_as_new(input)

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        message = signal_message(input.child_workflow_id, input.signal, input.args)
        input.headers = _signed(input.headers, message)
        await super().signal_child_workflow(input)


def _start_message(origin: Origin, args: Sequence[Any]) -> bytes:
    plan, start = args
    return start_message(origin, plan, start)


def _signed(headers: Mapping[str, Payload], message: bytes) -> Mapping[str, Payload]:
    signer = installed_signer()
    return headers if signer is None else signer.signed(headers, message)
