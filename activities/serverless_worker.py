"""The worker as a function: one invocation takes nodes from the queue of serverless functions until its time is over.

It shares no data directory with the gateway, only keys. So it sees values that travel inline, keeps nothing, and sends
no events unless it is given the address of the gateway: what its nodes gave is in the results of their activities.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.contrib.aws.lambda_worker import LambdaWorkerConfig, run_worker
from temporalio.worker import Worker, WorkerDeploymentConfig

from innkeeper.activities.execution.execute_node import ExecuteNode
from innkeeper.activities.execution.values import Values
from innkeeper.activities.link.gateway_link import GatewayLink, NullLink
from innkeeper.activities.services import ServicesForRuns
from innkeeper.activities.settings import WorkerSettings
from innkeeper.activities.worker import build_link, codec_of
from innkeeper.nodes.call import INLINE_LIMIT, SERVERLESS_ATTEMPT_S, SERVERLESS_QUEUE
from innkeeper.nodes.catalogue.plugin_settings import PluginSettings, load_plugin_settings
from innkeeper.nodes.catalogue.plugins import Catalogue, load_catalogue
from innkeeper.nodes.errors import InvalidNode, NodeInputError
from innkeeper.nodes.services.secrets import load_or_create_key
from innkeeper.nodes.services.signing_keys import SIGNING_FILE, SigningKeys
from innkeeper.workflows.connection import connect_config
from innkeeper.workflows.engine.signature_check import install_signer
from innkeeper.workflows.engine.signing_interceptors import SigningInterceptor
from innkeeper.workflows.signing import Signer

MAX_OUTPUT_BYTES = 64 * 1024
"""Bytes of JSON of one output. Elsewhere larger values are stored; here there is no store, and the history of a run
takes 50 MB."""
CLOSING_S = 5.0
"""After the last attempt: its result on its way to Temporal, connections and events to an end."""
KEY_FILES = "KEY_FILES"
"""The variable that brings key files of the gateway's data directory: JSON, name to content."""
THROTTLE = timedelta(seconds=1)
"""Bounds how late a cancel arrives and how old the last heartbeat can be."""
SLOTS = 10
"""Nodes at once in one invocation: they mostly wait for others, and a function has a part of a core."""


class NoBlobs:
    """The store of a worker that has none."""

    async def put(self, data: bytes) -> str:
        raise InvalidNode(
            f"an output has {len(data)} bytes; on the queue {SERVERLESS_QUEUE!r} the limit is {MAX_OUTPUT_BYTES}: "
            "remove 'queue' from the node, or let it give less",
            code="value_too_large",
        )

    async def get(self, sha256: str) -> NoReturn:
        raise NodeInputError(
            f"an input is a stored value, as all over {INLINE_LIMIT} bytes are, and functions on the queue "
            f"{SERVERLESS_QUEUE!r} reach no store: remove 'queue' from the node, or give it less",
            code="value_too_large",
        )


