"""The constraints that `make lowest` installs are the lower bounds of `pyproject.toml`, all of them."""

from __future__ import annotations

import pytest

from tests.lowest import lowest

PROJECT = """
[project]
name = "toy"
dependencies = ["plain>=1.2,<3", "with-extra[more]>=2.0.1; sys_platform != 'win32'"]
[project.optional-dependencies]
dev = ["toy[other]", "Tool.x>=5", "exact==0.2"]
"""


def test_lowest_versions_of_all_dependencies_are_named() -> None:
    assert list(lowest(PROJECT)) == ["plain==1.2", "with-extra==2.0.1", "Tool.x==5", "exact==0.2"]


@pytest.mark.parametrize("text", ["plain", "plain<3"])
def test_dependency_without_a_lower_bound_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"'plain.*' has no lower bound"):
        list(lowest(PROJECT.replace("plain>=1.2,<3", text)))
