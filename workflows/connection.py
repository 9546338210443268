"""How every process of ours reaches Temporal: one place, built on Temporal's own client configuration."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from temporalio.envconfig import ClientConfig
from temporalio.service import GrpcCompression, TLSConfig

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.workflows.payload_codec import EncryptionCodec, data_converter

DEFAULT_ADDRESS = "127.0.0.1:7233"
DEFAULT_NAMESPACE = "innkeeper"
CONFIG_FILE = "TEMPORAL_CONFIG_FILE"
PREFIX = "TEMPORAL_"
CLOUD_DOMAINS = (".tmprl.cloud", ".api.temporal.io")


class ConnectionInvalid(InnkeeperError):
    """What is configured about the connection to Temporal cannot be used."""

    code = "invalid_temporal_connection"


def connect_config(
    address: str | None, namespace: str | None, environ: Mapping[str, str], *, codec: EncryptionCodec | None = None
) -> dict[str, Any]:
    """Arguments for `Client.connect`: ours if given, else `TEMPORAL_*` variables and profiles, else the defaults.

    Args:
        environ: The environment of the process. An empty variable counts as none.
        codec: Of values that are encrypted, if any are.

    Raises:
        ConnectionInvalid: The profile, a certificate or the address cannot be used.
    """
    config = _configured(environ)
    config["target_host"] = address or config.get("target_host") or DEFAULT_ADDRESS
    config["namespace"] = namespace or config.get("namespace") or DEFAULT_NAMESPACE
    config["data_converter"] = data_converter(codec)
    host, _, port = config["target_host"].rpartition(":")
    if not host or not port.isdigit():
        raise ConnectionInvalid(f"the address of Temporal, {config['target_host']!r}, has no port: write host:port")
    if _is_this_machine(host):
        # Compressing for the same machine was measured to cost up to a third of a fan-out.
        config["grpc_compression"] = GrpcCompression.NONE
    return config


def _configured(environ: Mapping[str, str]) -> dict[str, Any]:
    given = {name: value for name, value in environ.items() if value}
    try:
        return dict(ClientConfig.load_client_connect_config(override_env_vars=given))
    except OSError as error:
        where = f" {error.filename!r}" if error.filename else ""
        raise ConnectionInvalid(
            f"a file of the connection to Temporal{where} cannot be read: {error.strerror}"
        ) from None
    except (RuntimeError, ValueError, TypeError) as error:
        # Not chained, and without its words: a parser shows the line, which may be the one with the key.
        unknown_profile = str(error).startswith("Profile '") and str(error).endswith("' not found")
    if unknown_profile:
        raise ConnectionInvalid("there is no profile of the name in TEMPORAL_PROFILE in Temporal's profile file")
    raise ConnectionInvalid(
        "Temporal's client configuration cannot be used: the TEMPORAL_* variables and the profile file "
        f"({CONFIG_FILE}, TEMPORAL_PROFILE) must be as Temporal's documentation says; 'temporal config list' shows "
        "whether its own command line reads them"
    )


def connection_secrets(environ: Mapping[str, str]) -> frozenset[str]:
    """What of the connection must not be logged: API key, private key, and what travels with each call.

    Raises:
        ConnectionInvalid: As `connect_config`.
    """
    config = _configured(environ)
    tls = config.get("tls")
    key = tls.client_private_key if isinstance(tls, TLSConfig) else None
    found = [
        config.get("api_key"),
        key and key.decode(errors="replace").strip(),
        *config.get("rpc_metadata", {}).values(),
    ]
    return frozenset(filter(None, found))


def described(config: Mapping[str, Any]) -> str:
    """A connection in words, without its secrets.

    Example:
        >>> described({"target_host": "temporal:7233", "namespace": "innkeeper", "api_key": "k", "tls": True})
        'Temporal at temporal:7233, namespace innkeeper, TLS, API key'
    """
    tls = config.get("tls")
    kinds = [
        f"Temporal at {config['target_host']}, namespace {config['namespace']}",
        *(["TLS"] if tls else ["no TLS"]),
        *(["client certificate"] if isinstance(tls, TLSConfig) and tls.client_cert else []),
        *(["API key"] if config.get("api_key") else []),
    ]
    return ", ".join(kinds)


def is_cloud(target_host: str) -> bool:
    """Is this Temporal Cloud, where namespaces are made by other tools?"""
    return target_host.rpartition(":")[0].endswith(CLOUD_DOMAINS)


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
