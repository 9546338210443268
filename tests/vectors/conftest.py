"""One stack for all recorded runs; SHARERS of tests/conftest.py names the files that use it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.vectors.model_server import model_server
from tests.vectors.stack import ENVIRONMENT, PLUGINS, Stack


@pytest.fixture(scope="package")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    data = tmp_path_factory.mktemp("stack")
    options = StackOptions(data, plugins=(PLUGINS,), env=ENVIRONMENT)
    async with (
        model_server() as models,
        LocalStack(options) as local,
        httpx.AsyncClient(base_url=local.url, timeout=60) as http,
    ):
        yield Stack(local, http, data, models)
