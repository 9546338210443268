"""Old histories must still be met by today's interpreter: else running graphs would get stuck on an upgrade."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory

from tests.histories.shapes import PLANS, SHAPES
from tests.workflows.replaying import replay

FOLDER = Path(__file__).parents[2] / "histories"
FILES = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
async def test_recorded_history_replays(file: Path) -> None:
    raw = json.loads(file.read_text())
    # Ids of children are derived from the run's own.
    id = raw["events"][0]["workflowExecutionStartedEventAttributes"].get("workflowId", file.stem)
    history = WorkflowHistory.from_json(id, raw)
    await replay(history)


async def test_changed_order_of_commands_is_noticed() -> None:
    """The check itself can fail: a history whose first activity has another type is refused."""
    raw = json.loads((FOLDER / "chain.json").read_text())
    for event in raw["events"]:
        scheduled = event.get("activityTaskScheduledEventAttributes")
        if scheduled:
            scheduled["activityType"]["name"] = "something_else"
            break
    with pytest.raises(Exception, match=r"(?i)nondetermin"):
        await replay(WorkflowHistory.from_json("chain", raw))


def test_every_shape_has_a_history() -> None:
    assert {file.stem for file in FILES} >= {*SHAPES, *PLANS}
