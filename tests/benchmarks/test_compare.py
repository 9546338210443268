"""Two revisions in turns: the arithmetic, and a worktree that is gone in the end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest

from innkeeper.nodes.errors import InnkeeperError
from tests.benchmarks.compare import cells_of, pair_of, part_cells_of
from tests.benchmarks.other_revision import (
    PACKAGES,
    WORKING_TREE,
    Revision,
    Tree,
    check_sources,
    compile_all,
    find_revision,
    git,
    worktree,
)
from tests.benchmarks.processes import run_to_end
from tests.benchmarks.report import Line, Part, Spread

LOOPS = (10.0, 10.0)


def _row(ours: float, ratio: float | None, cpu: float) -> dict[str, object]:
    flat = Spread(ours, ours, ours)
    parts = (Part("CPU", "x", "ours: gateway", {"ms/run": cpu}), Part("CPU", "x", "by hand: worker", {"ms/run": 1}))
    found = None if ratio is None else Spread(ratio, ratio, ratio)
    return Line("x", "", "ms", flat, LOOPS, ratio=found, parts=parts).to_json()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "config", "user.email", "nobody@example.org")
    git(root, "config", "user.name", "Nobody")
    for text in ("first", "second"):
        _commit(root, text)
    return root


def _commit(root: Path, text: str) -> None:
    (root / "file").write_text(text)
    git(root, "add", "file")
    git(root, "commit", "--quiet", "-m", text)


def test_sides_are_compared_round_by_round_and_each_with_its_counterpart() -> None:
    pair = pair_of([(_row(10, 1.0, 4), _row(20, 2.0, 8)), (_row(30, 1.5, 4), _row(30, 1.5, 8))])

    assert cells_of(pair) == (
        "x", "ms", "2", "20 (10..30)", "25 (20..30)", "0.75 (0.50..1)", "1.25 (1..1.50)", "1.75 (1.50..2)"
    )  # fmt: skip
    assert part_cells_of(pair) == [("x", "ours: gateway", "ms/run", "4", "8", "0.50")]


def test_row_without_a_counterpart_has_no_ratio_to_it() -> None:
    assert cells_of(pair_of([(_row(10, None, 1), _row(20, None, 1))]))[-2:] == ("-", "-")


def test_part_that_the_other_revision_does_not_have_is_a_dash() -> None:
    there = {**_row(20, 2, 8), "parts": []}

    assert part_cells_of(pair_of([(_row(10, 1, 4), there)])) == [("x", "ours: gateway", "ms/run", "4", "-", "-")]


def test_other_revision_is_the_one_of_main_that_this_tree_is_built_on(repository: Path) -> None:
    first, second = git(repository, "rev-parse", "HEAD^"), git(repository, "rev-parse", "HEAD")

    assert find_revision(None, repository).id == first  # a clean main beside what it was before
    (repository / "file").write_text("changed")
    assert find_revision(None, repository).id == second
    git(repository, "checkout", "--quiet", "-b", "topic")
    _commit(repository, "third")
    assert find_revision(None, repository).id == second
    assert find_revision("main^", repository).title.endswith(" first")
    with pytest.raises(InnkeeperError, match="no such commit"):
        find_revision("nonsense", repository)


async def test_worktree_is_gone_after_the_block_though_it_failed(repository: Path) -> None:
    revision = Revision(git(repository, "rev-parse", "HEAD^"), "first")

    folders = []

    async def fail() -> None:
        async with worktree(revision, repository) as folder:
            assert (folder / "file").read_text() == "first"
            folders.append(folder)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert not folders[0].parent.exists()
    assert git(repository, "worktree", "list").count("\n") == 0


async def test_python_that_would_measure_other_sources_is_refused(tmp_path: Path) -> None:
    await check_sources(WORKING_TREE)

    with pytest.raises(InnkeeperError, match="innkeeper is taken from"):
        await check_sources(Tree(WORKING_TREE.python, tmp_path))


async def test_files_of_a_new_worktree_are_compiled_before_they_are_measured(tmp_path: Path) -> None:
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text("x = 1")

    await compile_all(Tree(WORKING_TREE.python, tmp_path / "src"))

    assert len(list(tmp_path.glob("*/__pycache__/module.*.pyc"))) == len(PACKAGES)


async def test_command_that_fails_says_why_and_one_that_is_cancelled_ends() -> None:
    with pytest.raises(InnkeeperError, match="ended with 3: out of luck"):
        await run_to_end(
            (sys.executable, "-c", "import sys; print('out of luck', file=sys.stderr); sys.exit(3)"), os.environ
        )

    others = psutil.Process().children()
    sleeping = asyncio.create_task(run_to_end((sys.executable, "-c", "import time; time.sleep(600)"), os.environ))
    while not (children := [child for child in psutil.Process().children() if child not in others]):
        await asyncio.sleep(0.01)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children)
