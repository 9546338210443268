"""What a change of the clocks does to a schedule, in words: which of its times do not exist, and which come twice.

What Temporal does with them follows no simple rule (it skips an hour, or starts at a time that the schedule does not
have), so nothing is predicted: the notes compare the times that the server lists with those that people would expect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from temporalio.client import ScheduleCalendarSpec

from innkeeper.gateway.triggers.schedule import SchedulePart, fits, schedule_spec

AROUND = timedelta(hours=3)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
MAX_NAMED = 3


@dataclass(frozen=True)
class ClockChange:
    """A moment at which the clocks of a zone change. `before`, `after`: what they are ahead of UTC."""

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def first(self) -> datetime:
        """Where the local times begin that are left out, or come twice; without a zone, as on a clock."""
        return self._clock(min(self.before, self.after))

    @property
    def last(self) -> datetime:
        """Where they end."""
        return self._clock(max(self.before, self.after))

    def _clock(self, offset: timedelta) -> datetime:
        return self.at.replace(tzinfo=None) + offset


def clock_changes(zone: ZoneInfo, start: datetime, end: datetime) -> list[ClockChange]:
    """The changes of a zone's clocks between two moments, of which no two are on one day."""
    changes = []
    day = start
    while day < end:
        following = min(day + DAY, end)
        if _offset(zone, day) != _offset(zone, following):
            at = _change_between(zone, day, following)
            changes.append(ClockChange(at, _offset(zone, day), _offset(zone, following)))
        day = following
    return changes


def _change_between(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first whole second with another offset than `low` has."""
    before = _offset(zone, low)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
    return high.replace(microsecond=0)


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def concerning(schedule: SchedulePart, start: datetime, end: datetime) -> list[ClockChange]:
    """The changes of the clocks that a schedule may meet between two moments."""
    if schedule.interval is not None:  # it counts in UTC
        return []
    return clock_changes(ZoneInfo(schedule.timezone), start, end)


def daylight_note(schedule: SchedulePart, change: ClockChange, listed: Sequence[datetime] | None) -> str | None:
    """What a change of the clocks means for a schedule; None: nothing.

    Args:
        listed: All its times from `AROUND` before the change until `AROUND` after it, as the server lists them; None
            when they are too many.
    """
    zone, calendars = ZoneInfo(schedule.timezone), schedule_spec(schedule).calendars
    concerned = list(_matching(calendars, change.first, change.last))
    odd = [moment for moment in listed or () if not fits(calendars, moment.astimezone(zone))]
    if not concerned and not odd:
        return None
    if change.after > change.before:
        return _told_gap(schedule.timezone, change, concerned) + _told_odd(zone, odd)
    return _told_repeat(schedule.timezone, change, concerned, listed) + _told_odd(zone, odd)


def _matching(calendars: Sequence[ScheduleCalendarSpec], first: datetime, last: datetime) -> Iterator[datetime]:
    """The clock times from `first` until before `last` that match one of the calendars."""
    ranges = [part for item in calendars for part in item.second]
    seconds = sorted({second for part in ranges for second in range(part.start, part.end + 1, part.step)})
    minute = first.replace(second=0)
    while minute < last:
        for second in seconds:
            local = minute + timedelta(seconds=second)
            if first <= local < last and fits(calendars, local):
                yield local
        minute += MINUTE


def _told_gap(zone: str, change: ClockChange, concerned: Sequence[datetime]) -> str:
    named = f": {_named(concerned)} not exist on that day, so nothing starts then" if concerned else ""
    hours = f"from {_clock(change.first)} to {_clock(change.last)}"
    return f"on {change.first:%Y-%m-%d} the clocks of {zone} go {hours}{named}"


def _told_repeat(
    zone: str, change: ClockChange, concerned: Sequence[datetime], listed: Sequence[datetime] | None
) -> str:
    moments = {moment for local in concerned for moment in _both(change, local)}
    told = ""
    if moments and listed is not None:
        kept = len(moments.intersection(listed))
        told = f": of these {len(moments)} moments of the schedule, Temporal starts {kept}"
    hours = f"from {_clock(change.last)} to {_clock(change.first)}"
    return f"on {change.first:%Y-%m-%d} the clocks of {zone} go back {hours}, so the times between come twice{told}"


def _both(change: ClockChange, local: datetime) -> tuple[datetime, datetime]:
    """The two moments of a clock time that comes twice."""
    moment = local.replace(tzinfo=UTC)
    return moment - change.before, moment - change.after


def _told_odd(zone: ZoneInfo, odd: Sequence[datetime]) -> str:
    if not odd:
        return ""
    clocks = ", ".join(_clock(moment.astimezone(zone)) for moment in odd[:MAX_NAMED])
    return f"; Temporal starts it at {clocks} instead, which is none of its times"


def _named(concerned: Sequence[datetime]) -> str:
    if len(concerned) > MAX_NAMED:
        return f"{len(concerned)} of its times do"
    verb = "does" if len(concerned) == 1 else "do"
    return f"{' and '.join(_clock(local) for local in concerned)} {verb}"


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"
