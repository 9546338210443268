"""Cron lines with the meaning they have on Unix.

Temporal reads cron lines too, and reads some otherwise: a day must match day of month *and* day of week, a sixth
field is the year, a number with a step is a range. So lines are read here, and Temporal gets calendars. What the
crons of this world read in two ways is refused with the reason.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_CHARS = 200
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Of the longest year."""
NICKNAMES: Mapping[str, str] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_INSTEAD = {
    "L": "give the days, such as '28-31', or 25-31 with dayOfWeek in a calendar list",
    "W": "give weekdays as '1-5' in the last field",
    "#": "give the days of month of that week, such as '8-14', in a calendar list with dayOfWeek",
    "?": "write '*'",
    "H": "give a number; 'jitterSeconds' spreads the load",
    "~": "give a number; 'jitterSeconds' spreads the load",
}
"""Signs that other crons know, and what to write."""


class CronError(ValueError):
    """A line is no Unix cron line, or has no times. The message says what was found and what is allowed."""


@dataclass(frozen=True)
class Field:
    """A field of a line. `last_written` is 7 where Sunday has two numbers."""

    name: str
    first: int
    last: int
    last_written: int
    names: tuple[str, ...] = ()

    @property
    def bounds(self) -> str:
        return f"{self.first}-{self.last_written}" + (f" and {self.names[0]}-{self.names[-1]}" if self.names else "")


MINUTE = Field("minute", 0, 59, 59)
HOUR = Field("hour", 0, 23, 23)
DAY = Field("day of month", 1, 31, 31)
MONTH = Field("month", 1, 12, 12, MONTHS)
WEEKDAY = Field("day of week", 0, 6, 7, WEEKDAYS)
FIELDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


