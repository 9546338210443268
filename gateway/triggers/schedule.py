"""When a schedule fires: its definition, and what Temporal is given for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise, product
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from temporalio.client import (
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
)

from innkeeper.gateway.moments import iso_of
from innkeeper.gateway.triggers.cron import Cron, describe_cron, has_dates, parse_cron, runs_of
from innkeeper.gateway.triggers.parts import NOT_EMPTY, Moment, Note, Part

DAY_S = 86_400
YEAR_S = 365 * DAY_S
MIN_CATCH_UP_S = 10
"""Temporal takes no less."""
CATCH_UP_S = 60
"""Temporal's own default is a year: after an outage it would start all that was missed."""
MAX_CALENDARS = 50


def _known_zone(name: str) -> str:
    try:
        if name.lower() in ("local", "localtime"):  # the zone of the server's machine, whatever that is
            raise ValueError
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a known time zone such as 'Europe/Berlin' or 'UTC'") from None
    return name


def _cron_line(line: str) -> str:
    parse_cron(line)
    return line


TimeZone = Annotated[str, Field(max_length=64), AfterValidator(_known_zone)]
CronLine = Annotated[str, AfterValidator(_cron_line)]


class Span(Part):
    """Numbers from `start` to `end`, both included."""

    start: int
    end: int
    step: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.end < self.start:
            raise ValueError("must have an end that is not before its start")
        return self


def _branch(item: object) -> str:
    return "#span" if isinstance(item, dict | Span) else "#number"


Item = Annotated[Annotated[int, Tag("#number")] | Annotated[Span, Tag("#span")], Discriminator(_branch)]
Numbers = Annotated[tuple[Item, ...], Field(max_length=60)]


def _within(first: int, last: int) -> AfterValidator:
    def check(numbers: tuple[int | Span, ...]) -> tuple[int | Span, ...]:
        bounds = [bound for item in numbers for bound in ((item,) if isinstance(item, int) else (item.start, item.end))]
        if not bounds or min(bounds) < first or max(bounds) > last:
            raise ValueError(f"must hold numbers from {first} to {last}, or spans {{start, end, step}} of them")
        return numbers

    return AfterValidator(check)


class Calendar(Part):
    """Times at which every given field matches. `day_of_week`: 0 is Sunday."""

    second: Annotated[Numbers, _within(0, 59)] = (0,)
    minute: Annotated[Numbers, _within(0, 59)] = (0,)
    hour: Annotated[Numbers, _within(0, 23)] = (0,)
    day_of_month: Annotated[Numbers, _within(1, 31)] | None = None
    month: Annotated[Numbers, _within(1, 12)] | None = None
    year: Annotated[Numbers, _within(2000, 2100)] | None = None
    day_of_week: Annotated[Numbers, _within(0, 6)] | None = None
    comment: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _has_times(self) -> Self:
        days, months = _numbers(self.day_of_month, 1, 31), _numbers(self.month, 1, 12)
        if self.year is None and has_dates(days, months):  # each date falls on each weekday in some year
            return self
        if self.year is not None and _has_dates_in(_numbers(self.year, 0, 0), self, days, months):
            return self
        raise ValueError("has no times: no year of it has such a date")


def _numbers(items: Sequence[int | Span] | None, first: int, last: int) -> list[int]:
    if items is None:
        return list(range(first, last + 1))
    spans = [range(item, item + 1) if isinstance(item, int) else range(item.start, item.end + 1, item.step)
             for item in items]  # fmt: skip
    return sorted({number for span in spans for number in span})


def _has_dates_in(years: Iterable[int], wanted: Calendar, days: Iterable[int], months: Iterable[int]) -> bool:
    weekdays = frozenset(_numbers(wanted.day_of_week, 0, 6))
    return any(_weekday(*day) in weekdays for day in product(years, months, days))


def _weekday(year: int, month: int, day: int) -> int | None:
    """0 is Sunday; None where there is no such day."""
    try:
        return date(year, month, day).isoweekday() % 7
    except ValueError:
        return None


class Interval(Part):
    """Counted from 1970 in UTC, so a restart changes nothing."""

    every_seconds: Annotated[int, Field(ge=1, le=YEAR_S)]
    offset_seconds: Annotated[int, Field(ge=0, le=YEAR_S)] = 0

    @model_validator(mode="after")
    def _offset_within(self) -> Self:
        if self.offset_seconds >= self.every_seconds:
            raise ValueError(f"must have an offsetSeconds below its everySeconds ({self.every_seconds})")
        return self


Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]


