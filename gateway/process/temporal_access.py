"""The Temporal server of commands: which one is meant, whether runs can live on it, and a client with the right keys.

Temporal's library takes half a second to load, so it is imported where it is needed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innkeeper.gateway.process.data_dir import holder_of
from innkeeper.gateway.process.temporal_server import NAMESPACE
from innkeeper.gateway.settings import Settings
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.services.payload_keys import PAYLOAD_KEYS_FILE, open_payload_keys
from innkeeper.nodes.services.secrets import load_or_create_key

if TYPE_CHECKING:
    from temporalio.client import Client

    from innkeeper.workflows.payload_codec import EncryptionCodec

CONNECT_S = 10.0
TEMPORAL_PREFIX = "TEMPORAL_"
EMBEDDED = "INNKEEPER_TEMPORAL_EMBEDDED"


class TemporalUnfit(InnkeeperError):
    """A Temporal server does not answer, or runs cannot live on it."""

    code = "temporal_unfit"


def embedded_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that uses the embedded server.

    The user's own Temporal (TEMPORAL_*, its profile file) is another one: its TLS and its keys must not be tried here.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith(TEMPORAL_PREFIX)}
    return {**kept, "TEMPORAL_CONFIG_FILE": os.devnull, "INNKEEPER_NAMESPACE": NAMESPACE, EMBEDDED: "1"}


def server_of(address: str | None, environ: Mapping[str, str]) -> str | None:
    """Which server `innkeeper up` uses: an address, "" for what Temporal's own variables name, None for its own one.

    A profile file alone does not count: it may be there for other programs.
    """
    if address:
        return address
    return "" if environ.get("TEMPORAL_ADDRESS") or environ.get("TEMPORAL_PROFILE") else None


def joined(data_dir: Path, address: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for what uses the same server as the gateway of a data directory, unless an address is given."""
    holder = holder_of(data_dir) or {}
    found = address or holder.get("temporal")
    if holder.get("embedded") and found == holder.get("temporal"):
        return {**embedded_environment(environ), "INNKEEPER_TEMPORAL_ADDRESS": str(found)}
    return {**environ, EMBEDDED: "0", **({"INNKEEPER_TEMPORAL_ADDRESS": str(found)} if found else {})}


async def connected(config: Mapping[str, Any]) -> Client:
    """A client.

    Raises:
        TemporalUnfit: Nothing answers.
    """
    from temporalio.client import Client

    from innkeeper.workflows.connection import described

    try:
        async with asyncio.timeout(CONNECT_S):
            return await Client.connect(**config)
    except (RuntimeError, TimeoutError) as error:
        # Its words may repeat what the server was told; ours name the server.
        raise TemporalUnfit(
            f"no answer from {described(config)}: see that it runs, and that TLS and keys are right"
        ) from error


async def checked_server(address: str | None, namespace: str | None) -> str:
    """The address of a server on which runs can live.

    Raises:
        TemporalUnfit: It does not answer, or lacks what runs need, and what to do.
        ConnectionInvalid: What is configured cannot be used.
    """
    from temporalio.service import RPCError

    from innkeeper.workflows.connection import connect_config
    from innkeeper.workflows.namespace import namespace_facts, objection

    config = connect_config(address, namespace, os.environ)
    client = await connected(config)
    try:
        said = objection(await namespace_facts(client), client.namespace)
    except RPCError as error:
        raise TemporalUnfit(
            f"the Temporal server at {config['target_host']} does not answer: {error.status.name}"
        ) from error
    if said is not None:
        raise TemporalUnfit(said)
    return str(config["target_host"])


async def open_client(data_dir: Path, environ: Mapping[str, str]) -> Client:
    """A client of the server of a data directory, which reads what was encrypted there.

    Args:
        environ: As `joined` gives it.

    Raises:
        TemporalUnfit, ConnectionInvalid, PayloadKeysUnusable
    """
    from innkeeper.workflows.connection import connect_config

    settings = Settings.load(environ, data_dir=data_dir)
    codec = stored_codec(data_dir, environ)
    config = connect_config(settings.temporal_address, settings.namespace, environ, codec=codec)
    return await connected(config)


def stored_codec(data_dir: Path, environ: Mapping[str, str]) -> EncryptionCodec | None:
    """What decrypts with the keys of a data directory; None when it has none.

    Raises:
        PayloadKeysUnusable: The file of the keys cannot be used.
    """
    from innkeeper.workflows.payload_codec import EncryptionCodec

    if not (data_dir / PAYLOAD_KEYS_FILE).exists():
        return None
    keys = open_payload_keys(data_dir, load_or_create_key(data_dir, environ), encrypts=False)
    return None if keys is None else EncryptionCodec(keys, encrypts=False)
