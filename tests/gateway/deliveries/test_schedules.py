"""Schedules that fire on the real stack, one run for each time; and what Temporal is told of them."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client, Schedule, ScheduleActionStartWorkflow, ScheduleDescription, ScheduleSpec
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment

from innkeeper.activities.link.gateway_door import GatewayDoor
from innkeeper.activities.trigger_activities import TriggerActivities
from innkeeper.gateway.deliveries import schedules
from innkeeper.gateway.deliveries.book import StoredTrigger
from innkeeper.gateway.deliveries.schedules import Schedules
from innkeeper.gateway.errors import BadRequest, EngineAway
from innkeeper.gateway.runs.temporal_client import TemporalLink
from innkeeper.gateway.settings import worker_token
from innkeeper.gateway.triggers.reading import InvalidTrigger, read_trigger
from innkeeper.nodes.services.signing_keys import SIGNING_FILE, SigningKeys, create_signing_keys
from innkeeper.workflows.engine.trigger_launcher import SCHEDULE_PREFIX, schedule_id
from innkeeper.workflows.signing import Signer
from tests.gateway.asking import until
from tests.gateway.conftest import Stack
from tests.gateway.deliveries.test_intake import HOLD, SAY, holding, said, until_true

Json = dict[str, Any]
EACH_SECOND: Json = {"interval": {"everySeconds": 1}}


@pytest.fixture(scope="module")
async def up(temporal: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    stack = Stack(temporal, tmp_path_factory.mktemp("schedules"))
    async with stack.up() as http:
        await add_workflows(http)
        yield stack
    stack.close()


@pytest.fixture
async def http(up: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with up.http() as client:
        yield client


async def add_workflows(http: httpx.AsyncClient) -> None:
    for document in (said(), holding()):
        assert (await http.post("/api/workflows", json=document)).status_code == 201


def definition(schedule: Json, *, gate: Path | None = None, **more: Any) -> Json:
    """A schedule that says when it fired; with a gate it holds until that file is there."""
    says = {"workflow": {"id": SAY}, "mapping": {"word": {"expression": "schedule.scheduledAt"}}}
    holds = {"workflow": {"id": HOLD}, "mapping": {"gate": {"literal": str(gate)}}}
    kind = {"kind": "schedule", "schedule": schedule, "name": f"s-{uuid.uuid4().hex[:8]}"}
    return {**kind, **(says if gate is None else holds), **more}


@contextlib.asynccontextmanager
async def made(stack: Stack, schedule: Json, **more: Any) -> AsyncIterator[StoredTrigger]:
    """A trigger for as long as the block lasts."""
    trigger, _ = await stack.container.triggers.create(stack.settings.user, read_trigger(definition(schedule, **more)))
    try:
        yield trigger
    finally:
        if (current := stack.container.triggers.find(trigger.id)) is not None:
            await stack.container.triggers.delete(current)


async def results(stack: Stack, trigger: StoredTrigger) -> list[Json]:
    """Oldest first."""
    return (await stack.container.intake.results(trigger))[::-1]


async def fired(stack: Stack, trigger: StoredTrigger, count: int) -> list[str]:
    """The runs of a trigger, as soon as there are so many, oldest first."""

    async def runs() -> list[str]:
        found = await results(stack, trigger)
        return [result["runId"] for result in found if result["outcome"] == "fired"]

    async with asyncio.timeout(30):
        while len(found := await runs()) < count:
            await asyncio.sleep(0.05)
    return found


async def ended(http: httpx.AsyncClient, run: str) -> Json:
    return await until(http, run, "complete", "error", "interrupted")


async def described(stack: Stack, trigger: StoredTrigger) -> ScheduleDescription:
    handle = stack.temporal.get_schedule_handle(schedule_id(trigger.id))
    async with asyncio.timeout(15):
        while True:
            with contextlib.suppress(RPCError):
                return await handle.describe()
            await asyncio.sleep(0.05)


async def open_launchers(stack: Stack, trigger: StoredTrigger) -> int:
    query = f"WorkflowId STARTS_WITH '{schedule_id(trigger.id)}-' AND ExecutionStatus = 'Running'"
    return (await stack.temporal.count_workflows(query)).count


# --- firing ---------------------------------------------------------------------------------------------------------


async def test_each_time_is_one_run_that_knows_it(up: Stack, http: httpx.AsyncClient) -> None:
    async with made(up, EACH_SECOND) as trigger:
        runs = await fired(up, trigger, 3)
        statuses = [await ended(http, run) for run in runs[:3]]
        found = await results(up, trigger)
    moments = [status["outputs"]["line"] for status in statuses]
    assert len(set(moments)) == 3
    assert moments == sorted(moments)
    assert all(moment.endswith(".000Z") for moment in moments)
    assert statuses[0]["trigger"]["kind"] == "schedule"
    sample = found[0]["sample"]["schedule"]
    assert sample["scheduledAt"] == moments[0] <= sample["firedAt"]
    assert (sample["triggerId"], sample["name"]) == (trigger.id, trigger.definition.name)


async def test_asked_again_for_one_time_it_is_the_same_run(up: Stack, http: httpx.AsyncClient) -> None:
    """The answer may be lost with its worker; duplicates of the trigger's own are allowed here."""
    async with made(up, {**EACH_SECOND, "overlap": "allow_all"}, enabled=True, dedupe="none") as trigger:
        (run, *_) = await fired(up, trigger, 1)
        sample = (await results(up, trigger))[0]["sample"]["schedule"]
        late = {"startedAt": "2020-01-01T00:00:00Z", "askedAt": "2020-01-01T05:00:00Z"}
        body = {"scheduledAt": sample["scheduledAt"].replace(".000", ""), **late}
        headers = {"Authorization": f"Bearer {worker_token(up.settings)}"}
        async with httpx.AsyncClient(base_url=up.url) as worker:
            answers = [
                (await worker.post(f"/internal/triggers/{trigger.id}/fire", json=body, headers=headers)).json()
                for _ in range(2)
            ]
    assert [(answer["outcome"], answer["run"]) for answer in answers] == [("duplicate", run)] * 2
    assert (await ended(http, run))["status"] == "complete"