class SchedulePart(Part):
    """One of `cron`, `interval` and `calendar`, and how late and how often it may start.

    Attributes:
        start: No time before it, and none after `end`.
        overlap: What happens when the run of an earlier time is still open.
        catch_up_seconds: A start that is later than this is dropped, be it by an outage or behind an earlier run.
        note: Why it is paused, for people.
    """

    cron: CronLine | None = None
    interval: Interval | None = None
    calendar: Annotated[tuple[Calendar, ...], Field(max_length=MAX_CALENDARS), NOT_EMPTY] | None = None
    timezone: TimeZone = "UTC"
    jitter_seconds: Annotated[int, Field(ge=0, le=DAY_S)] = 0
    start: Moment | None = None
    end: Moment | None = None
    overlap: Overlap = "skip"
    catch_up_seconds: Annotated[int, Field(ge=MIN_CATCH_UP_S, le=YEAR_S)] = CATCH_UP_S
    note: Note = ""

    @model_validator(mode="after")
    def _one_kind_of_times(self) -> Self:
        kinds = [name for name in ("cron", "interval", "calendar") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(f"must have one of 'cron', 'interval' and 'calendar', found {', '.join(kinds) or 'none'}")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("must have an end that is after its start")
        return self


# --- what Temporal is given -----------------------------------------------------------------------------------------


def schedule_spec(schedule: SchedulePart) -> ScheduleSpec:
    """The times. Always a whole new spec: what a server describes has cron lines compiled into its calendars already,
    and lines set on that would add to them."""
    interval = schedule.interval
    start, end = schedule_bounds(schedule)
    return ScheduleSpec(
        calendars=_calendars(schedule),
        intervals=[] if interval is None else [_interval_spec(interval)],
        start_at=start,
        end_at=end,
        jitter=timedelta(seconds=schedule.jitter_seconds) if schedule.jitter_seconds else None,
        time_zone_name=schedule.timezone,
    )


def schedule_policy(schedule: SchedulePart) -> SchedulePolicy:
    return SchedulePolicy(
        overlap=ScheduleOverlapPolicy[schedule.overlap.upper()],
        catchup_window=timedelta(seconds=schedule.catch_up_seconds),
    )


def schedule_state(schedule: SchedulePart, *, enabled: bool) -> ScheduleState:
    return ScheduleState(paused=not enabled, note=schedule.note or None)


def schedule_bounds(schedule: SchedulePart) -> tuple[datetime | None, datetime | None]:
    """Its `start` and `end`."""
    return _datetime(schedule.start), _datetime(schedule.end)


def _datetime(moment: str | None) -> datetime | None:
    return None if moment is None else datetime.fromisoformat(moment)


def _interval_spec(interval: Interval) -> ScheduleIntervalSpec:
    offset = timedelta(seconds=interval.offset_seconds) if interval.offset_seconds else None
    return ScheduleIntervalSpec(every=timedelta(seconds=interval.every_seconds), offset=offset)


def _calendars(schedule: SchedulePart) -> list[ScheduleCalendarSpec]:
    if schedule.cron is not None:
        return cron_calendars(parse_cron(schedule.cron))
    return [_calendar_spec(item) for item in schedule.calendar or ()]


def cron_calendars(cron: Cron) -> list[ScheduleCalendarSpec]:
    """One calendar, or two where a day matches by day of month or day of week. Temporal unites calendars."""
    if not cron.is_either:
        return [_cron_calendar(cron, cron.days, cron.weekdays)]
    by_weekday = _cron_calendar(cron, tuple(range(1, 32)), cron.weekdays)
    if not has_dates(cron.days, cron.months):
        return [by_weekday]
    return [_cron_calendar(cron, cron.days, tuple(range(7))), by_weekday]


def _cron_calendar(cron: Cron, days: tuple[int, ...], weekdays: tuple[int, ...]) -> ScheduleCalendarSpec:
    return ScheduleCalendarSpec(
        minute=_ranges(cron.minutes),
        hour=_ranges(cron.hours),
        day_of_month=_ranges(days),
        month=_ranges(cron.months),
        day_of_week=_ranges(weekdays),
    )


def _calendar_spec(item: Calendar) -> ScheduleCalendarSpec:
    return ScheduleCalendarSpec(
        second=_ranges(_numbers(item.second, 0, 0)),
        minute=_ranges(_numbers(item.minute, 0, 0)),
        hour=_ranges(_numbers(item.hour, 0, 0)),
        day_of_month=_ranges(_numbers(item.day_of_month, 1, 31)),
        month=_ranges(_numbers(item.month, 1, 12)),
        year=() if item.year is None else _ranges(_numbers(item.year, 0, 0)),
        day_of_week=_ranges(_numbers(item.day_of_week, 0, 6)),
        comment=item.comment,
    )


def _ranges(numbers: Sequence[int]) -> tuple[ScheduleRange, ...]:
    """As few ranges as are easily found: one with a step, else runs."""
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    if len(numbers) > 2 and len(steps) == 1:
        return (ScheduleRange(numbers[0], numbers[-1], steps.pop()),)
    return tuple(ScheduleRange(first, last) for first, last in runs_of(numbers))


# --- which times it has ---------------------------------------------------------------------------------------------


def has_time(schedule: SchedulePart, moment: datetime) -> bool:
    """Is this one of its times? `moment` in whole seconds, without jitter.

    On days around a change of the clocks every moment counts: what Temporal does there, no rule says.
    """
    start, end = schedule_bounds(schedule)
    if (start is not None and moment < start) or (end is not None and moment > end):
        return False
    if schedule.interval is not None:
        interval = schedule.interval
        return (round(moment.timestamp()) - interval.offset_seconds) % interval.every_seconds == 0
    zone, day = ZoneInfo(schedule.timezone), timedelta(days=1)
    if (moment - day).astimezone(zone).utcoffset() != (moment + day).astimezone(zone).utcoffset():
        return True
    return fits(_calendars(schedule), moment.astimezone(zone))


@dataclass(frozen=True)
class StartRefusal:
    """Why a start comes to nothing. `is_late`: its time is over; else it has none."""

    reason: str
    is_late: bool = False


def start_refusal(schedule: SchedulePart, moment: datetime, *, waited: timedelta) -> StartRefusal | None:
    """Why the start for one of its times is not taken; None: it is.

    Temporal drops what it cannot start in time. What it has started may wait for a worker and for the gateway as long
    again, and no longer: else an outage would be followed by starts that nobody wants any more.

    Args:
        waited: How long ago Temporal started it.
    """
    if not has_time(schedule, moment):  # it was changed meanwhile, or somebody else has asked for the start
        return StartRefusal(f"the schedule has no time {iso_of(moment)}")
    waited_s = waited.total_seconds()
    if waited_s > schedule.catch_up_seconds:
        reason = f"it came {waited_s:.0f} s late: the gateway or all workers were away (catchUpSeconds is "
        return StartRefusal(f"{reason}{schedule.catch_up_seconds})", is_late=True)
    return None


def fits(calendars: Iterable[ScheduleCalendarSpec], local: datetime) -> bool:
    """Does a local time match one of the calendars?"""
    return any(_fits(item, local) for item in calendars)


def _fits(item: ScheduleCalendarSpec, local: datetime) -> bool:
    fields = (
        (item.second, local.second),
        (item.minute, local.minute),
        (item.hour, local.hour),
        (item.day_of_month, local.day),
        (item.month, local.month),
        (item.day_of_week, local.isoweekday() % 7),
    )
    return all(_holds(ranges, number) for ranges, number in fields) and (not item.year or _holds(item.year, local.year))


def _holds(ranges: Iterable[ScheduleRange], number: int) -> bool:
    return any(part.start <= number <= part.end and (number - part.start) % part.step == 0 for part in ranges)


# --- in words -------------------------------------------------------------------------------------------------------


def describe_schedule(schedule: SchedulePart) -> str:
    """When it fires, in words."""
    if schedule.interval is not None:
        interval = schedule.interval
        offset = f", {interval.offset_seconds} s after the full interval" if interval.offset_seconds else ""
        return f"every {interval.every_seconds} s, counted from 1970 in UTC{offset}"
    if schedule.cron is not None:
        return f"{describe_cron(parse_cron(schedule.cron))} ({schedule.timezone})"
    count = len(schedule.calendar or ())
    return f"by {count} calendar{'s' if count > 1 else ''} ({schedule.timezone})"


def schedule_notes(schedule: SchedulePart) -> tuple[str, ...]:
    """What people do not expect of a valid schedule."""
    notes = []
    if schedule.overlap in ("buffer_one", "buffer_all"):
        notes.append(
            f"a start that waits more than {schedule.catch_up_seconds} s behind an earlier run is dropped; "
            "give a larger catchUpSeconds to keep it"
        )
    if schedule.cron is not None and _needs_both(schedule.cron):
        notes.append(
            "a day must match both day of month and day of week, because one of the two fields begins with '*'"
        )
    return tuple(notes)


def _needs_both(line: str) -> bool:
    cron = parse_cron(line)
    return not cron.is_either and len(cron.days) < 31 and len(cron.weekdays) < 7
