"""Moments as users write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from innkeeper.workflows.document.times import moment_of

EIGHT = datetime(2030, 1, 31, 8, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "written",
    [
        "2030-01-31T08:00:00Z",
        "2030-01-31t08:00:00z",
        " 2030-01-31 08:00 ",
        "2030-01-31T09:00+01:00",
        "2030-01-31 09:00 Europe/Berlin",
        "2030-01-31t09:00[Europe/Berlin]",
        "2030-01-31T02:00 America/Chicago",
        "2030-01-31T08:00 UTC",
        "2030-01-31T09:00+01:00[Europe/Berlin]",
        "20300131T080000Z",
        "2030-w05-4t08:00z",
    ],
)
def test_moments_are_read_however_they_are_written(written: str) -> None:
    assert moment_of(written) == EIGHT


def test_a_zone_knows_its_summer_time() -> None:
    assert moment_of("2030-07-31 10:00 Europe/Berlin") == datetime(2030, 7, 31, 8, tzinfo=UTC).timestamp()
    # The hour that comes twice: the first one.
    assert moment_of("2030-10-27 02:30 Europe/Berlin") == datetime(2030, 10, 27, 0, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "written", ["2030-01-31 08:00 Europe/Atlantis", "2030-01-31 08:00 Mars", "2030-01-31[Nowhere]"]
)
def test_a_zone_that_is_not_known_is_told(written: str) -> None:
    with pytest.raises(ValueError, match="time zone that is not known"):
        moment_of(written)


@pytest.mark.parametrize("written", ["2030-01-31 08:00 /etc/passwd", "2030-01-31[../x]", "[UTC]", "Europe/Berlin", "]"])
def test_what_is_no_moment_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="must be a moment"):
        moment_of(written)