@dataclass(frozen=True)
class Cron:
    """A line: the numbers that each field takes, in order.

    Attributes:
        weekdays: 0 is Sunday.
        is_either: A day matches when the day of month *or* the day of week does; else it needs both. It is so where
            neither field begins with `*`, as in Vixie's cron: `*/2` beside a day of week needs both.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    is_either: bool


def parse_cron(line: str) -> Cron:
    """Read a line of five fields, or a nickname such as `@daily`.

    Raises:
        CronError: It is none, means something else elsewhere, or names only dates that no year has.

    Example:
        >>> cron = parse_cron("0 9 13 * fri")
        >>> cron.days, cron.weekdays, cron.is_either
        ((13,), (5,), True)
    """
    texts = _fields_of(line)
    minutes, hours, days, months, weekdays = (_parse_field(*pair) for pair in zip(texts, FIELDS, strict=True))
    is_either = not texts[2].startswith("*") and not texts[4].startswith("*")
    cron = Cron(minutes, hours, days, months, weekdays, is_either)
    if not cron.is_either and not has_dates(cron.days, cron.months):
        raise CronError(f"it has no times: no year has such a date ({texts[2]!r} in month {texts[3]!r})")
    return cron


def has_dates(days: Iterable[int], months: Iterable[int]) -> bool:
    """Does any year have one of these days in one of these months?"""
    first = min(days)
    return any(first <= DAYS_IN_MONTH[month - 1] for month in months)


def _fields_of(line: str) -> list[str]:
    if len(line) > MAX_CHARS:
        raise CronError(f"it has {len(line)} characters; at most {MAX_CHARS} are allowed")
    words = [word for word in re.split("[ \t]+", line) if word]
    if words and words[0].startswith("@"):
        return _fields_of_nickname(words)
    if words and re.match("(CRON_)?TZ=", words[0]):
        raise CronError("a cron line here names no time zone; give it as 'timezone'")
    if len(words) == 6:
        raise CronError(
            "it has 6 fields, which some read as seconds first and others as a year last; give 5 (minute, hour, day of "
            "month, month, day of week), or a calendar list for seconds and years"
        )
    if len(words) != 5:
        raise CronError(f"it has {len(words)} fields; give 5: minute, hour, day of month, month, day of week")
    return words


def _fields_of_nickname(words: list[str]) -> list[str]:
    if words[0].lower() == "@every":
        raise CronError("'@every' is not a time of day; give an interval")
    known = NICKNAMES.get(words[0].lower())
    if known is None or len(words) > 1:
        raise CronError(f"{' '.join(words)!r} is not known; known are {', '.join(NICKNAMES)}")
    return known.split()


def _parse_field(text: str, field: Field) -> tuple[int, ...]:
    numbers = {number for item in text.split(",") for number in _parse_item(item, field)}
    return tuple(sorted({field.first if number > field.last else number for number in numbers}))


def _parse_item(item: str, field: Field) -> Iterable[int]:
    """One item of a list: `*`, a number or name, a range; the first and the last with a step."""
    span, slash, step_text = item.partition("/")
    low, dash, high = span.partition("-")
    if span == "*":
        first, last = field.first, field.last
    else:
        first = _number(low, item, field)
        last = _number(high, item, field) if dash else first
    if not slash:
        step = 1
    elif span != "*" and not dash:
        wanted = f"{low}-{field.last_written}/{step_text}"
        raise CronError(f"{item!r} in {field.name} has a step without a range; give one, such as {wanted!r}")
    else:
        step = _step(step_text, item, field)
    if last < first:
        raise CronError(f"{item!r} in {field.name} runs backwards; give two ranges, as a list")
    return range(first, last + 1, step)


def _number(text: str, item: str, field: Field) -> int:
    if text.lower() in field.names:
        return field.first + field.names.index(text.lower())
    if not (text.isascii() and text.isdigit()):
        raise _not_understood(item, field)
    number = int(text)
    if not field.first <= number <= field.last_written:
        raise CronError(f"{item!r} in {field.name} is out of bounds; allowed are {field.bounds}")
    return number


def _step(text: str, item: str, field: Field) -> int:
    if not (text.isascii() and text.isdigit()):
        raise _not_understood(item, field)
    step = int(text)
    if not 1 <= step <= field.last_written:
        raise CronError(f"{item!r} in {field.name} has the step {step}; allowed are 1-{field.last_written}")
    return step


def _not_understood(item: str, field: Field) -> CronError:
    unnamed = re.sub("|".join(field.names) or "$", "", item, flags=re.IGNORECASE).upper()
    for sign, instead in _INSTEAD.items():
        if sign in unnamed:
            return CronError(f"{item!r} in {field.name} has {sign!r}, which Unix cron does not know; {instead}")
    return CronError(f"{item!r} in {field.name} is not understood; allowed are {field.bounds}, '*', ranges and steps")


# --- in words -------------------------------------------------------------------------------------------------------


def describe_cron(cron: Cron) -> str:
    """A line in words.

    Example:
        >>> describe_cron(parse_cron("0 9 13 * 5"))
        'at 09:00, on day 13 of the month or on Friday'
    """
    parts = [_times_of_day(cron), _days(cron)]
    if len(cron.months) < 12:
        parts.append(f"in {_words([calendar.month_name[month] for month in cron.months])}")
    return ", ".join(parts)


def _times_of_day(cron: Cron) -> str:
    if len(cron.minutes) * len(cron.hours) <= 4:
        return f"at {_words([f'{hour:02}:{minute:02}' for hour in cron.hours for minute in cron.minutes])}"
    minutes = "every minute" if len(cron.minutes) == 60 else f"at minute {_spans(cron.minutes)}"
    hours = "of every hour" if len(cron.hours) == 24 else f"of hour {_spans(cron.hours)}"
    return f"{minutes} {hours}"


def _days(cron: Cron) -> str:
    days = f"on day {_spans(cron.days)} of the month"
    weekdays = _words([calendar.day_name[(number - 1) % 7] for number in cron.weekdays])
    if cron.is_either:
        return f"{days} or on {weekdays}"
    if len(cron.weekdays) == 7:
        return days if len(cron.days) < 31 else "every day"
    return f"on {weekdays}" if len(cron.days) == 31 else f"{days} when that is {weekdays}"


def _spans(numbers: tuple[int, ...]) -> str:
    return _words([str(first) if first == last else f"{first}-{last}" for first, last in runs_of(numbers)])


def runs_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of numbers that follow each other: the first and the last of each.

    Example:
        >>> runs_of((1, 2, 3, 7))
        [(1, 3), (7, 7)]
    """
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _words(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
