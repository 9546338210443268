"""The engine's own small activities."""

from __future__ import annotations

from innkeeper.activities.engine_activities import workflows_around


def test_a_look_at_a_node_goes_to_every_workflow_around_it() -> None:
    paths = ["plain", "g/inner", "g/h/deep", "g/other", "each/3/node"]
    assert workflows_around("run", paths) == ["run", "run/g", "run/g/h", "run/each", "run/each/3"]
