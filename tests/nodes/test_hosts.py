"""Addresses and keys as people paste them."""

from __future__ import annotations

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.hosts import api_base_url, sendable_key


@pytest.mark.parametrize(
    ("pasted", "asked"),
    [
        ("https://h.example/v1", "https://h.example/v1"),
        (" https://h.example/v1//\n", "https://h.example/v1"),
        ("https://h.example/v1/chat/completions", "https://h.example/v1"),
        ("https://h.example/v1/Chat/Completions/", "https://h.example/v1"),
        ("https://h.example/v1/responses", "https://h.example/v1"),
        ("https://h.example/v1/completions", "https://h.example/v1"),
        ("https://h.example/chat/completions", "https://h.example"),
        ("https://h.example/mycompletions", "https://h.example/mycompletions"),
        ("https://h.example", "https://h.example"),
    ],
)
def test_an_address_is_asked_without_the_endpoints_path(pasted: str, asked: str) -> None:
    assert api_base_url(pasted) == asked


@pytest.mark.parametrize("pasted", ["https://h.example/v1?key=canary", "https://h.example/#canary"])
def test_an_address_with_a_query_is_refused_and_not_repeated(pasted: str) -> None:
    with pytest.raises(NodeInputError, match="a channel with 'query'") as caught:
        api_base_url(pasted)
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("pasted", ["sk-1", " sk-1\r\n", "\tsk-1 ", "\u00a0sk-1\u2028"])
def test_a_key_is_sent_without_blanks_around_it(pasted: str) -> None:
    assert sendable_key(pasted) == "sk-1"


@pytest.mark.parametrize("key", ["sk-\u00e9", "sk\n1", "\ufeffsk", "sk\u200b", "sk-\ud83d", "a\x00b"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(NodeInputError, match="no printable ASCII") as caught:
        sendable_key(key)
    assert "sk" not in caught.value.message


def test_no_key_stays_none() -> None:
    assert sendable_key("") == ""
