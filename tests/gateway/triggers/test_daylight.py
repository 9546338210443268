"""What changes of the clocks do to schedules, beside what a real server lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import Client

from innkeeper.gateway.deliveries.schedule_times import ScheduleTimes, upcoming
from innkeeper.gateway.triggers.daylight import ClockChange, clock_changes
from tests.gateway.triggers.test_schedule import created, part

BERLIN = "Europe/Berlin"
SPRING = datetime(2027, 3, 26, tzinfo=UTC)
AUTUMN = datetime(2027, 10, 30, 20, tzinfo=UTC)


async def preview(client: Client, start: datetime, count: int = 4, **schedule: Any) -> tuple[list[str], list[str]]:
    """Times as `MM-DD HH:MM` in UTC, and the notes."""
    async with created(client, part(**schedule)) as handle:
        told = await upcoming(ScheduleTimes(client, handle.id), part(**schedule), start, count)
    return [moment[5:16].replace("T", " ") for moment in told["times"]], told["notes"]


def test_clock_changes_of_a_year() -> None:
    start, end = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    hours = [timedelta(hours=count) for count in range(3)]
    assert clock_changes(ZoneInfo(BERLIN), start, end) == [
        ClockChange(datetime(2027, 3, 28, 1, tzinfo=UTC), hours[1], hours[2]),
        ClockChange(datetime(2027, 10, 31, 1, tzinfo=UTC), hours[2], hours[1]),
    ]
    assert clock_changes(ZoneInfo("UTC"), start, end) == []
    (howe, _) = clock_changes(ZoneInfo("Australia/Lord_Howe"), start, end)
    assert (howe.first, howe.last) == (datetime(2027, 4, 4, 1, 30), datetime(2027, 4, 4, 2))


async def test_a_time_in_the_spring_gap_does_not_run_and_the_note_says_so(temporal: Client) -> None:
    times, notes = await preview(temporal, SPRING, cron="30 2 * * *", timezone=BERLIN)
    assert times == ["03-26 01:30", "03-27 01:30", "03-29 00:30", "03-30 00:30"]
    assert notes[0] == (
        "on 2027-03-28 the clocks of Europe/Berlin go from 02:00 to 03:00: 02:30 does not exist on that day, "
        "so nothing starts then"
    )


async def test_a_time_that_comes_twice_starts_once_in_berlin_and_twice_in_new_york(temporal: Client) -> None:
    times, (note,) = await preview(temporal, AUTUMN, 2, cron="30 2 31 10 *", timezone=BERLIN, end="2028-01-01T00:00Z")
    assert times == ["10-31 01:30"]
    assert "go back from 03:00 to 02:00" in note
    assert note.endswith("of these 2 moments of the schedule, Temporal starts 1")
    start = datetime(2027, 11, 7, 0, tzinfo=UTC)
    times, (note, *_) = await preview(temporal, start, 2, cron="30 1 * * *", timezone="America/New_York")
    assert times == ["11-07 05:30", "11-07 06:30"]
    assert note.endswith("of these 2 moments of the schedule, Temporal starts 2")


async def test_an_hour_that_the_server_leaves_out_is_told(temporal: Client) -> None:
    start = datetime(2027, 10, 30, 22, 30, tzinfo=UTC)
    times, (note, *_) = await preview(temporal, start, cron="0 * * * *", timezone=BERLIN)
    assert times == ["10-30 23:00", "10-31 00:00", "10-31 02:00", "10-31 03:00"]
    assert note.endswith("of these 2 moments of the schedule, Temporal starts 1")
    times, (note, *_) = await preview(temporal, start, cron="*/30 * * * *", timezone=BERLIN)
    assert times == ["10-30 23:00", "10-30 23:30", "10-31 00:00", "10-31 01:30"]
    assert note.endswith("of these 4 moments of the schedule, Temporal starts 2")


async def test_a_start_at_a_time_that_the_schedule_does_not_have_is_told(temporal: Client) -> None:
    times, (note, *_) = await preview(temporal, AUTUMN, 2, cron="*/20 2 * * *", timezone=BERLIN)
    assert times == ["10-31 01:00", "10-31 02:20"]
    assert note.endswith("Temporal starts it at 03:20 instead, which is none of its times")


@pytest.mark.parametrize(
    "schedule",
    [
        {"cron": "0 9 * * *", "timezone": BERLIN},
        {"cron": "30 2 * * *", "timezone": "UTC"},
        {"interval": {"everySeconds": 1800}, "timezone": BERLIN},
        {"cron": "30 2 * * *", "timezone": BERLIN, "end": "2027-03-01T00:00:00Z"},
    ],
)
async def test_what_no_change_concerns_has_no_note(temporal: Client, schedule: dict[str, Any]) -> None:
    _, notes = await preview(temporal, datetime(2027, 2, 1, tzinfo=UTC), **schedule)
    assert notes == []


async def test_so_many_times_that_the_server_does_not_list_them_all_are_told_without_numbers(temporal: Client) -> None:
    everything = [{"second": [{"start": 0, "end": 59}], "minute": [{"start": 0, "end": 59}],
                   "hour": [{"start": 0, "end": 23}]}]  # fmt: skip
    times, (note, *_) = await preview(temporal, AUTUMN, calendar=everything, timezone=BERLIN)
    assert len(times) == 4
    assert note.endswith("so the times between come twice")


async def test_seldom_times_are_found_and_none_is_said(temporal: Client) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    async with created(temporal, part(cron="0 0 29 2 *")) as handle:
        found = await ScheduleTimes(temporal, handle.id).first(start, 3)
    assert [moment.year for moment in found] == [2028, 2032, 2036]
    times, notes = await preview(temporal, start, cron="@daily", end="2025-01-01T00:00:00Z")
    assert (times, notes) == ([], ["it has no time in the future"])
