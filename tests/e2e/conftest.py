"""One stack for all files that need nothing else of it and leave it as they found it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture(scope="package")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[LocalStack, Path]]:
    """A running stack and its data directory. SHARERS of tests/conftest.py names the files that use it."""
    folder = tmp_path_factory.mktemp("shared")
    options = StackOptions(folder, plugins=(PLUGINS,), env={"INNKEEPER_ALLOW_LOOPBACK": "1"})
    async with LocalStack(options) as stack:
        yield stack, folder
