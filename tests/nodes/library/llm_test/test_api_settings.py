from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.llm_test.api_settings import definition
from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.testing import MemorySecrets, memory_services, run_node

OPERATOR = {"environment": {"OPENAI_API_KEY": "envkey"}, "settings": {"OPENAI_API_BASE": "https://env.host"}}


def settings(inputs: dict[str, Any], secrets: MemorySecrets | None = None) -> dict[str, Any]:
    """The output, its key revealed."""
    secrets = secrets or MemorySecrets()
    found: dict[str, Any] = run_node(definition, inputs, services=memory_services(secrets=secrets))["api_settings"]
    key = found["api_key"]
    return {**found, "api_key": asyncio.run(secrets.reveal(key)) if isinstance(key, SecretRef) else key}


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://api.example.com", "https://api.example.com/v1"),
        ("https://api.example.com/", "https://api.example.com/v1"),
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("https://api.example.com/v1/", "https://api.example.com/v1/"),
        ("https://api.example.com/v1beta/openai", "https://api.example.com/v1beta/openai"),
        ("https://api.example.com/custom/path", "https://api.example.com/custom/path"),
        ("http://localhost:8080", "http://localhost:8080/v1"),
        ("https://api.example.com/?a=1#f", "https://api.example.com/v1"),
        ("https://u:p@api.example.com", "https://api.example.com/v1"),
        ("HTTPS://API.Example.COM", "https://api.example.com/v1"),
        ("http://[::1]:9", "http://[::1]:9/v1"),
        ("https://api.example.com:443", "https://api.example.com/v1"),
        ("https://x.y/vendor", "https://x.y/vendor"),
        ("api.example.com", "api.example.com"),
        ("http://x:port", "http://x:port"),
        ("http://[::1", "http://[::1"),
        ("", ""),
        (None, None),
    ],
)
def test_an_address_without_a_path_gets_v1(given: str | None, used: str | None) -> None:
    assert settings({"base_url": given})["base_url"] == used


def test_an_address_that_is_no_url_is_warned_of_and_not_repeated() -> None:
    warnings: list[dict[str, str]] = []
    run_node(definition, {"base_url": "canary.example.com"}, warnings=warnings)
    assert [warning["code"] for warning in warnings] == ["invalid_url"]
    assert "canary" not in warnings[0]["message"]


def test_an_address_with_a_password_that_would_be_used_is_refused_and_not_repeated() -> None:
    with pytest.raises(NodeInputError, match="'base_url' holds a user name or password") as caught:
        settings({"base_url": "https://me:canary@api.example.com/v1"})
    assert "canary" not in caught.value.message


def test_the_defaults() -> None:
    assert settings({}) == {"use_env_vars": False, "base_url": "https://api.openai.com/v1", "api_key": ""}


@pytest.mark.parametrize(
    ("inputs", "operator", "expected"),
    [
        ({"use_env_vars": True}, OPERATOR, ("https://env.host/v1", "envkey")),
        ({"use_env_vars": False}, OPERATOR, ("https://in.put/v1", "inkey")),
        ({"use_env_vars": True}, {}, ("https://in.put/v1", "inkey")),
    ],
)
def test_the_environment_wins_where_it_is_set_and_asked_for(
    inputs: dict[str, Any], operator: dict[str, Any], expected: tuple[str, str]
) -> None:
    found = settings({**inputs, "base_url": "https://in.put/v1", "api_key": "inkey"}, MemorySecrets(**operator))
    assert (found["base_url"], found["api_key"]) == expected


def test_the_key_is_never_revealed_here(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = MemorySecrets()
    services = memory_services(secrets=secrets)
    found = run_node(definition, {"api_key": "sk-canary", "base_url": "sk-canary"}, services=services)
    assert isinstance(found["api_settings"]["api_key"], SecretRef)
    assert secrets.revealed == []
    assert "sk-canary" not in caplog.text
    assert definition.inputs["api_key"].secret
    assert definition.outputs["api_settings"].secret_keys == ("api_key",)


def test_a_protocol_is_named_only_when_one_was_chosen() -> None:
    assert settings({"adapter": "anthropic"})["adapter"] == "anthropic"
    assert "adapter" not in settings({"adapter": ""})
