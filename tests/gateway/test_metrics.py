"""What a gateway measures, apart from where it is measured."""

from __future__ import annotations

import time

import pytest

from innkeeper.gateway.metrics import MAX_NODE_TYPES, Metrics, NodeTypeLabels


def ago_ms(seconds: float) -> int:
    return int((time.time() - seconds) * 1000)


def counts(metrics: Metrics) -> tuple[float | None, float | None]:
    """Runs counted by queue time and by first event."""
    names = ("innkeeper_run_queue_seconds_count", "innkeeper_run_first_event_seconds_count")
    first, second = (metrics.registry.get_sample_value(name) for name in names)
    return first, second


def test_a_thousand_node_types_get_a_hundred_labels_and_other() -> None:
    labels = NodeTypeLabels(lambda node_type: True)
    given = [labels.label(f"made:Up{index}") for index in range(1000)]
    assert given[:MAX_NODE_TYPES] == [f"made:Up{index}" for index in range(MAX_NODE_TYPES)]
    assert set(given[MAX_NODE_TYPES:]) == {"other"}
    # Who has a label keeps it.
    assert labels.label("made:Up7") == "made:Up7"


def test_types_outside_the_catalogue_take_no_label_from_others() -> None:
    labels = NodeTypeLabels(lambda node_type: node_type == "core:Known", limit=1)
    assert {labels.label(f"made:Up{index}") for index in range(1000)} == {"unknown"}
    assert labels.label(None) == "unknown"
    assert labels.label("core:Known") == "core:Known"


def test_run_that_is_started_again_and_again_counts_once() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.runs.starting("r", ago_ms(2))
        metrics.runs.started("r")
        metrics.runs.node_began("r")
    assert counts(metrics) == (1, 1)
    assert 2 <= (metrics.registry.get_sample_value("innkeeper_run_queue_seconds_sum") or 0) < 6


def test_run_of_an_earlier_process_and_a_closed_run_do_not_count() -> None:
    metrics = Metrics()
    metrics.runs.node_began("earlier")
    metrics.runs.started("earlier")
    metrics.runs.starting("closed", ago_ms(1))
    metrics.runs.closed("closed")
    metrics.runs.node_began("closed")
    assert counts(metrics) == (0, 0)


def test_clock_that_was_set_back_gives_no_negative_time() -> None:
    metrics = Metrics()
    metrics.runs.starting("r", ago_ms(-60))
    metrics.runs.started("r")
    assert counts(metrics) == (1, 0)
    assert 0 <= (metrics.registry.get_sample_value("innkeeper_run_queue_seconds_sum") or 0) < 30


@pytest.mark.parametrize("jump_s", [-31_536_000, -86_400, 86_400, 31_536_000])
def test_clock_that_jumps_while_a_run_waits_changes_no_measured_time(
    jump_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()
    metrics.runs.starting("r", ago_ms(2))
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + jump_s)
    metrics.runs.started("r")
    metrics.runs.node_began("r")
    for name in ("run_queue", "run_first_event"):
        assert metrics.registry.get_sample_value(f"innkeeper_{name}_seconds_sum") == pytest.approx(2, abs=1)
