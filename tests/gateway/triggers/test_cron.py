"""Cron lines with Unix meaning, and what is refused because crons disagree on it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.triggers.cron import FIELDS, NICKNAMES, Cron, CronError, describe_cron, parse_cron, runs_of
from tests.effort import examples


@pytest.mark.parametrize(
    ("line", "days", "weekdays", "is_either"),
    [
        ("0 9 13 * 5", (13,), (5,), True),  # Temporal alone would take only a Friday the 13th
        ("0 9 13 * *", (13,), tuple(range(7)), False),
        ("0 9 * * 5", tuple(range(1, 32)), (5,), False),
        ("0 9 */10 * 5", (1, 11, 21, 31), (5,), False),  # begins with '*': both must match, as in Vixie's cron
        ("0 9 1-31 * 5", tuple(range(1, 32)), (5,), True),
        ("0 9 * * 5-7", tuple(range(1, 32)), (0, 5, 6), False),
        ("0 9 * * 0,7", tuple(range(1, 32)), (0,), False),
        ("0 9 * * MON-wed", tuple(range(1, 32)), (1, 2, 3), False),
    ],
)
def test_days_of_a_line(line: str, days: tuple[int, ...], weekdays: tuple[int, ...], is_either: bool) -> None:
    cron = parse_cron(line)
    assert (cron.days, cron.weekdays, cron.is_either) == (days, weekdays, is_either)


def test_lists_ranges_steps_and_names() -> None:
    cron = parse_cron("0,30-34/2\t8-18/5  1 jan,Mar-may *")
    assert (cron.minutes, cron.hours, cron.months) == ((0, 30, 32, 34), (8, 13, 18), (1, 3, 4, 5))
    assert parse_cron("*/25 * * * *").minutes == (0, 25, 50)


def test_nicknames() -> None:
    assert parse_cron("@daily") == parse_cron("@midnight") == parse_cron("0 0 * * *")
    assert all(isinstance(parse_cron(name.upper()), Cron) for name in NICKNAMES)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("*/7 * * * * *", "6 fields"),
        ("0 0 0 1 1 * 2030", "7 fields"),
        ("* * * *", "4 fields"),
        ("", "0 fields"),
        ("0 0 31 2 *", "no times"),
        ("0 0 31 2,4,6,9,11 *", "no times"),
        ("0 0 30,31 feb *", "no times"),
        ("0 0 31 4 */2", "no times"),
        ("0 0 L * *", "give the days"),
        ("0 0 15W * *", "weekdays as '1-5'"),
        ("0 0 * * 5#3", "'#'"),
        ("0 0 * * wed#2", "'#'"),
        ("0 0 * * 5L", "'L'"),
        ("0 0 ? * 5", "write '*'"),
        ("H * * * *", "jitterSeconds"),
        ("@every 5m", "give an interval"),
        ("@reboot", "known are @yearly"),
        ("@daily 5", "known are @yearly"),
        ("CRON_TZ=Europe/Berlin 0 9 * * *", "'timezone'"),
        ("TZ=UTC 0 9 * * *", "'timezone'"),
        ("61 * * * *", "allowed are 0-59"),
        ("* 24 * * *", "allowed are 0-23"),
        ("* * 0 * *", "allowed are 1-31"),
        ("* * * 13 *", "allowed are 1-12 and jan-dec"),
        ("* * * * 8", "allowed are 0-7 and sun-sat"),
        ("5/15 * * * *", "such as '5-59/15'"),
        ("* * * * fri-mon", "runs backwards"),
        ("*/0 * * * *", "step 0"),
        ("*/60 * * * *", "step 60"),
        ("1,,2 * * * *", "not understood"),
        ("1-2-3 * * * *", "not understood"),
        ("*/5/5 * * * *", "not understood"),
        ("*-5 * * * *", "not understood"),
        ("-5 * * * *", "not understood"),
        ("٣ * * * *", "not understood"),
        ("0 0 * * *\n# nightly", "fields"),
        ("9" * 5_000 + " * * * *", "at most 200"),
        ("9" * 190 + " * * * *", "allowed are 0-59"),
    ],
)
def test_what_is_refused_says_why(line: str, reason: str) -> None:
    with pytest.raises(CronError) as caught:
        parse_cron(line)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 700


def test_leap_day_and_an_impossible_day_beside_a_weekday_are_taken() -> None:
    assert parse_cron("0 0 29 2 *").days == (29,)
    assert parse_cron("0 0 31 2 1").is_either  # every Monday in February


@examples(400)
@given(st.text(st.sampled_from("*/,-0123456789 \tLW#?@monju@daily\n\x00é"), max_size=60) | st.text(max_size=30))
def test_any_text_is_read_or_refused(line: str) -> None:
    try:
        cron = parse_cron(line)
    except CronError:
        return
    for field, numbers in zip(FIELDS, (cron.minutes, cron.hours, cron.days, cron.months, cron.weekdays), strict=True):
        assert numbers
        assert field.first <= numbers[0] <= numbers[-1] <= field.last
        assert list(numbers) == sorted(set(numbers))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 9 13 * 5", "at 09:00, on day 13 of the month or on Friday"),
        ("0 9 */10 * 5", "at 09:00, on day 1, 11, 21 and 31 of the month when that is Friday"),
        ("*/30 8-17 * * mon-tue", "at minute 0 and 30 of hour 8-17, on Monday and Tuesday"),
        ("* * 1 jan *", "every minute of every hour, on day 1 of the month, in January"),
        ("@daily", "at 00:00, every day"),
    ],
)
def test_line_in_words(line: str, words: str) -> None:
    assert describe_cron(parse_cron(line)) == words


@given(st.sets(st.integers(0, 59), min_size=1))
def test_runs_hold_exactly_the_numbers(numbers: set[int]) -> None:
    assert {number for first, last in runs_of(numbers) for number in range(first, last + 1)} == numbers
