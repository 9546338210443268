"""The times of a schedule as the server lists them, with what people may not expect of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import Client

from innkeeper.gateway.moments import iso_of
from innkeeper.gateway.runs.view import JsonObject
from innkeeper.gateway.triggers.daylight import AROUND, concerning, daylight_note
from innkeeper.gateway.triggers.schedule import SchedulePart, schedule_bounds, schedule_notes

CALL_TIMEOUT = timedelta(seconds=5)
PAGE = 1_000
"""The server lists no more times at once."""
HORIZONS = tuple(timedelta(days=days) for days in (35, 400, 4_000, 30_000))
YEAR = timedelta(days=366)


@dataclass(frozen=True)
class ScheduleTimes:
    """The times of one schedule, as the server lists them."""

    client: Client
    schedule: str

    async def between(self, start: datetime, end: datetime) -> list[datetime]:
        """The times after `start`, up to and with `end`, but `PAGE` at most."""
        request = ListScheduleMatchingTimesRequest(namespace=self.client.namespace, schedule_id=self.schedule)
        request.start_time.FromDatetime(start)
        request.end_time.FromDatetime(end)
        answer = await self.client.workflow_service.list_schedule_matching_times(request, timeout=CALL_TIMEOUT)
        return [moment.ToDatetime(tzinfo=UTC) for moment in answer.start_time]

    async def first(self, start: datetime, count: int) -> list[datetime]:
        """The first times after `start`. Most schedules fire soon, so most need one question."""
        times: list[datetime] = []
        for horizon in HORIZONS:
            times = await self.between(start, start + horizon)
            if len(times) >= count:
                break
        return times[:count]


async def upcoming(listed: ScheduleTimes, part: SchedulePart, now: datetime, count: int) -> JsonObject:
    """The first times after `now`, without jitter: `{"times": [ISO], "notes": [text]}`.

    Raises:
        RPCError: Temporal is away.
    """
    times = await listed.first(now, count)
    notes = [*_notes(part, times), *await _clock_notes(listed, part, now)]
    return {"times": [iso_of(moment) for moment in times], "notes": notes}


def _notes(part: SchedulePart, times: Sequence[datetime]) -> list[str]:
    notes = list(schedule_notes(part))
    if part.jitter_seconds:
        notes.append(f"each start is up to {part.jitter_seconds} s later than its time (jitterSeconds)")
    if not times:
        notes.append("it has no time in the future")
    return notes


async def _clock_notes(listed: ScheduleTimes, part: SchedulePart, now: datetime) -> list[str]:
    """What the changes of the clocks within a year mean for the schedule."""
    start, end = schedule_bounds(part)
    first, last = max(now, start or now), min(now + YEAR, end or now + YEAR)
    notes = []
    for change in concerning(part, first, last):
        around = await listed.between(change.at - AROUND, change.at + AROUND)
        whole = around if len(around) < PAGE else None
        # In a thread: for 50 calendars with all seconds it takes a second.
        note = await asyncio.to_thread(daylight_note, part, change, whole)
        if note is not None:
            notes.append(note)
    return notes
