"""Another revision of the project beside the working tree: its files in a temporary folder, its environment kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from innkeeper.nodes.errors import InnkeeperError

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-compare"
MADE_FOR = ".made-for"
"""Holds the pyproject.toml that the environment was made for."""
STOP_S = 30.0
_CHECK = """
import sys, innkeeper.gateway
if not innkeeper.gateway.__file__.startswith(sys.argv[1]):
    sys.exit(f"innkeeper is taken from {innkeeper.gateway.__file__!r}, not from {sys.argv[1]!r}")
"""


@dataclass(frozen=True)
class Revision:
    """A commit by its full id; `title` is its short id and subject."""

    id: str
    title: str


@dataclass(frozen=True)
class Tree:
    """What can be measured: a Python and the folder that it takes `innkeeper` from."""

    python: Path
    sources: Path

    def environment(self) -> dict[str, str]:
        # Before what the environment has installed: it was made for a worktree that is gone.
        return {**os.environ, "PYTHONPATH": str(self.sources)}


WORKING_TREE = Tree(Path(sys.executable), ROOT / "src")


def find_revision(name: str | None, root: Path = ROOT) -> Revision:
    """The commit of this name; without one the last commit of main that the working tree is built on.

    Raises:
        InnkeeperError: There is no such commit, or no repository.
    """
    id = git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") if name else _default(root)
    return Revision(id, git(root, "log", "-1", "--format=%h %s", id))


def _default(root: Path) -> str:
    base, head = git(root, "merge-base", "HEAD", "main"), git(root, "rev-parse", "HEAD")
    is_clean = not git(root, "status", "--porcelain", "--untracked-files=no")
    # A clean main would be compared with itself.
    return git(root, "rev-parse", "--verify", "--quiet", "HEAD^") if base == head and is_clean else base


def git(root: Path, *arguments: str) -> str:
    """What a git command says. Raises InnkeeperError when it fails."""
    command = ("git", "-C", str(root), *arguments)
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError as error:
        raise InnkeeperError("git is not installed; it is needed to compare revisions") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        raise InnkeeperError(f"git {' '.join(arguments)} failed: {said[-1] if said else 'no such commit'}") from error


@contextlib.asynccontextmanager
async def worktree(revision: Revision, root: Path = ROOT) -> AsyncIterator[Path]:
    """The files of a revision in a temporary folder, gone when the block ends, in whatever way."""
    with tempfile.TemporaryDirectory(prefix="innkeeper-compare-") as name:
        folder = Path(name) / "tree"
        try:
            git(root, "worktree", "add", "--detach", "--quiet", str(folder), revision.id)
            yield folder
        finally:
            with contextlib.suppress(InnkeeperError):  # it was not made
                git(root, "worktree", "remove", "--force", str(folder))


async def tree_of(folder: Path, environment: Path = ENVIRONMENT) -> Tree:
    """The tree of a worktree. Its environment is made on first use, and anew when the revision needs other packages."""
    made_for, wanted = environment / MADE_FOR, (folder / "pyproject.toml").read_text()
    tree = Tree(environment / "bin/python", folder / "src")
    if not made_for.exists() or made_for.read_text() != wanted:
        made_for.unlink(missing_ok=True)
        await run((sys.executable, "-m", "venv", "--clear", str(environment)), os.environ)
        install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e", f"{folder}[dev]")
        await run((str(tree.python), *install), os.environ)
        made_for.write_text(wanted)
    await check_sources(tree)
    return tree


async def check_sources(tree: Tree) -> None:
    """Raises InnkeeperError when its Python takes `innkeeper` from elsewhere: a tree would be compared with itself."""
    await run((str(tree.python), "-c", _CHECK, str(tree.sources)), tree.environment())


async def run(command: Sequence[str], environment: os._Environ[str] | dict[str, str]) -> None:
    """Run a command to its end; one that has to stop before is given time to stop what it started.

    Raises:
        InnkeeperError: It failed.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C comes to us alone
    )
    try:
        _, said = await process.communicate()
    finally:
        if process.returncode is None:
            await _stop(process)
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise InnkeeperError(f"{' '.join(command)} ended with {process.returncode}: {lines[-1] if lines else ''}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.communicate()  # read on: it would wait for a full pipe
    except TimeoutError:
        process.kill()
        await process.wait()