async def test_disabled_it_pauses_with_its_note_and_goes_on_when_enabled(up: Stack) -> None:
    async with made(up, EACH_SECOND) as trigger:
        await fired(up, trigger, 1)
        paused = read_trigger(
            {**trigger.definition.to_json(), "enabled": False, "schedule": {**EACH_SECOND, "note": "until the move"}}
        )
        trigger = await up.container.triggers.change(trigger, paused)

        async def is_paused() -> bool:
            return (await described(up, trigger)).schedule.state.paused

        await until_true(is_paused)
        assert (await described(up, trigger)).schedule.state.note == "until the move"
        await asyncio.sleep(0.5)  # what had fired before
        count = len(await fired(up, trigger, 0))
        await asyncio.sleep(2)
        assert len(await fired(up, trigger, 0)) == count
        enabled = read_trigger({**trigger.definition.to_json(), "enabled": True})
        trigger = await up.container.triggers.change(trigger, enabled)
        await fired(up, trigger, count + 1)


async def test_an_edited_schedule_is_wholly_the_new_one(up: Stack) -> None:
    before = {"cron": "0 9 13 * 5", "timezone": "Europe/Berlin", "jitterSeconds": 30, "end": "2090-01-01T00:00:00Z"}
    async with made(up, before, enabled=False) as trigger:
        assert len((await described(up, trigger)).schedule.spec.calendars) == 2
        changed = read_trigger({**trigger.definition.to_json(), "schedule": {"interval": {"everySeconds": 3600}}})
        trigger = await up.container.triggers.change(trigger, changed)

        async def is_new() -> bool:
            spec = (await described(up, trigger)).schedule.spec
            return len(spec.intervals) == 1 and not spec.calendars and not spec.jitter and spec.end_at is None

        await until_true(is_new)
        assert (await described(up, trigger)).schedule.spec.time_zone_name == "UTC"


# --- overlap --------------------------------------------------------------------------------------------------------


