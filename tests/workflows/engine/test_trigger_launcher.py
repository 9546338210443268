"""The launcher of a schedule on the real server: it stays as long as its run, whatever is away meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.worker import Worker

from innkeeper.gateway.runs.signing_client import SigningClient
from innkeeper.nodes.call import FIRE_TRIGGER, INTERRUPT_RUN, LOOK_AT_RUN
from innkeeper.nodes.services.signing_keys import SIGNING_FILE, SigningKeys, create_signing_keys
from innkeeper.workflows.engine import trigger_launcher
from innkeeper.workflows.engine.signature_check import install_signer
from innkeeper.workflows.engine.signing_interceptors import SigningInterceptor
from innkeeper.workflows.engine.trigger_launcher import Launch, TriggerLauncher, launcher_id, schedule_id
from innkeeper.workflows.signing import HEADER, Signer, launch_message
from tests.workflows.replaying import replay

RUN = "r-1"
AT = "2030-01-31T08:00:00Z"
SECRET = b"s" * 32
Handle = WorkflowHandle[Any, dict[str, Any]]


@dataclass
class Gateway:
    """Answers as a gateway does. `away`: so many requests find nobody first."""

    queue: str = field(default_factory=lambda: f"q-{uuid.uuid4()}")
    away: int = 0
    fired: dict[str, Any] = field(default_factory=lambda: {"outcome": "fired", "reason": "", "run": RUN})
    ended: bool = False
    asked: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.away > 0:
            self.away -= 1
            raise ApplicationError("the gateway does not answer", type="waiting")

    @activity.defn(name=FIRE_TRIGGER)
    async def fire(self, request: dict[str, Any]) -> dict[str, Any]:
        self._ask("fire")
        self.requests.append(request)
        return self.fired

    @activity.defn(name=LOOK_AT_RUN)
    async def look(self, run: str) -> bool:
        self._ask("look")
        return self.ended

    @activity.defn(name=INTERRUPT_RUN)
    async def interrupt(self, run: str) -> bool:
        self._ask(f"interrupt {run}")
        return self.ended

    @asynccontextmanager
    async def worker(self, client: Client, *, cached: int = 100) -> AsyncIterator[None]:
        async with Worker(
            client,
            task_queue=self.queue,
            workflows=[TriggerLauncher],
            activities=[self.fire, self.look, self.interrupt],
            interceptors=[SigningInterceptor()],
            max_cached_workflows=cached,
        ):
            yield

    async def until_asked(self, what: str) -> None:
        async with asyncio.timeout(20):
            while what not in self.asked:
                await asyncio.sleep(0.02)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger_launcher, "FIRST_LOOK", timedelta(seconds=0.3))
    monkeypatch.setattr(trigger_launcher, "RETRIES", RetryPolicy(initial_interval=timedelta(milliseconds=100)))


async def start(client: Client, gateway: Gateway, **launch: Any) -> Handle:
    given = Launch(uuid.uuid4().hex[:20], **launch)
    return await client.start_workflow(
        "TriggerLauncher", given, id=launcher_id(given.trigger, AT), task_queue=gateway.queue, result_type=dict
    )


async def result(handle: Handle) -> dict[str, Any]:
    async with asyncio.timeout(30):
        found = await handle.result()
    await replay(await handle.fetch_history())
    return found


async def test_it_ends_when_it_is_told_that_its_run_did(temporal: Client) -> None:
    gateway = Gateway()
    async with gateway.worker(temporal):
        handle = await start(temporal, gateway)
        await gateway.until_asked("fire")
        await handle.signal("run_ended", "another run")
        await asyncio.sleep(0.3)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        await handle.signal("run_ended", RUN)
        assert (await result(handle))["run"] == RUN
    assert gateway.asked == ["fire"]
    (request,) = gateway.requests
    assert request["scheduledAt"] == AT
    assert handle.id == launcher_id(request["trigger"], AT)


async def test_a_run_that_ends_before_its_start_is_answered_counts(temporal: Client) -> None:
    gateway = Gateway(away=1)
    handle = await start(temporal, gateway)
    await handle.signal("run_ended", RUN)
    async with gateway.worker(temporal):
        assert (await result(handle))["outcome"] == "fired"


async def test_it_does_not_wait_where_nothing_depends_on_it_or_nothing_runs(temporal: Client) -> None:
    gateway = Gateway()
    async with gateway.worker(temporal):
        assert (await result(await start(temporal, gateway, waits=False)))["run"] == RUN
        gateway.fired = {"outcome": "filtered", "reason": "the filter gave false", "run": None}
        assert (await result(await start(temporal, gateway)))["outcome"] == "filtered"


async def test_an_end_that_nobody_told_is_found_by_looking(temporal: Client, quick: None) -> None:
    gateway = Gateway()
    async with gateway.worker(temporal):
        handle = await start(temporal, gateway)
        async with asyncio.timeout(20):
            while gateway.asked.count("look") < 2:
                await asyncio.sleep(0.02)
        gateway.ended = True
        await result(handle)


async def test_a_gateway_that_is_away_is_asked_until_it_is_back(temporal: Client, quick: None) -> None:
    gateway = Gateway(away=5)
    async with gateway.worker(temporal):
        handle = await start(temporal, gateway)
        async with asyncio.timeout(20):
            while len(gateway.asked) < 6:
                await asyncio.sleep(0.02)
        await handle.signal("run_ended", RUN)
        await result(handle)
    events = [event.event_type for event in (await handle.fetch_history()).events]
    assert len(events) < 20  # tries that fail leave nothing in the history


async def test_its_patience_ends(temporal: Client, quick: None) -> None:
    gateway = Gateway(away=1_000)
    async with gateway.worker(temporal):
        handle = await start(temporal, gateway, patience_s=1)
        with pytest.raises(WorkflowFailureError) as failed:
            await result(handle)
    assert isinstance(failed.value.cause, ActivityError)


async def test_cancelled_it_interrupts_its_run_and_waits_for_the_end(temporal: Client) -> None:
    gateway = Gateway()
    async with gateway.worker(temporal):
        handle = await start(temporal, gateway)
        await gateway.until_asked("fire")
        await asyncio.sleep(0.2)
        await handle.cancel()
        await gateway.until_asked(f"interrupt {RUN}")
        await asyncio.sleep(0.3)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        await handle.signal("run_ended", RUN)
        with pytest.raises(WorkflowFailureError) as failed:
            await result(handle)
    assert isinstance(failed.value.cause, CancelledError)
    await replay(await handle.fetch_history())
    assert gateway.asked == ["fire", f"interrupt {RUN}"]


async def test_cancelled_while_the_gateway_is_away_it_interrupts_what_comes_of_it(
    temporal: Client, quick: None
) -> None:
    gateway = Gateway(away=4)
    async with gateway.worker(temporal):
        handle = await start(temporal, gateway)
        await gateway.until_asked("fire")
        await handle.cancel()
        gateway.ended = True
        with pytest.raises(WorkflowFailureError) as failed:
            async with asyncio.timeout(30):
                await handle.result()
    assert isinstance(failed.value.cause, CancelledError)
    assert gateway.asked[-1] == f"interrupt {RUN}"


async def test_a_run_that_heeds_no_interruption_is_interrupted_again(temporal: Client, quick: None) -> None:
    """The second time the gateway ends it by force."""
    gateway = Gateway()
    async with gateway.worker(temporal):
        handle = await start(temporal, gateway)
        await gateway.until_asked("fire")
        await handle.cancel()
        async with asyncio.timeout(20):
            while gateway.asked.count(f"interrupt {RUN}") < 2:
                await asyncio.sleep(0.02)
        gateway.ended = True
        with pytest.raises(WorkflowFailureError):
            await result(handle)


async def test_evicted_and_given_to_another_worker_it_goes_on(temporal: Client) -> None:
    gateway = Gateway()
    async with gateway.worker(temporal, cached=1):
        handles = [await start(temporal, gateway) for _ in range(5)]
        async with asyncio.timeout(20):
            while gateway.asked.count("fire") < 5:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
    # That worker has stopped: no launcher took this for a cancellation.
    assert gateway.asked == ["fire"] * 5
    async with gateway.worker(temporal, cached=1):
        await handles[0].cancel()
        await gateway.until_asked(f"interrupt {RUN}")
        for handle in handles:
            await handle.signal("run_ended", RUN)
        for handle in handles[1:]:
            assert (await result(handle))["outcome"] == "fired"
        with pytest.raises(WorkflowFailureError):
            await result(handles[0])


# --- signatures -----------------------------------------------------------------------------------------------------


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[Signer]:
    path = tmp_path / SIGNING_FILE
    create_signing_keys(path, SECRET, ())
    signer = Signer(SigningKeys(path, SECRET))
    install_signer(signer)
    yield signer
    install_signer(None)


def client_with(client: Client, signer: Signer) -> Client:
    config = client.config()
    config["interceptors"] = [SigningClient(signer)]
    return Client(**config)


async def fire_by_schedule(client: Client, gateway: Gateway, launch: Launch, headers: Any, *, id: str = "") -> Handle:
    """Have a schedule start a launcher now."""
    action = ScheduleActionStartWorkflow(
        "TriggerLauncher", launch, id=id or schedule_id(launch.trigger), task_queue=gateway.queue
    )
    action.headers = headers
    handle = await client.create_schedule(
        f"{schedule_id(launch.trigger)}-{uuid.uuid4().hex[:5]}",
        Schedule(action=action, spec=ScheduleSpec(cron_expressions=["@yearly"])),
        trigger_immediately=True,
    )
    try:
        async with asyncio.timeout(20):
            while not (actions := (await handle.describe()).info.recent_actions):
                await asyncio.sleep(0.05)
    finally:
        await handle.delete()
    started: Any = actions[-1].action
    return client.get_workflow_handle(started.workflow_id, result_type=dict)


async def test_what_the_gateways_schedule_starts_passes_and_hears_only_the_gateway(
    temporal: Client, signer: Signer
) -> None:
    gateway, launch = Gateway(), Launch(uuid.uuid4().hex[:20])
    headers = signer.signed({}, launch_message(schedule_id(launch.trigger), launch))
    async with gateway.worker(temporal):
        handle = await fire_by_schedule(temporal, gateway, launch, headers)
        await gateway.until_asked("fire")
        assert handle.id == launcher_id(launch.trigger, gateway.requests[0]["scheduledAt"])
        await handle.signal("run_ended", RUN)  # of a stranger
        await asyncio.sleep(0.3)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        await client_with(temporal, signer).get_workflow_handle(handle.id).signal("run_ended", RUN)
        assert (await result(handle))["run"] == RUN


@pytest.mark.parametrize("forged", ["unsigned", "other trigger", "other launch", "other id"])
async def test_what_others_start_is_refused(temporal: Client, signer: Signer, forged: str) -> None:
    gateway, launch = Gateway(), Launch(uuid.uuid4().hex[:20])
    seen = signer.signed({}, launch_message(schedule_id(launch.trigger), launch))
    headers: Any = {} if forged == "unsigned" else {HEADER: seen[HEADER]}
    id = ""
    if forged == "other trigger":
        launch = replace(launch, trigger="0" * 20)
    if forged == "other launch":
        launch = replace(launch, patience_s=1_000_000)
    if forged == "other id":
        id = "another"
    async with gateway.worker(temporal):
        handle = await fire_by_schedule(temporal, gateway, launch, headers, id=id)
        with pytest.raises(WorkflowFailureError) as failed:
            async with asyncio.timeout(20):
                await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "not_started_here"
    assert gateway.asked == []
