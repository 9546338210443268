"""Fixtures of the worker side: a small real gateway socket and a link to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.gateway.process.temporal_server import free_port
from innkeeper.nodes.services.secrets import SecretStore, load_or_create_key
from tests.activities.fake_gateway import TOKEN, FakeGateway
from tests.activities.toy_stack import Stack, Toys


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    gateway = FakeGateway(free_port())
    await gateway.start()
    yield gateway
    await gateway.stop()


@pytest.fixture
async def link(gateway: FakeGateway) -> AsyncIterator[GatewayLink]:
    """A started link that gives an absent gateway up after 0.3 s."""
    link = GatewayLink(gateway.url, TOKEN, "worker-1", flush_timeout_s=0.3)
    link.start()
    yield link
    await link.stop(drain_s=0)


@pytest.fixture
def toys() -> Toys:
    return Toys()


@pytest.fixture
def stack(temporal: Client, gateway: FakeGateway, toys: Toys, tmp_path: Path) -> Stack:
    store = SecretStore(tmp_path / "secrets", load_or_create_key(tmp_path, {}))
    return Stack(temporal, gateway, toys, tmp_path, store)
