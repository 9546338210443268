"""The gateway's connection to Temporal, which may be away: nothing here blocks the start of the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeWorkflowExecutionResponse
from temporalio.client import Client, Interceptor
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.errors import EngineAway
from innkeeper.gateway.settings import Settings
from innkeeper.workflows.connection import connect_config

logger = logging.getLogger("innkeeper.gateway.temporal")

PROBE_S = 1.0
CALM_PROBE_S = 5.0
AWAY_CODES = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNKNOWN,
    }
)


def is_away(error: BaseException) -> bool:
    """Does this error say that the server did not answer, rather than that it refused?"""
    return isinstance(error, RPCError) and error.status in AWAY_CODES


async def describe_workflow(client: Client, workflow: str, rpc_timeout: timedelta) -> DescribeWorkflowExecutionResponse:
    """What the server says of a workflow: its state, what is pending, its children. Raises RPCError."""
    return (await client.get_workflow_handle(workflow).describe(rpc_timeout=rpc_timeout)).raw_description


class TemporalLink:
    """A client that is made at once and connects when it can. `watch` keeps `reachable` true to life.

    Args:
        interceptors: Of the client's calls.
    """

    def __init__(self, settings: Settings, interceptors: Sequence[Interceptor] = ()) -> None:
        self._settings = settings
        self._interceptors = interceptors
        self._client: Client | None = None
        self._reachable = asyncio.Event()
        self._doubt = asyncio.Event()

    @property
    def reachable(self) -> bool:
        return self._reachable.is_set()

    async def client(self, patience_s: float = 0.0) -> Client:
        """The client. Raises EngineAway when Temporal does not answer within `patience_s`."""
        if patience_s and not self.reachable:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reachable.wait(), patience_s)
        if self._client is None or not self.reachable:
            raise EngineAway(
                "Temporal does not answer; the gateway keeps trying, so try again in a moment or look at 'innkeeper up'"
            )
        return self._client

    async def wait(self) -> Client:
        """The client, as soon as Temporal answers."""
        while not self.reachable or self._client is None:
            await self._reachable.wait()
        return self._client

    def lost(self) -> None:
        """Somebody's call found Temporal away: look at once, not at the next probe."""
        self._reachable.clear()
        self._doubt.set()

    async def watch(self) -> None:
        """Probe the server for ever."""
        was: bool | None = None
        while True:
            self._doubt.clear()
            if await self._probe():
                self._reachable.set()
            else:
                self._reachable.clear()
            if was != self.reachable:
                was = self.reachable
                logger.info("temporal %s", "answers" if was else "is away", extra={"event": "temporal"})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._doubt.wait(), CALM_PROBE_S if was else PROBE_S)

    async def _probe(self) -> bool:
        # RuntimeError is what a first connection that fails raises.
        with contextlib.suppress(RPCError, RuntimeError, OSError):
            if self._client is None:
                self._client = await connect(self._settings, self._interceptors)
            await self._client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self._client.namespace), timeout=timedelta(seconds=3)
            )
            return True
        return False


async def connect(settings: Settings, interceptors: Sequence[Interceptor] = ()) -> Client:
    """A connected client, as all our processes connect."""
    config = connect_config(settings.temporal_address, settings.namespace)
    return await Client.connect(**config, interceptors=interceptors)
