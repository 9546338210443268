"""What a worker process is told from outside, and what it says to nonsense."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from innkeeper.activities.settings import SettingsError, WorkerSettings


def test_nothing_set_gives_the_defaults_of_the_embedded_stack() -> None:
    settings = WorkerSettings.load({})
    assert settings == WorkerSettings(data_dir=Path(".innkeeper").absolute())
    # Left to Temporal's own configuration, which may name any cluster.
    assert (settings.temporal_address, settings.namespace) == (None, None)
    assert settings.gateway_url == "http://127.0.0.1:8090"
    assert settings.flush_timeout_s == 30
    assert (settings.allow_loopback, settings.allow_private) == (True, False)


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("DATA_DIR", "/srv/data", "data_dir", Path("/srv/data")),
        ("TEMPORAL_ADDRESS", "temporal:7233", "temporal_address", "temporal:7233"),
        ("NAMESPACE", "mine", "namespace", "mine"),
        ("GATEWAY_URL", "http://gateway:8090/", "gateway_url", "http://gateway:8090"),
        ("GATEWAY_URL", "", "gateway_url", ""),
        ("PLUGINS", f"/a{os.pathsep} /b", "plugins", (Path("/a"), Path("/b"))),
        ("FLUSH_TIMEOUT_S", "", "flush_timeout_s", 30.0),
        ("QUEUES", "gpu, big ,", "queues", ("gpu", "big")),
        ("MAX_ACTIVITIES", "7", "max_activities", 7),
        ("MAX_ACTIVITIES", "1e3", "max_activities", 1000),
        ("FLUSH_TIMEOUT_S", "2.5", "flush_timeout_s", 2.5),
        ("STOP_GRACE_S", "0", "stop_grace_s", 0.0),
        ("HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("HOST", "0.0.0.0", "allow_loopback", False),
        ("HOST", "localhost", "allow_loopback", True),
        ("GATEWAY_URL", "http://gateway:8090", "allow_loopback", False),
        ("ALLOW_LOOPBACK", "no", "allow_loopback", False),
        ("ALLOW_LOOPBACK", "on", "allow_loopback_http", True),
        ("ALLOW_LOOPBACK", "", "allow_loopback_http", False),
        ("ALLOW_PRIVATE", "TRUE", "allow_private", True),
        ("NODE_ALLOWED_HOSTS", "a.example,b.example:8443", "allowed_hosts", ("a.example", "b.example:8443")),
        ("ENV_KEY_HOSTS", "proxy.example", "env_key_hosts", ("proxy.example",)),
        ("SCRIPT_PROCESSES", "4", "script_processes", 4),
        ("SCRIPT_MEMORY_MB", "256", "script_memory_mb", 256),
        ("SCRIPT_IDLE_S", "1.5", "script_idle_s", 1.5),
        ("MAX_RESOURCE_MB", "100", "max_resource_mb", 100),
        ("MAX_RESPONSE_MB", "1", "max_response_mb", 1),
    ],
)
def test_each_setting_is_read(name: str, text: str, attribute: str, value: Any) -> None:
    assert getattr(WorkerSettings.load({f"INNKEEPER_{name}": text}), attribute) == value


def test_a_relative_data_directory_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert WorkerSettings.load({"INNKEEPER_DATA_DIR": "data"}).data_dir == tmp_path / "data"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MAX_ACTIVITIES", "many"),
        ("MAX_ACTIVITIES", "2.5"),
        ("MAX_ACTIVITIES", "0"),
        ("MAX_ACTIVITIES", "-1"),
        ("FLUSH_TIMEOUT_S", "nan"),
        ("FLUSH_TIMEOUT_S", "inf"),
        ("STOP_GRACE_S", "-0.1"),
        ("ALLOW_PRIVATE", "perhaps"),
        ("SCRIPT_PROCESSES", "0"),
        ("SCRIPT_MEMORY_MB", "63"),
        ("MAX_RESOURCE_MB", "0"),
        ("MAX_RESPONSE_MB", "big"),
        ("GATEWAY_URL", "127.0.0.1:8090"),
        ("GATEWAY_URL", "ftp://gateway"),
        ("GATEWAY_URL", "http://gateway:web"),
        ("GATEWAY_URL", "http://[gateway"),
        ("DEPLOYMENT", "two:names"),
        ("DEPLOYMENT", "a.b"),
        ("BUILD_ID", "it's"),
        ("PAYLOAD_ENCRYPTION", "maybe"),
    ],
)
def test_nonsense_is_refused_with_key_and_value(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        WorkerSettings.load({f"INNKEEPER_{name}": text})
    assert f"INNKEEPER_{name}" in refused.value.message
    assert repr(text) in refused.value.message


@pytest.mark.parametrize("environ", [{"INNKEEPER_DEPLOYMENT": "inn"}, {"INNKEEPER_BUILD_ID": "1"}])
def test_deployment_and_build_come_together(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="INNKEEPER_DEPLOYMENT and INNKEEPER_BUILD_ID are set together"):
        WorkerSettings.load(environ)
    both = WorkerSettings.load({"INNKEEPER_DEPLOYMENT": "inn", "INNKEEPER_BUILD_ID": "1.2-rc"})
    assert (both.deployment, both.build_id) == ("inn", "1.2-rc")


@pytest.mark.parametrize(
    ("setting", "embedded", "encrypts"),
    [("auto", "0", True), ("auto", "1", False), ("on", "1", True), ("off", "0", False)],
)
def test_payloads_are_encrypted_unless_the_server_is_the_embedded_one(
    setting: str, embedded: str, encrypts: bool
) -> None:
    environ = {"INNKEEPER_PAYLOAD_ENCRYPTION": setting, "INNKEEPER_TEMPORAL_EMBEDDED": embedded}
    assert WorkerSettings.load(environ).encrypts_payloads is encrypts


def test_settings_of_others_are_left_alone() -> None:
    assert WorkerSettings.load({"QUEUES": "gpu", "HOME": "/root"}) == WorkerSettings.load({})


@pytest.mark.parametrize(
    "url",
    [
        "proxy:3128",
        "socks5://proxy",
        "http://",
        "http://me:canary-word@",
        "http://proxy:canary-word",
        "http://p/canary-x",
    ],
)
def test_a_proxy_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="INNKEEPER_LLM_PROXY") as caught:
        WorkerSettings.load({"INNKEEPER_LLM_PROXY": url})
    assert "canary" not in caught.value.message


def test_a_proxy_is_not_shown_with_its_password() -> None:
    environ = {"INNKEEPER_LLM_PROXY": "http://me:canary-word@proxy:3128"}
    settings = WorkerSettings.load(environ)
    assert settings.llm_proxy is not None
    assert settings.llm_proxy.get_secret_value() == "http://me:canary-word@proxy:3128"
    assert "canary" not in f"{settings!r} {settings.rows(environ)}"


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_without_certificates_is_refused_at_the_start(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match="INNKEEPER_LLM_CA_BUNDLE"):
        WorkerSettings.load({"INNKEEPER_LLM_CA_BUNDLE": str(file)})
