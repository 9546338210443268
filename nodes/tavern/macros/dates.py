"""Dates as text: the format letters of moment.js, in English, and spans of time in words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime

_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")

_LONG = {
    "LTS": "h:mm:ss A",
    "LT": "h:mm A",
    "LLLL": "dddd, MMMM D, YYYY h:mm A",
    "LLL": "MMMM D, YYYY h:mm A",
    "LL": "MMMM D, YYYY",
    "L": "MM/DD/YYYY",
    "llll": "ddd, MMM D, YYYY h:mm A",
    "lll": "MMM D, YYYY h:mm A",
    "ll": "MMM D, YYYY",
    "l": "M/D/YYYY",
}
_LONG_TOKEN = re.compile(r"\[[^\[\]]*\]|\\.|LTS|LT|LL?L?L?|l{1,4}", re.DOTALL)


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _weekday(at: datetime) -> int:
    return at.isoweekday() % 7


def _day_of_year(at: datetime) -> int:
    return at.timetuple().tm_yday


def _us_week(at: datetime) -> tuple[int, int]:
    """Year and week where weeks start on Sunday and the one with January 1st is the first."""
    saturday = at.date() + timedelta(days=6 - _weekday(at))
    return saturday.year, (saturday.timetuple().tm_yday - 1) // 7 + 1


def _hour12(at: datetime) -> int:
    return at.hour % 12 or 12


def _offset(at: datetime, separator: str) -> str:
    minutes = round((at.utcoffset() or timedelta()).total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}{separator}{abs(minutes) % 60:02d}"


_TOKENS: dict[str, Callable[[datetime], str]] = {
    "M": lambda at: str(at.month),
    "Mo": lambda at: _ordinal(at.month),
    "MM": lambda at: f"{at.month:02d}",
    "MMM": lambda at: _MONTHS[at.month - 1][:3],
    "MMMM": lambda at: _MONTHS[at.month - 1],
    "Q": lambda at: str((at.month + 2) // 3),
    "Qo": lambda at: _ordinal((at.month + 2) // 3),
    "D": lambda at: str(at.day),
    "Do": lambda at: _ordinal(at.day),
    "DD": lambda at: f"{at.day:02d}",
    "DDD": lambda at: str(_day_of_year(at)),
    "DDDo": lambda at: _ordinal(_day_of_year(at)),
    "DDDD": lambda at: f"{_day_of_year(at):03d}",
    "d": lambda at: str(_weekday(at)),
    "do": lambda at: _ordinal(_weekday(at)),
    "dd": lambda at: _DAYS[_weekday(at)][:2],
    "ddd": lambda at: _DAYS[_weekday(at)][:3],
    "dddd": lambda at: _DAYS[_weekday(at)],
    "e": lambda at: str(_weekday(at)),
    "E": lambda at: str(at.isoweekday()),
    "w": lambda at: str(_us_week(at)[1]),
    "wo": lambda at: _ordinal(_us_week(at)[1]),
    "ww": lambda at: f"{_us_week(at)[1]:02d}",
    "W": lambda at: str(at.isocalendar().week),
    "Wo": lambda at: _ordinal(at.isocalendar().week),
    "WW": lambda at: f"{at.isocalendar().week:02d}",
    "YY": lambda at: f"{at.year % 100:02d}",
    "YYYY": lambda at: f"{at.year:04d}",
    "YYYYY": lambda at: f"{at.year:05d}",
    "YYYYYY": lambda at: f"+{at.year:06d}",
    "Y": lambda at: str(at.year),
    "y": lambda at: str(at.year),
    "gg": lambda at: f"{_us_week(at)[0] % 100:02d}",
    "gggg": lambda at: f"{_us_week(at)[0]:04d}",
    "GG": lambda at: f"{at.isocalendar().year % 100:02d}",
    "GGGG": lambda at: f"{at.isocalendar().year:04d}",
    "N": lambda _at: "AD",
    "NNNN": lambda _at: "Anno Domini",
    "A": lambda at: "AM" if at.hour < 12 else "PM",
    "a": lambda at: "am" if at.hour < 12 else "pm",
    "H": lambda at: str(at.hour),
    "HH": lambda at: f"{at.hour:02d}",
    "h": lambda at: str(_hour12(at)),
    "hh": lambda at: f"{_hour12(at):02d}",
    "k": lambda at: str(at.hour or 24),
    "kk": lambda at: f"{at.hour or 24:02d}",
    "m": lambda at: str(at.minute),
    "mm": lambda at: f"{at.minute:02d}",
    "s": lambda at: str(at.second),
    "ss": lambda at: f"{at.second:02d}",
    "Hmm": lambda at: f"{at.hour}{at.minute:02d}",
    "Hmmss": lambda at: f"{at.hour}{at.minute:02d}{at.second:02d}",
    "hmm": lambda at: f"{_hour12(at)}{at.minute:02d}",
    "hmmss": lambda at: f"{_hour12(at)}{at.minute:02d}{at.second:02d}",
    # moment.js names the zone only of times that were made as UTC, which macros never do.
    "z": lambda _at: "",
    "zz": lambda _at: "",
    "Z": lambda at: _offset(at, ":"),
    "ZZ": lambda at: _offset(at, ""),
    "X": lambda at: str(math.floor(at.timestamp())),
    "x": lambda at: str(math.floor(at.timestamp() * 1000)),
}

_TOKEN = re.compile(
    r"\[[^\[\]]*\]|\\.|[Hh]mm(?:ss)?|Mo|MM?M?M?|Do|DDDo|DD?D?D?|do|dd?d?d?|wo|ww?|Wo|WW?|Qo?|NNNN|N|"
    r"Y{4,6}|YY|Y|y|gggg|gg|GGGG|GG|e|E|a|A|hh?|HH?|kk?|mm?|ss?|S{1,9}|x|X|zz?|ZZ?|.",
    re.DOTALL,
)


def format_date(at: datetime, pattern: str) -> str:
    """Write a date by the letters of moment.js (`YYYY-MM-DD HH:mm`, `[literal]`, `LT` ...), in English."""
    pattern = _LONG_TOKEN.sub(lambda match: _LONG.get(match[0], match[0]), pattern)
    return _TOKEN.sub(lambda match: _token(at, match[0]), pattern)


def _token(at: datetime, token: str) -> str:
    if token.startswith("[") and len(token) > 1:
        return token[1:-1]
    if token.startswith("\\") and len(token) > 1:
        return token[1:]
    if token.startswith("S"):
        return f"{at.microsecond:06d}000"[: len(token)]
    write = _TOKENS.get(token)
    return token if write is None else write(at)


def shifted(at: datetime, offset: int) -> datetime:
    """The same moment elsewhere: an offset between -15 and 15 counts hours, any other minutes."""
    minutes = offset * 60 if -16 < offset < 16 else offset
    bounded = max(-1439, min(1439, minutes))
    return at.astimezone(timezone(timedelta(minutes=bounded)))


_ISO = re.compile(
    r"(\d{4})-(\d{2})(?:-(\d{2})"
    r"(?:[T ](\d{2})(?::?(\d{2})(?::?(\d{2})(?:[.,](\d{1,9}))?)?)?\s*(Z|[+-]\d{2}:?\d{2})?)?)?\Z",
    re.ASCII,
)
_FORMATS = (
    "%B %d, %Y", "%B %d, %Y %I:%M %p", "%B %d, %Y %I:%M%p", "%B %d, %Y %H:%M", "%B %d, %Y %H:%M:%S",
    "%b %d, %Y", "%b %d, %Y %I:%M %p", "%b %d, %Y %H:%M", "%b %d, %Y %H:%M:%S", "%d %B %Y", "%d %b %Y",
    "%m/%d/%Y", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%Y/%m/%d", "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S", "%Y", "%Y%m%d", "%Y-%m-%d", "%Y-%m-%d %I:%M %p", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S",
)  # fmt: skip


def parse_date(text: str, zone: tzinfo) -> datetime | None:
    """A date written as ISO 8601 or in a usual American way; `zone` where it names none. None when it is no date."""
    text = text.strip()[:80]
    try:
        found = _iso(text) or _usual(text)
        return found if found is None or found.tzinfo else found.replace(tzinfo=zone)
    except (ValueError, OverflowError):
        return None


def _iso(text: str) -> datetime | None:
    match = _ISO.match(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    micro = int(f"{fraction or '0':0<6}"[:6])
    at = datetime(int(year), int(month), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), micro)
    return at.replace(tzinfo=_zone(zone)) if zone else at


def _zone(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _usual(text: str) -> datetime | None:
    for pattern in _FORMATS:
        try:
            return datetime.strptime(text, pattern)
        except ValueError:
            continue
    try:
        return parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None


def _round(number: float) -> int:
    return math.floor(number + 0.5)


def humanise(span: timedelta, *, suffix: bool = False) -> str:
    """A span in words ("a few seconds", "3 hours"); with `suffix` also whether it is ahead ("in 3 hours") or past."""
    words = _span_words(abs(span.total_seconds()))
    if not suffix:
        return words
    return f"in {words}" if span > timedelta() else f"{words} ago"


def _span_words(seconds: float) -> str:
    days_exact = seconds / 86400
    months_exact = days_exact * 4800 / 146097  # the mean of the Gregorian calendar
    minutes, hours, days = _round(seconds / 60), _round(seconds / 3600), _round(days_exact)
    months, years = _round(months_exact), _round(months_exact / 12)
    # each row: the bound below which the unit still serves, its count, one of it, several of it
    steps = (
        (_round(seconds) <= 44, 1, "a few seconds", ""),
        (minutes < 45, minutes, "a minute", "minutes"),
        (hours < 22, hours, "an hour", "hours"),
        (days < 26, days, "a day", "days"),
        (months < 11, months, "a month", "months"),
        (True, years, "a year", "years"),
    )
    count, one, many = next(step[1:] for step in steps if step[0])
    return one if count <= 1 else f"{count} {many}"
