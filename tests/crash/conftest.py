"""One stack for the files that kill only some of its processes, which it starts again; SHARERS names them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture(scope="package")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalStack]:
    async with LocalStack(StackOptions(tmp_path_factory.mktemp("crash"), plugins=(PLUGINS,))) as stack:
        yield stack
