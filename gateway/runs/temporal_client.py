"""The gateway's connection to Temporal, which may be away: nothing here blocks the start of the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Sequence
from datetime import timedelta

from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeWorkflowExecutionResponse
from temporalio.client import Client, Interceptor
from temporalio.exceptions import FailureError
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.errors import EngineAway
from innkeeper.gateway.runs.known_namespace import EMBEDDED, KnownNamespace
from innkeeper.gateway.settings import Settings
from innkeeper.workflows.connection import connect_config
from innkeeper.workflows.namespace import keep_histories, namespace_facts, objection
from innkeeper.workflows.payload_codec import EncryptionCodec

logger = logging.getLogger("innkeeper.gateway.temporal")

STARTING_PROBE_S = 0.03
"""The embedded server starts together with the gateway, and whoever has started both waits for them."""
ATTRIBUTES_S = 2.0
"""The embedded server makes search attributes a moment after the namespace. An old file of it may lack them for good:
runs go without."""
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


AWAY = "Temporal does not answer; the gateway keeps trying, so try again in a moment or look at 'innkeeper up'"


def is_away(error: BaseException) -> bool:
    """Does this error say that the server did not answer, rather than that it refused?"""
    return isinstance(error, RPCError) and error.status in AWAY_CODES


async def describe_workflow(client: Client, workflow: str, rpc_timeout: timedelta) -> DescribeWorkflowExecutionResponse:
    """What the server says of a workflow: its state, what is pending, its children. Raises RPCError."""
    found = (await client.get_workflow_handle(workflow).describe(rpc_timeout=rpc_timeout)).raw_description
    for pending in (item for item in found.pending_activities if item.HasField("last_failure")):
        pending.last_failure.message = await failure_message(client, pending.last_failure)
    return found


async def failure_message(client: Client, failure: Failure) -> str:
    """What a failure says; with encryption its own message says nothing, and the real one is beside it."""
    if not failure.HasField("encoded_attributes"):
        return failure.message
    try:
        error = await client.data_converter.decode_failure(failure)
    except (FailureError, RuntimeError) as unreadable:  # the codec's own, or the payload converter's
        return str(unreadable)
    return error.message if isinstance(error, FailureError) else str(error)


class TemporalLink:
    """A client that is made at once and connects when it can. `watch` keeps `reachable` true to life.

    A server without the namespace that runs need counts as one that does not answer, until somebody has mended that.

    Args:
        interceptors: Of the client's calls.
        codec: Of values that are encrypted, if any are.
        known_namespace: Where the open runs are.

    Attributes:
        namespace_id: Of this namespace alone; empty until the server was asked.
    """

    def __init__(
        self,
        settings: Settings,
        interceptors: Sequence[Interceptor] = (),
        *,
        codec: EncryptionCodec | None = None,
        known_namespace: KnownNamespace | None = None,
    ) -> None:
        self._settings = settings
        self._interceptors = interceptors
        self._codec = codec
        self._known_namespace = known_namespace
        self._is_checked = False
        self._attributes_due = 0.0
        self._objection: str | None = None
        self.namespace_id = ""
        self._client: Client | None = None
        self._reachable = asyncio.Event()
        self._doubt = asyncio.Event()

    @property
    def reachable(self) -> bool:
        return self._reachable.is_set()

    @property
    def namespace(self) -> str:
        """The namespace that runs are started in. Raises ConnectionInvalid."""
        if self._client is not None:
            return self._client.namespace
        config = connect_config(self._settings.temporal_address, self._settings.namespace, os.environ)
        return str(config["namespace"])

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port of the server. Raises ConnectionInvalid."""
        config = connect_config(self._settings.temporal_address, self._settings.namespace, os.environ)
        host, _, port = str(config["target_host"]).rpartition(":")
        return host.strip("[]").lower(), int(port)

    @property
    def state(self) -> str:
        """`ok`, or why runs cannot be started."""
        return "ok" if self.reachable else self._objection or "Temporal does not answer"

    async def client(self, patience_s: float = 0.0) -> Client:
        """The client. Raises EngineAway when Temporal does not answer within `patience_s`."""
        if patience_s and not self.reachable:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reachable.wait(), patience_s)
        if self._client is None or not self.reachable:
            raise EngineAway(self._objection or AWAY)
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
                await asyncio.wait_for(self._doubt.wait(), CALM_PROBE_S if was else self._anxious_probe_s)

    @property
    def _anxious_probe_s(self) -> float:
        return STARTING_PROBE_S if self._settings.temporal_embedded and not self._is_checked else PROBE_S

    async def _probe(self) -> bool:
        # RuntimeError is what a first connection that fails raises.
        with contextlib.suppress(RPCError, RuntimeError, OSError):
            if self._client is None:
                self._client = await connect(self._settings, self._interceptors, self._codec)
            if not self._is_checked:
                return await self._is_fit(self._client)
            await self._client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self._client.namespace), timeout=timedelta(seconds=3)
            )
            return True
        return False

    async def _is_fit(self, client: Client) -> bool:
        """Has the namespace what runs need? Once it has, it is not asked again: probes come every few seconds."""
        facts = await namespace_facts(client)
        self.namespace_id = facts.id
        is_embedded = self._settings.temporal_embedded
        if is_embedded:
            if not facts.exists or (facts.missing and self._waits_for_attributes()):  # it has just been started
                return False
            await keep_histories(client, facts)
        said = None if is_embedded else objection(facts, client.namespace)
        if said is None and self._known_namespace is not None and (found := EMBEDDED if is_embedded else facts.id):
            said = await self._known_namespace.objection(found)
        if said is not None and said != self._objection:
            logger.error(said, extra={"event": "temporal_unfit"})
        self._objection = said
        self._is_checked = said is None
        return said is None

    def _waits_for_attributes(self) -> bool:
        now = time.monotonic()
        self._attributes_due = self._attributes_due or now + ATTRIBUTES_S
        return now < self._attributes_due


async def connect(
    settings: Settings, interceptors: Sequence[Interceptor] = (), codec: EncryptionCodec | None = None
) -> Client:
    """A connected client, as all our processes connect.

    Raises:
        ConnectionInvalid: What is configured cannot be used.
    """
    config = connect_config(settings.temporal_address, settings.namespace, os.environ, codec=codec)
    return await Client.connect(**config, interceptors=interceptors)
