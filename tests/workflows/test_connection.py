"""One place decides how Temporal is reached: arguments, then variables, then profiles, then the defaults."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from temporalio.service import GrpcCompression, TLSConfig

from innkeeper.workflows.connection import (
    ConnectionInvalid,
    connect_config,
    connection_secrets,
    described,
    is_cloud,
)

KEY = "tmprl-key-0123456789"
PROFILES = f"""
[profile.default]
address = "from-file:7233"
namespace = "of-file"
[profile.cloud]
address = "acme.a1b2c.tmprl.cloud:7233"
namespace = "acme.a1b2c"
api_key = "{KEY}"
[profile.cloud.grpc_meta]
authorization-extra = "Bearer extra-0123456789"
"""
NO_FILE = {"TEMPORAL_CONFIG_FILE": os.devnull}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "temporal.toml"
    path.write_text(PROFILES)
    return path


def test_what_is_given_wins_over_variables_over_profiles_over_defaults(file: Path) -> None:
    with_file = {"TEMPORAL_CONFIG_FILE": str(file)}
    with_both = {**with_file, "TEMPORAL_ADDRESS": "from-env:7233"}
    found = [
        (config["target_host"], config["namespace"])
        for config in (
            connect_config("given:1", "given", with_both),
            connect_config(None, None, with_both),
            connect_config(None, None, with_file),
            connect_config(None, None, NO_FILE),
        )
    ]
    assert found == [
        ("given:1", "given"),
        ("from-env:7233", "of-file"),
        ("from-file:7233", "of-file"),
        ("127.0.0.1:7233", "innkeeper"),
    ]


def test_profile_brings_its_key_with_tls_and_a_variable_replaces_it(file: Path) -> None:
    environ = {"TEMPORAL_CONFIG_FILE": str(file), "TEMPORAL_PROFILE": "cloud"}
    config = connect_config(None, None, environ)
    assert (config["api_key"], config["tls"], is_cloud(config["target_host"])) == (KEY, True, True)
    assert connect_config(None, None, {**environ, "TEMPORAL_API_KEY": "other"})["api_key"] == "other"
    assert described(config) == ("Temporal at acme.a1b2c.tmprl.cloud:7233, namespace acme.a1b2c, TLS, API key")
    assert connection_secrets(environ) == {KEY, "Bearer extra-0123456789"}


def test_certificates_come_from_files_and_variables(tmp_path: Path) -> None:
    (tmp_path / "client.pem").write_text("CERT")
    environ = {
        **NO_FILE,
        "TEMPORAL_TLS_CLIENT_CERT_PATH": str(tmp_path / "client.pem"),
        "TEMPORAL_TLS_CLIENT_KEY_DATA": "PRIVATE-0123456789",
        "TEMPORAL_TLS_SERVER_NAME": "temporal.internal",
    }
    tls = connect_config("h:1", None, environ)["tls"]
    assert isinstance(tls, TLSConfig)
    assert (tls.client_cert, tls.client_private_key, tls.domain) == (
        b"CERT",
        b"PRIVATE-0123456789",
        "temporal.internal",
    )
    assert connection_secrets(environ) == {"PRIVATE-0123456789"}
    assert "client certificate" in described({"target_host": "h:1", "namespace": "n", "tls": tls})


def test_empty_variable_counts_as_none(file: Path) -> None:
    empty = dict.fromkeys(("TEMPORAL_ADDRESS", "TEMPORAL_API_KEY", "TEMPORAL_TLS_CLIENT_CERT_PATH"), "")
    assert connect_config(None, None, {**NO_FILE, **empty}) == connect_config(None, None, NO_FILE)


def test_only_this_machine_goes_without_compression() -> None:
    hosts = {host: "grpc_compression" in connect_config(f"{host}:1", None, NO_FILE) for host in
             ("127.0.0.1", "localhost", "[::1]", "temporal.internal")}  # fmt: skip
    assert hosts == {"127.0.0.1": True, "localhost": True, "[::1]": True, "temporal.internal": False}
    assert connect_config("localhost:1", None, NO_FILE)["grpc_compression"] is GrpcCompression.NONE


@pytest.mark.parametrize(
    ("content", "variables", "said"),
    [
        (f'[profile.default]\napi_key = "{KEY}\n', {}, "Temporal's client configuration cannot be used"),
        ("", {"TEMPORAL_PROFILE": "nowhere"}, "no profile of the name in TEMPORAL_PROFILE"),
        (
            "",
            {"TEMPORAL_TLS_CLIENT_KEY_PATH": "/no/such.key", "TEMPORAL_API_KEY": KEY},
            "'/no/such.key' cannot be read",
        ),
        ("", {"TEMPORAL_ADDRESS": "host"}, "'host', has no port: write host:port"),
        ("", {"TEMPORAL_ADDRESS": "host:port"}, "has no port"),
    ],
)
def test_wrong_configuration_is_told_without_what_is_secret_in_it(
    tmp_path: Path, content: str, variables: dict[str, str], said: str
) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text(content)
    with pytest.raises(ConnectionInvalid) as refused:
        connect_config(None, None, {"TEMPORAL_CONFIG_FILE": str(file), **variables})
    assert said in refused.value.message
    chain = [
        refused.value,
        refused.value.__cause__,
        *([] if refused.value.__suppress_context__ else [refused.value.__context__]),
    ]
    assert KEY not in "".join(map(repr, chain))
