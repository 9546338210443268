"""Chunks gather only while many streams flow."""

from __future__ import annotations

import pytest

from innkeeper.activities.link.frame_gap import BUSY_GAP_S, LEAST_GAP_S, FrameGap


def gaps(frames: int, *, messages: int, every_s: float, streams: int) -> list[float]:
    gap = FrameGap()
    return [gap.sent(messages, streams, 100 + number * every_s) for number in range(frames)]


@pytest.mark.parametrize(
    ("messages", "every_s", "streams", "expected"),
    [
        (2, 0.001, 200, BUSY_GAP_S),  # 2,000 chunks a second of 200 streams
        (100, 0.01, 200, BUSY_GAP_S),  # once they gather
        (2, 0.001, 1, LEAST_GAP_S),  # one stream, as fast as it goes
        (1, 0.001, 200, LEAST_GAP_S),  # 1,000 a second
        (300, 1.0, 200, LEAST_GAP_S),  # a lump now and then
    ],
)
def test_gap_follows_the_rate_and_the_number_of_streams(
    messages: int, every_s: float, streams: int, expected: float
) -> None:
    assert gaps(200, messages=messages, every_s=every_s, streams=streams)[-1] == expected


def test_the_gap_is_short_again_soon_after_the_rush() -> None:
    gap = FrameGap()
    for number in range(200):
        gap.sent(20, 200, 100 + number * 0.01)
    assert gap.sent(20, 200, 102.0) == BUSY_GAP_S
    assert [gap.sent(1, 200, 102.1 + number * 0.06) for number in range(3)][-1] == LEAST_GAP_S
