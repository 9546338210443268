"""Plays GraphWorkflow without a server, by a clock of its own: years pass at once.

It does what the engine does with the commands of a workflow: fires timers when they are due, resolves activities,
hands over signals and updates, begins a new history. With `evicted` the workflow is thrown away after every task and
replayed from its beginning, as in a worker without a cache; its commands must then be the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import Message
from temporalio import workflow
from temporalio.api.common.v1 import Payloads
from temporalio.bridge.proto.workflow_activation.workflow_activation_pb2 import (
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.common import Priority, TypedSearchAttributes
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails

from innkeeper.nodes.call import EXECUTE_NODE, LOAD_VALUE, STORE_VALUES, NodeCall, NodeResult
from innkeeper.workflows.engine.event_sink import install_event_sink
from innkeeper.workflows.engine.graph_workflow import GraphWorkflow, RunStart
from innkeeper.workflows.payload_converter import DATA_CONVERTER
from innkeeper.workflows.plan import RunPlan

EVENTS_A_TASK = 3
BEGUN = datetime(2026, 11, 29, 12, tzinfo=UTC)


@dataclass
class _History:
    """One history of the run: its tasks so far, and what is still to come."""

    arguments: list[Any]
    begun: datetime
    tasks: list[WorkflowActivation] = field(default_factory=list)
    commands: list[list[bytes]] = field(default_factory=list)
    timers: dict[int, datetime] = field(default_factory=dict)
    patches: dict[str, None] = field(default_factory=dict)


class TimeMachine:
    """One run.

    Attributes:
        now: The server's clock.
        facts: What the interpreter told of nodes: path, type, payload.
        histories: How many there were.
        timers_set: Spans of all timers that were set, in seconds.
        result: Of the run, once it has ended.
        is_long: The server suggests a new history.
        calls: What the activities that ran nodes were given.
        started: With what options: the fields of the commands.

    Args:
        failures: Node path to what its attempts end with, one after the other, before one succeeds.
        held: Paths of nodes whose activity ends when `finish` is called.
    """

    def __init__(
        self,
        plan: RunPlan,
        *,
        evicted: bool = False,
        failures: Mapping[str, list[ApplicationError]] | None = None,
        held: Iterable[str] = (),
    ) -> None:
        self.now = BEGUN
        self.facts: list[tuple[str, str, dict[str, Any]]] = []
        self.answers: list[Any] = []
        self.histories = 0
        self.timers_set: list[float] = []
        self.result: dict[str, Any] | None = None
        self.is_long = False
        self._is_evicted = evicted
        self.calls: list[NodeCall] = []
        self.started: list[Any] = []
        self._failures = {path: list(found) for path, found in (failures or {}).items()}
        self._held = set(held)
        self._open: dict[int, NodeCall] = {}
        self._values: dict[str, Any] = {}
        self._payloads: PayloadConverter = DATA_CONVERTER.payload_converter
        self._begin([plan.encode(), RunStart()])

    # --- what comes from outside ----------------------------------------------------------------------------------

    def travel(self, **span: float) -> None:
        """Let time pass. Timers fire when they are due, each in a task of its own."""
        until = self.now + timedelta(**span)
        while self.result is None and (due := min(self._history.timers.items(), key=_moment, default=None)):
            if due[1] > until:
                break
            self.now = max(self.now, due[1])
            del self._history.timers[due[0]]
            self._task(_job("fire_timer", seq=due[0]))
        self.now = max(self.now, until)

    def signal(self, name: str, *values: Any) -> None:
        self._task(_job("signal_workflow", signal_name=name, input=self._payloads.to_payloads(values)))

    def answer(self, approval: str, answer: Mapping[str, Any]) -> None:
        id = f"u{len(self._history.tasks)}"
        values = self._payloads.to_payloads([approval, answer])
        update = _job("do_update", id=id, protocol_instance_id=id, name="answer", input=values, run_validator=True)
        update.do_update.meta.update_id = id
        self._task(update)

    def cancel(self) -> None:
        self._task(_job("cancel_workflow", reason="somebody asked for it"))

    def finish(self, path: str) -> None:
        """Let an activity end that was held."""
        (seq,) = [seq for seq, call in self._open.items() if call.path == path]
        self._task(self._ended(seq, self._open.pop(seq)))

    # --- the engine -----------------------------------------------------------------------------------------------

    def _begin(self, arguments: list[Any]) -> None:
        self.histories += 1
        self.is_long = False
        self._history = _History(arguments, self.now)
        self._instance = self._new_instance()
        begin = _job("initialize_workflow", workflow_type="GraphWorkflow", workflow_id="run", attempt=1)
        begin.initialize_workflow.arguments.extend(self._payloads.to_payloads(arguments))
        begin.initialize_workflow.randomness_seed = 7
        self._task(begin)

    def _task(self, *jobs: WorkflowActivationJob) -> None:
        history = self._history
        task = WorkflowActivation(run_id=f"h{self.histories}", jobs=jobs)
        task.timestamp.FromDatetime(self.now)
        task.history_length = EVENTS_A_TASK * (len(history.tasks) + 1)
        task.continue_as_new_suggested = self.is_long
        history.tasks.append(task)
        with self._recorded():
            done = self._instance.activate(task)
        assert not done.HasField("failed"), done.failed.failure.message
        commands = list(done.successful.commands)
        history.commands.append([command.SerializeToString(deterministic=True) for command in commands])
        resolved = [job for command in commands for job in self._follow(command)]
        if self._is_evicted and self.result is None and history is self._history:
            self._replay()
        if resolved and history is self._history:
            self._task(*resolved)

    def _replay(self) -> None:
        """Throw the workflow away and play it again: it must say the same."""
        history = self._history
        self._instance = self._new_instance()
        for number, (task, before) in enumerate(zip(history.tasks, history.commands, strict=True)):
            again = WorkflowActivation()
            again.CopyFrom(task)
            again.is_replaying = True
            if number == 0:
                again.jobs.extend(_job("notify_has_patch", patch_id=patch) for patch in history.patches)
            done = self._instance.activate(again)
            commands = [command.SerializeToString(deterministic=True) for command in done.successful.commands]
            assert commands == before, f"task {number} gives other commands when it is replayed"

    def _follow(self, command: Any) -> Iterator[WorkflowActivationJob]:
        """Do what a command says; gives what comes of it at once."""
        match command.WhichOneof("variant"):
            case "start_timer":
                span = command.start_timer.start_to_fire_timeout.ToTimedelta()
                self.timers_set.append(span.total_seconds())
                self._history.timers[command.start_timer.seq] = self.now + span
            case "cancel_timer":
                self._history.timers.pop(command.cancel_timer.seq, None)
            case "schedule_activity":
                scheduled = command.schedule_activity
                given = self._payloads.from_payloads(scheduled.arguments)[0]
                if scheduled.activity_type == EXECUTE_NODE:
                    yield from self._begun(scheduled, NodeCall(**given))
                else:
                    yield self._completed(scheduled.seq, self._activity(scheduled.activity_type, given))
            case "request_cancel_activity":
                seq = command.request_cancel_activity.seq
                del self._open[seq]
                yield self._resolved(seq, "cancelled", CancelledError("as asked"))
            case "set_patch_marker":
                self._history.patches[command.set_patch_marker.patch_id] = None
            case "update_response":
                self.answers.append(command.update_response.WhichOneof("response"))
            case "complete_workflow_execution":
                self.result = self._payloads.from_payload(command.complete_workflow_execution.result)
            case "continue_as_new_workflow_execution":
                carried = command.continue_as_new_workflow_execution.arguments
                self._begin(self._payloads.from_payloads(carried, [bytes, RunStart]))
            case other:
                raise AssertionError(f"no test has needed {other!r} so far")

    def _begun(self, scheduled: Any, call: NodeCall) -> Iterator[WorkflowActivationJob]:
        """Run a node, or keep it running."""
        self.calls.append(call)
        self.started.append(scheduled)
        if call.path in self._held:
            self._open[scheduled.seq] = call
        else:
            yield self._ended(scheduled.seq, call)

    def _ended(self, seq: int, call: NodeCall) -> WorkflowActivationJob:
        if waiting := self._failures.get(call.path):
            return self._resolved(seq, "failed", waiting.pop(0))
        return self._completed(seq, NodeResult({"out": f"{call.path}({call.inputs.get('a')})"}).to_wire())

    def _completed(self, seq: int, given: Any) -> WorkflowActivationJob:
        job = _job("resolve_activity", seq=seq)
        job.resolve_activity.result.completed.result.CopyFrom(self._payloads.to_payload(given))
        return job

    def _resolved(self, seq: int, how: str, error: ApplicationError | CancelledError) -> WorkflowActivationJob:
        """The end of an activity that gave nothing, as the server wraps it."""
        job = _job("resolve_activity", seq=seq)
        failure = getattr(job.resolve_activity.result, how).failure
        failure.message = "activity error"
        failure.activity_failure_info.activity_type.name = EXECUTE_NODE
        DATA_CONVERTER.failure_converter.to_failure(error, self._payloads, failure.cause)
        return job

    def _activity(self, kind: str, given: Any) -> Any:
        if kind == STORE_VALUES:
            return [self._stored(value) for value in given]
        if kind == LOAD_VALUE:
            return self._values[given["$blob"]]
        raise AssertionError(f"no test has needed the activity {kind!r} so far")

    def _stored(self, value: Any) -> dict[str, Any]:
        sha = f"{len(self._values):064x}"
        self._values[sha] = value
        return {"$blob": sha, "size": 1, "mime": "application/json", "preview": ""}

    def _new_instance(self) -> WorkflowInstance:
        definition = workflow._Definition.must_from_class(GraphWorkflow)
        details = WorkflowInstanceDetails(
            payload_converter_factory=lambda: DATA_CONVERTER.payload_converter,
            failure_converter_class=DefaultFailureConverter,
            interceptor_classes=[],
            defn=definition,
            info=_info(self.histories, self._history.begun),
            randomness_seed=7,
            extern_functions={},
            disable_eager_activity_execution=False,
            worker_level_failure_exception_types=[],
            patch_activation_callback=None,
            last_completion_result=Payloads(),
            last_failure=None,
        )

        async def made() -> WorkflowInstance:  # it asks for a running loop
            return UnsandboxedWorkflowRunner().create_instance(details)

        return asyncio.run(made())

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        install_event_sink(self)
        try:
            yield
        finally:
            install_event_sink(None)

    def fact(self, run: str, path: str, type: str, payload: dict[str, Any]) -> None:
        self.facts.append((path, type, payload))


def _moment(timer: tuple[int, datetime]) -> datetime:
    return timer[1]


def _job(variant: str, **fields: Any) -> WorkflowActivationJob:
    job = WorkflowActivationJob()
    inner: Message = getattr(job, variant)
    inner.SetInParent()
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(inner, name).extend(value)
        else:
            setattr(inner, name, value)
    return job


def _info(number: int, begun: datetime) -> workflow.Info:
    return workflow.Info(
        attempt=1,
        continued_run_id=None,
        cron_schedule=None,
        execution_timeout=None,
        first_execution_run_id="h1",
        headers={},
        namespace="innkeeper",
        original_execution_run_id=f"h{number}",
        parent=None,
        root=None,
        raw_memo={},
        retry_policy=None,
        run_id=f"h{number}",
        run_timeout=None,
        search_attributes={},
        start_time=begun,
        workflow_start_time=begun,
        task_queue="innkeeper",
        task_timeout=timedelta(seconds=5),
        typed_search_attributes=TypedSearchAttributes.empty,
        workflow_id="run",
        workflow_type="GraphWorkflow",
        priority=Priority.default,
    )
