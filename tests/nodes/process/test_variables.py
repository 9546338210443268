"""A misspelled variable is told, and nothing else."""

from __future__ import annotations

import pytest

from innkeeper.activities.settings import WorkerSettings
from innkeeper.gateway.settings import Settings
from innkeeper.nodes.process.settings import variables_of
from innkeeper.nodes.process.variables import GATEWAY_VARIABLES, WORKER_VARIABLES, unknown_variables


def test_names_are_those_that_the_settings_classes_read() -> None:
    assert variables_of(Settings) == GATEWAY_VARIABLES
    assert variables_of(WorkerSettings) == WORKER_VARIABLES


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("INNKEEPER_PROT", "INNKEEPER_PORT"),
        ("INNKEEPER_MAX_ACTIVITES", "INNKEEPER_MAX_ACTIVITIES"),
        ("INNKEEPER_WORKER_PROCESS", "INNKEEPER_WORKER_PROCESSES"),
        ("INNKEEPER_port", "INNKEEPER_PORT"),
    ],
)
def test_misspelled_variable_is_told_with_the_nearest_name(name: str, nearest: str) -> None:
    (said,) = unknown_variables([name, "INNKEEPER_PORT", "HOME"])
    assert f"{name} is not known" in said
    assert f"did you mean {nearest}?" in said


def test_variable_like_none_of_ours_points_to_the_list() -> None:
    (said,) = unknown_variables({"INNKEEPER_ZZZ_QQQ_XXX": "canary"})
    assert "'innkeeper settings'" in said
    assert "canary" not in said
