"""Recorded histories, as they would be had days or years passed in them: the interpreter still does the same."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory

from tests.workflows.replaying import replay

FOLDER = Path(__file__).parents[2] / "histories"
FILES = sorted(FOLDER.glob("*.json"))
SPANS = (timedelta(days=3), timedelta(days=5 * 366), timedelta(days=9 * 365))


def moved(events: list[dict[str, Any]], span: timedelta, first: int) -> list[dict[str, Any]]:
    """The events with `span` more time in front of event number `first`."""
    return [
        {**event, "eventTime": _later(event["eventTime"], span)} if number >= first else event
        for number, event in enumerate(events)
    ]


def _later(moment: str, span: timedelta) -> str:
    # Nanoseconds are more than Python reads.
    read = datetime.fromisoformat(moment[:26].rstrip("Z") + "+00:00")
    return (read + span).isoformat().replace("+00:00", "Z")


def pauses(events: list[dict[str, Any]]) -> list[int]:
    """Where time may pass: before something comes in from outside, which begins a new task."""
    return [number for number, event in enumerate(events) if event["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_SCHEDULED"]


@pytest.mark.parametrize("span", SPANS, ids=lambda span: f"{span.days} days")
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
async def test_recorded_history_replays_with_years_in_it(file: Path, span: timedelta) -> None:
    raw = json.loads(file.read_text())
    id = raw["events"][0]["workflowExecutionStartedEventAttributes"].get("workflowId", file.stem)
    found = pauses(raw["events"])
    for first in {found[len(found) // 2], found[-1]}:
        events = moved(raw["events"], span, first)
        assert events[-1]["eventTime"] != raw["events"][-1]["eventTime"]
        await replay(WorkflowHistory.from_json(id, {**raw, "events": events}))
