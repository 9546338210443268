"""Open runs are not looked for on a server that does not know them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.gateway.runs.known_namespace import EMBEDDED, KnownNamespace


def running(count: int) -> Callable[[], Awaitable[int]]:
    async def count_of_runs() -> int:
        return count

    return count_of_runs


async def test_same_namespace_is_taken_whatever_runs(tmp_path: Path) -> None:
    for count in (0, 3, 3):
        assert await KnownNamespace(tmp_path, running(count)).objection("n-1") is None


@pytest.mark.parametrize(("first", "second"), [("n-1", "n-2"), (EMBEDDED, "n-1"), ("n-1", EMBEDDED)])
async def test_another_one_is_refused_while_runs_are_open_and_taken_afterwards(
    tmp_path: Path, first: str, second: str
) -> None:
    assert await KnownNamespace(tmp_path, running(0)).objection(first) is None
    said = await KnownNamespace(tmp_path, running(2)).objection(second)
    assert said is not None
    assert said.startswith("2 runs of this data directory run on another Temporal ")
    assert await KnownNamespace(tmp_path, running(2)).objection(first) is None  # back where they are
    assert await KnownNamespace(tmp_path, running(0)).objection(second) is None
    assert await KnownNamespace(tmp_path, running(2)).objection(second) is None


async def test_directory_from_before_belongs_to_the_embedded_server_that_it_holds(tmp_path: Path) -> None:
    assert await KnownNamespace(tmp_path / "new", running(1)).objection("n-1") is None
    (tmp_path / "temporal.db").touch()
    assert await KnownNamespace(tmp_path, running(1)).objection("n-1") is not None
    assert await KnownNamespace(tmp_path, running(1)).objection(EMBEDDED) is None


async def test_who_moves_the_folder_away_gives_the_runs_up(tmp_path: Path) -> None:
    folder = tmp_path / "temporal"
    assert await KnownNamespace(folder, running(0)).objection(EMBEDDED) is None
    (folder / "temporal.db").touch()
    folder.rename(tmp_path / "away")
    assert await KnownNamespace(folder, running(1)).objection("n-2") is None
