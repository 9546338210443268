"""Clients that sign as the gateway does, for tests that start workflows of a worker process without a gateway."""

from __future__ import annotations

from pathlib import Path

from temporalio.client import Client

from innkeeper.gateway.runs.signing_client import SigningClient
from innkeeper.nodes.services.secrets import load_or_create_key
from innkeeper.nodes.services.signing_keys import SIGNING_FILE, SigningKeys, create_signing_keys
from innkeeper.workflows.signing import Signer


def signer_of(data: Path) -> Signer:
    """A signer with the keys of a data directory, which are made when they are missing."""
    secret = load_or_create_key(data, {})
    create_signing_keys(data / SIGNING_FILE, secret, ())
    return Signer(SigningKeys(data / SIGNING_FILE, secret))


def signing_client(client: Client, data: Path) -> Client:
    """The same client, signing for a data directory."""
    config = client.config()
    config["interceptors"] = [SigningClient(signer_of(data))]
    return Client(**config)
