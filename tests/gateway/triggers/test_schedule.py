"""What Temporal is given for a schedule; a real server says which times that means."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import orjson
import pytest
from pydantic import ValidationError
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleHandle,
    ScheduleOverlapPolicy,
    ScheduleRange,
)
from temporalio.service import RPCError

from innkeeper.gateway.runs.temporal_client import is_away
from innkeeper.gateway.triggers.schedule import (
    SchedulePart,
    StartRefusal,
    describe_schedule,
    has_time,
    schedule_notes,
    schedule_policy,
    schedule_spec,
    schedule_state,
    start_refusal,
)
from tests.effort import LONG

YEAR_START = datetime(2027, 1, 1, tzinfo=UTC)
YEAR_END = datetime(2028, 1, 1, tzinfo=UTC)
PAGE = 1_000
"""The server gives no more times at once."""
COMPARED = 2 * PAGE


def part(**fields: Any) -> SchedulePart:
    return SchedulePart.model_validate_json(orjson.dumps(fields))


def test_spec_has_no_cron_lines_and_always_a_zone() -> None:
    spec = schedule_spec(part(cron="*/15 9-17 * * 1-5"))
    assert (list(spec.cron_expressions), spec.time_zone_name) == ([], "UTC")
    (calendar,) = spec.calendars
    assert calendar.minute == (ScheduleRange(0, 45, 15),)
    assert calendar.hour == (ScheduleRange(9, 17, 1),)
    assert calendar.day_of_week == (ScheduleRange(1, 5, 1),)


def test_days_by_month_or_week_are_two_calendars() -> None:
    assert len(schedule_spec(part(cron="0 9 13 * 5")).calendars) == 2
    assert len(schedule_spec(part(cron="0 9 13 * *")).calendars) == 1
    # The half that no year has is left out; Temporal deletes a schedule without times after a week.
    assert len(schedule_spec(part(cron="0 9 31 2 5")).calendars) == 1


def test_policy_and_state() -> None:
    policy = schedule_policy(part(cron="@daily"))
    assert (policy.overlap, policy.catchup_window) == (ScheduleOverlapPolicy.SKIP, timedelta(seconds=60))
    policy = schedule_policy(part(cron="@daily", overlap="buffer_all", catchUpSeconds=3600))
    assert (policy.overlap, policy.catchup_window) == (ScheduleOverlapPolicy.BUFFER_ALL, timedelta(hours=1))
    state = schedule_state(part(cron="@daily", note="until the move"), enabled=False)
    assert (state.paused, state.note) == (True, "until the move")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "must have one of"),
        ({"cron": "@daily", "interval": {"everySeconds": 60}}, "must have one of"),
        ({"calendar": []}, "must not be empty"),
        ({"cron": "@daily", "timezone": "Europe/Berlinn"}, "known time zone"),
        ({"cron": "@daily", "timezone": "../../etc/passwd"}, "known time zone"),
        ({"cron": "@daily", "timezone": "Local"}, "known time zone"),
        ({"cron": "@daily", "timezone": ""}, "known time zone"),
        ({"cron": "@daily", "timezone": "America"}, "known time zone"),
        ({"cron": "@daily", "start": "2030-01-01T00:00:00"}, "with its offset"),
        ({"cron": "@daily", "start": "2030-01-01T00:00:00Z", "end": "2030-01-01T01:00:00+01:00"}, "after its start"),
        ({"cron": "@daily", "catchUpSeconds": 9}, "greater than or equal to 10"),
        ({"cron": "@daily", "jitterSeconds": -1}, "greater than or equal to 0"),
        ({"interval": {"everySeconds": 0}}, "greater than or equal to 1"),
        ({"interval": {"everySeconds": 60, "offsetSeconds": 60}}, "below its everySeconds"),
        ({"calendar": [{"hour": [24]}]}, "from 0 to 23"),
        ({"calendar": [{"hour": []}]}, "from 0 to 23"),
        ({"calendar": [{"minute": [{"start": 5, "end": 4}]}]}, "not before its start"),
        ({"calendar": [{"dayOfMonth": [31], "month": [4]}]}, "no times"),
        ({"calendar": [{"dayOfMonth": [29], "month": [2], "year": [2027, 2029]}]}, "no times"),
        ({"calendar": [{"dayOfMonth": [1], "month": [1], "year": [2027], "dayOfWeek": [1]}]}, "no times"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        part(**fields)


def test_words_and_notes() -> None:
    assert describe_schedule(part(cron="0 9 * * *", timezone="Asia/Tokyo")) == "at 09:00, every day (Asia/Tokyo)"
    assert describe_schedule(part(interval={"everySeconds": 90})) == "every 90 s, counted from 1970 in UTC"
    assert schedule_notes(part(cron="0 9 13 * 5")) == ()
    assert "both day of month and day of week" in schedule_notes(part(cron="0 9 */2 * 5"))[0]
    assert "more than 60 s behind" in schedule_notes(part(cron="@daily", overlap="buffer_one"))[0]


# --- beside a real server -------------------------------------------------------------------------------------------


@asynccontextmanager
async def created(client: Client, schedule: SchedulePart) -> AsyncIterator[ScheduleHandle]:
    action = ScheduleActionStartWorkflow("Nothing", id="nothing", task_queue="nobody")
    spec, policy = schedule_spec(schedule), schedule_policy(schedule)
    state = schedule_state(schedule, enabled=False)
    handle = await client.create_schedule(
        f"trigger-{uuid.uuid4()}", Schedule(action=action, spec=spec, policy=policy, state=state)
    )
    try:
        yield handle
    finally:
        await handle.delete()


async def server_times(
    client: Client, schedule: SchedulePart, start: datetime = YEAR_START, end: datetime = YEAR_END
) -> list[datetime]:
    """The first `COMPARED` times from `start` until before `end`."""
    found: list[datetime] = []
    async with created(client, schedule) as handle, asyncio.timeout(60):
        while len(found) < COMPARED:
            request = ListScheduleMatchingTimesRequest(namespace=client.namespace, schedule_id=handle.id)
            # The server gives what is after the start: a second before it counts the start in.
            request.start_time.FromDatetime((found[-1] if found else start - timedelta(seconds=1)).replace(tzinfo=None))
            request.end_time.FromDatetime((end - timedelta(seconds=1)).replace(tzinfo=None))
            try:
                answer = await client.workflow_service.list_schedule_matching_times(request)
            except RPCError as error:
                if not is_away(error):  # a server that has much to do gives up some calls by itself
                    raise
                continue
            page = [moment.ToDatetime(tzinfo=UTC) for moment in answer.start_time]
            found += [moment for moment in page if not found or moment > found[-1]]
            if len(page) < PAGE:
                break
    return found[:COMPARED]


LAST = (59, 23, 31, 12, 7)
FIRST = (0, 0, 1, 1, 0)


def slow_times(line: str, start: datetime = YEAR_START, end: datetime = YEAR_END) -> Iterator[datetime]:
    """The times of a plain cron line (numbers only) in UTC, by asking each day and each minute of it. Independent of
    the code: every number of a field is tried against the text."""
    minute, hour, day, month, weekday = line.split()
    of_day = [at for at in range(24 * 60) if takes(hour, at // 60, 1) and takes(minute, at % 60, 0)]
    today = start.date()
    while today < end.date():
        if takes(month, today.month, 3) and takes_day(day, weekday, today):
            for at in of_day:
                yield datetime(today.year, today.month, today.day, at // 60, at % 60, tzinfo=UTC)
        today += timedelta(days=1)


def takes_day(day: str, weekday: str, today: date) -> bool:
    by_month = takes(day, today.day, 2)
    by_week = takes(weekday, today.isoweekday(), 4) or takes(weekday, today.isoweekday() % 7, 4)
    return by_month and by_week if day[0] == "*" or weekday[0] == "*" else by_month or by_week


def takes(text: str, number: int, field: int) -> bool:
    for item in text.split(","):
        span, _, step = item.partition("/")
        low, _, high = span.partition("-")
        first, last = (FIRST[field], LAST[field]) if span == "*" else (int(low), int(high or low))
        if first <= number <= last and (number - first) % int(step or 1) == 0:
            return True
    return False


def random_line(chance: random.Random) -> str:
    return " ".join(random_field(chance, field) for field in range(5))


def random_field(chance: random.Random, field: int) -> str:
    first, last = FIRST[field], LAST[field]
    if chance.random() < (0.1 if field < 2 else 0.45):
        return "*"
    return ",".join(random_item(chance, first, last) for _ in range(chance.choice((1, 1, 2, 3))))


def random_item(chance: random.Random, first: int, last: int) -> str:
    low, high = sorted((chance.randint(first, last), chance.randint(first, last)))
    step = chance.randint(1, max(1, (last - first) // 2))
    return chance.choice((str(low), str(low), f"{low}-{high}", f"{low}-{high}/{step}", f"*/{step}"))


async def test_server_takes_random_lines_as_unix_does(temporal: Client) -> None:
    chance = random.Random(None if LONG else 14)
    compared = 0
    while compared < 50:
        line = random_line(chance)
        expected = list(islice(slow_times(line), COMPARED))
        if not expected:  # a date that no year has, or none in this one
            continue
        assert await server_times(temporal, part(cron=line)) == expected, line
        compared += 1


@pytest.mark.parametrize(
    "line", ["0 9 13 * 5", "0 9 */10 * 5", "0 0 29 2 *", "0 0 31 2 1", "30 4 1,15 * 5", "5 0 * 8 *"]
)
async def test_server_takes_known_lines_as_unix_does(temporal: Client, line: str) -> None:
    start, end = datetime(2027, 6, 1, tzinfo=UTC), datetime(2028, 6, 1, tzinfo=UTC)
    times = await server_times(temporal, part(cron=line), start, end)
    assert times
    assert times == list(slow_times(line, start, end))


async def test_zone_window_interval_and_calendar_reach_the_server(temporal: Client) -> None:
    fields = {"timezone": "Europe/Berlin", "start": "2027-03-27T00:00:00+01:00", "end": "2027-03-30T00:00:00+02:00"}
    berlin = await server_times(temporal, part(cron="0 12 * * *", **fields))
    assert [moment.hour for moment in berlin] == [11, 10, 10]  # summer time begins on 28 March 2027
    hour = timedelta(hours=1)
    interval = part(interval={"everySeconds": 1800, "offsetSeconds": 60})
    assert await server_times(temporal, interval, YEAR_START, YEAR_START + hour) == [
        YEAR_START + timedelta(minutes=1),
        YEAR_START + timedelta(minutes=31),
    ]
    calendar = {"second": [{"start": 0, "end": 59, "step": 30}], "month": [2], "dayOfMonth": [1], "year": [2027]}
    assert await server_times(temporal, part(calendar=[calendar])) == [
        datetime(2027, 2, 1, tzinfo=UTC),
        datetime(2027, 2, 1, 0, 0, 30, tzinfo=UTC),
    ]


async def test_every_overlap_policy_is_taken_by_the_server(temporal: Client) -> None:
    for overlap in ("skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"):
        schedule = part(cron="@daily", overlap=overlap, catchUpSeconds=10, jitterSeconds=5, note="why")
        async with created(temporal, schedule) as handle:
            described = (await handle.describe()).schedule
            assert described.policy == schedule_policy(schedule)
            assert described.state.paused
            assert described.state.note == "why"


# --- which starts are taken -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"cron": "*/20 9 * * 1-5", "timezone": "Europe/Berlin"},
        {"cron": "0 9 13 * 5", "timezone": "America/New_York"},
        {"interval": {"everySeconds": 86_399, "offsetSeconds": 77}},
        {"calendar": [{"second": [5], "hour": [{"start": 1, "end": 23, "step": 5}], "year": [2027], "dayOfWeek": [0]}]},
        {"cron": "30 2 * * *", "timezone": "Europe/Berlin"},
    ],
)
async def test_every_time_of_the_server_is_one_of_the_schedule(temporal: Client, fields: dict[str, Any]) -> None:
    schedule = part(**fields)
    times = await server_times(temporal, schedule)
    assert times
    assert all(has_time(schedule, moment) for moment in times)
    others = [moment + timedelta(seconds=1) for moment in times if moment.month not in (3, 10, 11)]
    assert not any(has_time(schedule, moment) for moment in others)


def test_no_time_lies_outside_of_start_and_end() -> None:
    schedule = part(cron="* * * * *", start="2027-01-01T00:00:00Z", end="2027-01-02T00:00:00Z")
    day = timedelta(days=1)
    assert [has_time(schedule, YEAR_START + n * day) for n in (-1, 0, 1, 2)] == [False, True, True, False]


def test_a_start_may_wait_as_long_as_its_time_allows() -> None:
    schedule = part(cron="@daily", catchUpSeconds=60)

    def refusal(after_s: float, moment: datetime = YEAR_START) -> StartRefusal | None:
        return start_refusal(schedule, moment, waited=timedelta(seconds=after_s))

    assert refusal(59) is None
    late = refusal(61)
    assert late is not None
    assert late.is_late
    none = refusal(0, YEAR_START + timedelta(seconds=1))
    assert none is not None
    assert not none.is_late
