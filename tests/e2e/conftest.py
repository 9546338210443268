"""Stacks for the files that need nothing else of them and leave them as they found them.

SHARERS of tests/conftest.py names these files.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.e2e.test_up import Up

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture(scope="package")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[LocalStack, Path]]:
    """A running stack and its data directory."""
    folder = tmp_path_factory.mktemp("shared")
    # Ten activities at once: test_streams.py has more consumers wait than that.
    env = {"INNKEEPER_ALLOW_LOOPBACK": "1", "INNKEEPER_MAX_ACTIVITIES": "10"}
    options = StackOptions(folder, plugins=(PLUGINS,), env=env)
    async with LocalStack(options) as stack:
        yield stack, folder


@pytest.fixture(scope="package")
def attacked() -> Iterator[Up]:
    """An `innkeeper up` for those who should get nothing from it: a page, another user."""
    # pytest's own folders are closed to others; here the data directory alone keeps them out.
    folder = Path(tempfile.mkdtemp(prefix="innkeeper-attacked-"))
    folder.chmod(0o755)
    running = Up(folder / "data")
    yield running
    running.end(signal.SIGTERM)
    shutil.rmtree(folder)
