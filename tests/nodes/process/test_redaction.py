"""What is masked in text that leaves a process, and what is left alone."""

from __future__ import annotations

import pytest

from innkeeper.nodes.process.redaction import Redactor, names_a_secret, secrets_of


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer canary-abc.def",
        "GET /ws?token=canary123",
        '{"api_key": "canary1234"}',
        "api_key=canary1234",
        "used sk-canary1234 there",
        "the known-canary value",
        "PASSWORD: canary",
        "proxy-auth BASIC canary==",
        "redis://user:canary@host:6379/0",
        "pa\u017f\u017fword=canary",  # what ignores case takes the long s for an s
        "to\u212aen=canary",
        "written by repr: 'two\\nlines-canary'",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    assert "canary" not in Redactor(("known-canary", "two\nlines-canary"))(text)


@pytest.mark.parametrize("text", ["", "a task-manager", "https://host:8090/path", "5 tokens", "the key was found"])
def test_other_text_stays(text: str) -> None:
    assert Redactor(("canary",))(text) == text


def test_longer_secret_that_begins_with_a_shorter_one_is_masked_whole() -> None:
    assert Redactor(("abcd", "abcdefgh"))("x abcdefgh y") == "x *** y"


@pytest.mark.parametrize("key", ["api_key", "API-KEY", "token", "access_token", "x-password", "Authorization"])
def test_keys_that_name_a_secret(key: str) -> None:
    assert names_a_secret(key)


@pytest.mark.parametrize("key", ["key", "tokens", "keyboard", "max_tokens", "run", "node"])
def test_keys_that_name_no_secret(key: str) -> None:
    assert not names_a_secret(key)


def test_secrets_of_an_environment_are_ours_and_those_of_providers() -> None:
    environ = {
        "INNKEEPER_WORKER_TOKEN": "short",
        "OPENAI_API_KEY": "sk-long-enough",
        "GIT_TOKEN": "true",
        "INNKEEPER_ACCESS_TOKEN": "",
        "HOME": "/home/of-somebody",
    }
    assert secrets_of(environ) == {"short", "sk-long-enough"}