async def test_skip_leaves_out_what_falls_into_an_open_run_and_says_so(
    up: Stack, http: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    async with made(up, EACH_SECOND, gate=gate) as trigger:
        (run, *_) = await fired(up, trigger, 1)
        await asyncio.sleep(2.5)
        assert await fired(up, trigger, 1) == [run]
        before = up.container.schedules.left_out["overlapSkipped"]
        up.container.schedules.changed(trigger, trigger)  # as the look of each minute

        async def is_told() -> bool:
            return up.container.schedules.left_out["overlapSkipped"] > before

        await until_true(is_told)
        told = next(result for result in await results(up, trigger) if result["outcome"] == "skipped")
        assert "left out" in told["reason"]
        assert trigger.counters["overlapSkipped"] >= 2
        assert trigger.counters["skipped"] >= trigger.counters["overlapSkipped"]
        assert "innkeeper_schedule_starts_overlapped_total" in (await http.get("/metrics")).text
        gate.write_text("")
        assert (await ended(http, run))["status"] == "complete"
        await fired(up, trigger, 2)  # the end of the run was told: the next time is free


async def test_buffered_runs_follow_each_other(up: Stack, http: httpx.AsyncClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with made(up, {**EACH_SECOND, "overlap": "buffer_one"}, gate=gate) as trigger:
        (first, *_) = await fired(up, trigger, 1)
        await asyncio.sleep(2)
        gate.write_text("")
        runs = await fired(up, trigger, 2)
        statuses = [await ended(http, run) for run in runs[:2]]
    assert runs[0] == first
    assert statuses[0]["completedAt"] <= statuses[1]["submittedAt"]


async def test_a_newer_run_takes_the_place_of_one_that_is_cancelled(
    up: Stack, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    async with made(up, {"interval": {"everySeconds": 2}, "overlap": "cancel_other"}, gate=tmp_path / "no") as trigger:
        runs = await fired(up, trigger, 2)
        first = await ended(http, runs[0])
        assert first["status"] == "interrupted"
        second = (await http.get(f"/api/prompt/{runs[1]}")).json()
        assert first["completedAt"] <= second["submittedAt"]


async def test_a_newer_run_takes_the_place_of_one_that_is_terminated(
    up: Stack, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    schedule = {"interval": {"everySeconds": 2}, "overlap": "terminate_other"}
    async with made(up, schedule, gate=tmp_path / "no") as trigger:
        runs = await fired(up, trigger, 2)
        assert (await ended(http, runs[0]))["status"] == "interrupted"


async def test_runs_that_may_overlap_do_and_nobody_waits_for_them(
    up: Stack, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with made(up, {**EACH_SECOND, "overlap": "allow_all"}, gate=gate) as trigger:
        runs = await fired(up, trigger, 3)
        statuses = [(await http.get(f"/api/prompt/{run}")).json()["status"] for run in runs[:2]]
        assert set(statuses) <= {"running", "queued"}
        gate.write_text("")
    for run in runs[:3]:
        assert (await ended(http, run))["status"] == "complete"

    async def is_over() -> bool:
        return await open_launchers(up, trigger) == 0

    await until_true(is_over)


# --- outages --------------------------------------------------------------------------------------------------------


async def test_a_restarted_gateway_takes_each_time_once(stack: Stack) -> None:
    async with stack.worker():
        async with stack.gateway(), stack.http() as http:
            await add_workflows(http)
            trigger, _ = await stack.container.triggers.create(
                stack.settings.user, read_trigger(definition({**EACH_SECOND, "overlap": "buffer_all"}))
            )
            before = await fired(stack, trigger, 2)
        await asyncio.sleep(2)
        async with stack.gateway(), stack.http() as http:
            again = stack.container.triggers.find(trigger.id)
            assert again is not None
            runs = await fired(stack, again, len(before) + 4)
            moments = [(await ended(http, run))["outputs"]["line"] for run in runs]
            await stack.container.triggers.delete(again)
    assert len(set(runs)) == len(runs)
    # No time is left out, and none comes twice, though some came while nobody was there.
    seconds = sorted(int(moment[17:19]) for moment in moments)
    assert len(set(moments)) == len(moments)
    assert max(seconds) - min(seconds) in (len(seconds) - 1, 59)


@pytest.mark.slow
async def test_what_comes_too_late_is_left_out_and_told(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stack.gateway(), stack.http() as http:
        await add_workflows(http)
        schedule = {"interval": {"everySeconds": 2}, "catchUpSeconds": 10}
        trigger, _ = await stack.container.triggers.create(stack.settings.user, read_trigger(definition(schedule)))

        async def has_started() -> bool:
            return (await described(stack, trigger)).info.num_actions > 0

        await until_true(has_started)
        await asyncio.sleep(11)  # longer than it may wait for a worker
        async with stack.worker():
            await fired(stack, trigger, 1)
        (late, *_) = await results(stack, trigger)
        assert late["outcome"] == "skipped"
        assert "all workers were away" in late["reason"]
        assert trigger.counters["late"] == stack.container.launches.late == 1
        await stack.container.triggers.delete(trigger)


# --- Temporal's side ------------------------------------------------------------------------------------------------


async def test_a_look_changes_nothing_that_is_equal_and_repairs_what_is_not(up: Stack) -> None:
    full: Json = {
        "calendar": [{"minute": [5, {"start": 10, "end": 20, "step": 5}], "dayOfWeek": [1], "comment": "mondays"}],
        "timezone": "Europe/Berlin",
        "jitterSeconds": 7,
        "start": "2030-01-01T00:00:00+01:00",
        "end": "2090-01-01T00:00:00Z",
        "overlap": "buffer_all",
        "catchUpSeconds": 600,
        "note": "weekly",
    }
    for schedule in (full, EACH_SECOND, {"cron": "*/7 9 * * 1-5"}):
        async with made(up, schedule, enabled=False) as trigger:
            first = await described(up, trigger)
            await up.container.schedules._write(up.temporal, trigger.id)
            assert (await described(up, trigger)).info.last_updated_at == first.info.last_updated_at
            await up.temporal.get_schedule_handle(schedule_id(trigger.id)).unpause()
            await up.container.schedules._write(up.temporal, trigger.id)
            assert (await described(up, trigger)).schedule.state.paused


async def test_a_schedule_that_somebody_deleted_comes_back_and_a_deleted_trigger_takes_its_own_along(
    up: Stack,
) -> None:
    async with made(up, {"cron": "@yearly"}) as trigger:
        await described(up, trigger)
        await up.temporal.get_schedule_handle(schedule_id(trigger.id)).delete()
        up.container.schedules.changed(trigger, trigger)
        await described(up, trigger)

    async def is_gone() -> bool:
        with contextlib.suppress(RPCError):
            await up.temporal.get_schedule_handle(schedule_id(trigger.id)).describe()
            return False
        return True

    await until_true(is_gone)


async def test_strays_of_ours_are_deleted_and_nothing_of_others(up: Stack) -> None:
    spec = ScheduleSpec(cron_expressions=["@yearly"])
    ours = f"{SCHEDULE_PREFIX}{uuid.uuid4().hex[:20]}"
    kept = {f"{SCHEDULE_PREFIX}{uuid.uuid4().hex[:20]}": "another-queue", f"x-{uuid.uuid4().hex}": up.queue}
    for id, queue in {ours: up.queue, **kept}.items():
        action = ScheduleActionStartWorkflow("TriggerLauncher", id=id, task_queue=queue)
        await up.temporal.create_schedule(id, Schedule(action=action, spec=spec))

    async def are_listed() -> bool:
        listed = {item.id async for item in await up.temporal.list_schedules()}
        return {ours, *kept} <= listed

    await until_true(are_listed)
    async with made(up, {"cron": "@yearly"}) as trigger:
        await described(up, trigger)
        await up.container.schedules._delete_strays(up.temporal)
        await described(up, trigger)
    with pytest.raises(RPCError, match="not found"):
        await up.temporal.get_schedule_handle(ours).describe()
    for id in kept:
        await up.temporal.get_schedule_handle(id).delete()


async def test_new_keys_free_a_schedule_from_launchers_that_nobody_can_check(
    up: Stack, http: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next times would wait for them for ever."""
    create_signing_keys(tmp_path / SIGNING_FILE, b"n" * 32, ())
    async with made(up, EACH_SECOND, gate=tmp_path / "gate") as trigger:
        (run, *_) = await fired(up, trigger, 1)
        signer = Signer(SigningKeys(tmp_path / SIGNING_FILE, b"n" * 32))
        monkeypatch.setattr(up.container.schedules, "_signer", signer)
        up.container.schedules.changed(trigger, trigger)
        runs = await fired(up, trigger, 2)
        assert (await http.get(f"/api/prompt/{run}")).json()["status"] == "running"
        (tmp_path / "gate").write_text("")
        for run in runs:
            assert (await ended(http, run))["status"] == "complete"


# --- before it is saved ---------------------------------------------------------------------------------------------


async def test_what_the_server_refuses_is_told_with_its_reason_and_leaves_nothing(up: Stack) -> None:
    good = read_trigger(definition({"cron": "@daily"}))
    await up.container.schedules.check(good)
    assert good.schedule is not None
    unknown = good.model_copy(update={"schedule": good.schedule.model_copy(update={"timezone": "Mars/Olympus"})})
    with pytest.raises(InvalidTrigger) as refused:
        await up.container.schedules.check(unknown)
    assert "Mars/Olympus" in refused.value.problems[0].message
    assert refused.value.problems[0].path == "schedule"
    assert up.container.schedules._drafts == set()
    drafts = [item.id async for item in await up.temporal.list_schedules() if "draft" in item.id]
    for id in drafts:  # the list is a moment behind
        with pytest.raises(RPCError, match="not found"):
            await up.temporal.get_schedule_handle(id).describe()


async def test_without_temporal_nobody_can_say(up: Stack) -> None:
    away = Schedules(
        up.container.triggers, up.container.intake, TemporalLink(up.settings), up.container.schedules._signer,
        task_queue=up.queue,
    )  # fmt: skip
    with pytest.raises(EngineAway):
        await away.check(read_trigger(definition({"cron": "@daily"})))
    await away.check(read_trigger({**definition({}), "kind": "event", "event": {"name": "x"}, "schedule": None}))


async def test_preview_gives_the_next_times_and_what_is_odd(up: Stack) -> None:
    async with made(up, {**EACH_SECOND, "jitterSeconds": 600}, enabled=False) as trigger:
        told = await up.container.schedules.preview(trigger, 5)
    assert len(told["times"]) == 5
    moments = [datetime.fromisoformat(moment) for moment in told["times"]]
    assert {later - first for first, later in pairwise(moments)} == {timedelta(seconds=1)}  # without jitter
    assert "disabled" in told["notes"][0]
    assert "600 s later" in told["notes"][1]
    event = read_trigger({**definition({}), "kind": "event", "event": {"name": "x"}, "schedule": None})
    other, _ = await up.container.triggers.create(up.settings.user, event)
    with pytest.raises(BadRequest):
        await up.container.schedules.preview(other)
    await up.container.triggers.delete(other)


# --- the door -------------------------------------------------------------------------------------------------------


async def test_only_workers_may_ask(up: Stack) -> None:
    async with made(up, {"interval": {"everySeconds": 3600}}) as trigger, httpx.AsyncClient(base_url=up.url) as client:
        fire, body = f"/internal/triggers/{trigger.id}/fire", {"scheduledAt": "2030-01-01T00:00:00Z"}
        assert (await client.post(fire, json=body)).status_code == 401
        assert (await client.post("/internal/runs/x/interrupt", json={})).status_code == 401
        client.headers["Authorization"] = f"Bearer {worker_token(up.settings)}"
        right = dict.fromkeys(("scheduledAt", "startedAt", "askedAt"), "2030-01-01T00:00:01Z")
        for wrong in (
            {},
            body,
            {**right, "startedAt": "soon"},
            {**right, "scheduledAt": 5},
            {**right, "askedAt": None},
        ):
            assert (await client.post(fire, json=wrong)).status_code == 400
        answer = (await client.post(fire, json=right)).json()
        assert (answer["outcome"], answer["run"]) == ("skipped", None)
        assert "has no time 2030-01-01T00:00:01.000Z" in answer["reason"]
        gone = (await client.post("/internal/triggers/nobody/fire", json=right)).json()
        assert gone["outcome"] == "skipped"
        assert (await client.post("/internal/runs/nobody/look", json={})).json() == {"ended": True}


async def test_a_worker_asks_again_only_where_that_may_help(up: Stack) -> None:
    """A request that cannot be understood ends its launcher; one with a token that is being changed does not."""
    request = {"trigger": "t", "scheduledAt": "nonsense", "startedAt": "2030-01-01T00:00:00Z"}
    for token, url, is_final in (
        (worker_token(up.settings), up.url, True),
        ("wrong", up.url, False),
        ("", "http://127.0.0.1:1", False),
    ):
        door, environment, told = GatewayDoor(url, lambda token=token: token), ActivityEnvironment(), []  # type: ignore[misc]
        environment.on_heartbeat = told.append
        with pytest.raises(ApplicationError) as failed:
            await environment.run(TriggerActivities(door).fire_trigger, request)
        assert failed.value.non_retryable is is_final
        assert told[-1]["failures"] == 1  # so nobody takes it for the death of a worker
        await door.aclose()


def test_all_triggers_are_looked_at_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    class Book:
        def of_kind(self, kind: str, *, enabled: bool = True) -> list[Any]:
            return [type("T", (), {"id": str(number)}) for number in range(5)]

    found = Schedules(Book(), None, None, None, task_queue="q")  # type: ignore[arg-type]
    assert found._next_looks(None) == set("01234")
    looked = [found._next_looks(2) for _ in range(5)]
    assert all(len(ids) == 2 for ids in looked)
    assert set().union(*looked) == set("01234")
    assert schedules.LOOKS > 0