@dataclass(frozen=True)
class Function:
    """What an instance of the function loads once, at its cold start.

    Attributes:
        attempt_s: Seconds that one attempt may take; so much is left when the last one is taken.
    """

    settings: WorkerSettings
    environ: Mapping[str, str]
    catalogue: Catalogue
    plugin_settings: dict[str, PluginSettings]
    attempt_s: float

    @classmethod
    def load(cls, environ: Mapping[str, str], attempt_s: float) -> Function:
        """Read settings, keys and node types, and check signatures from now on.

        Raises:
            SettingsError: A setting is wrong.
        """
        settings = WorkerSettings.load(environ)
        catalogue = load_catalogue(settings.plugins)
        secret = load_or_create_key(settings.data_dir, environ)
        install_signer(Signer(SigningKeys(settings.data_dir / SIGNING_FILE, secret)))
        plugin_settings = load_plugin_settings(catalogue.plugins, settings.data_dir)
        return cls(settings, environ, catalogue, plugin_settings, attempt_s)

    def link(self) -> GatewayLink:
        """To the gateway if one is named: the default address is this machine's, where none is."""
        return build_link(self.settings) if self.environ.get("INNKEEPER_GATEWAY_URL") else NullLink()

    async def configure(self, config: LambdaWorkerConfig) -> AsyncGenerator[None, None]:
        """Fill in the configuration of one invocation, whose event loop is its own, and clean up after it."""
        codec = codec_of(self.settings, self.environ)
        connection = connect_config(self.settings.temporal_address, self.settings.namespace, self.environ, codec=codec)
        config.client_connect_config.update(connection)  # type: ignore[typeddict-item]  # arguments of Client.connect
        blobs, link = NoBlobs(), self.link()
        services = ServicesForRuns(self.settings, blobs, self.environ, engine_address=connection["target_host"])
        values = Values(blobs, inline_bytes=MAX_OUTPUT_BYTES)
        execute = ExecuteNode(self.catalogue, services, link, values, plugin_settings=self.plugin_settings)
        grace = timedelta(seconds=self.attempt_s)
        config.worker_config |= {
            "task_queue": SERVERLESS_QUEUE,
            "activities": [execute.execute_node],
            "interceptors": [SigningInterceptor()],
            "max_concurrent_activities": SLOTS,
            # No more work is taken while an attempt might not end before the invocation does.
            "graceful_shutdown_timeout": grace,
            "max_heartbeat_throttle_interval": THROTTLE,
            "default_heartbeat_throttle_interval": THROTTLE,
        }
        config.shutdown_deadline_buffer = grace + timedelta(seconds=CLOSING_S)
        link.start()
        try:
            yield
        finally:
            await link.stop()
            await services.aclose()


def function_handler(
    environ: Mapping[str, str] | None = None, *, attempt_s: float = SERVERLESS_ATTEMPT_S
) -> Callable[[Any, Any], None]:
    """The handler `(event, context)` of AWS Lambda; `context` tells how much time is left.

    A build of its own for each change of code: `INNKEEPER_DEPLOYMENT` and `INNKEEPER_BUILD_ID`. It gets work when
    Temporal was told that it is the current one.

    Raises:
        SettingsError: A setting is wrong.
    """
    environ = os.environ if environ is None else environ
    function = Function.load(environ, attempt_s)
    return run_worker(_version(environ), function.configure)


async def serve_until(stop: asyncio.Event, environ: Mapping[str, str] | None = None) -> None:
    """The same worker where an instance lives on, as in a pool of Cloud Run.

    Raises:
        SettingsError: A setting is wrong.
        RuntimeError: Temporal does not answer.
    """
    environ = os.environ if environ is None else environ
    function = Function.load(environ, SERVERLESS_ATTEMPT_S)
    config = LambdaWorkerConfig()
    async with contextlib.asynccontextmanager(function.configure)(config):
        client = await Client.connect(**config.client_connect_config)
        config.worker_config["deployment_config"] = WorkerDeploymentConfig(_version(environ), True)
        # Its type names the client, too, which the configuration never holds.
        async with Worker(client, **config.worker_config):  # type: ignore[misc]
            await stop.wait()


def take_keys(environ: MutableMapping[str, str]) -> None:
    """Write the key files that a variable brings into the data directory. The variable is gone then: code of nodes has
    no business with it."""
    files = json.loads(environ.pop(KEY_FILES, "{}"))
    folder = Path(environ["INNKEEPER_DATA_DIR"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / Path(name).name
        path.touch(mode=0o600)
        path.write_text(content)


def _version(environ: Mapping[str, str]) -> WorkerDeploymentVersion:
    deployment = environ.get("INNKEEPER_DEPLOYMENT") or "innkeeper-serverless"
    return WorkerDeploymentVersion(deployment, environ.get("INNKEEPER_BUILD_ID") or "unversioned")
