from __future__ import annotations

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.services.llm.base_url import base_url_of


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://h/v1", "https://h/v1/chat/completions"),
        (" https://h/v1/ \n", "https://h/v1/chat/completions"),
        ("https://h/v1///", "https://h/v1/chat/completions"),
        ("https://h/v1/chat/completions", "https://h/v1/chat/completions"),
        ("https://h/v1/chat/completions/", "https://h/v1/chat/completions"),
        ("https://h/v1/completions", "https://h/v1/chat/completions"),
        ("https://h/v1/models", "https://h/v1/chat/completions"),
        ("http://h:8080", "http://h:8080/chat/completions"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1/chat/completions"),
        (
            "https://x/openai/deployments/d/chat/completions?api-version=2024-10-21",
            "https://x/openai/deployments/d/chat/completions?api-version=2024-10-21",
        ),
        ("https://x/v1?a=1%202&b=%C3%A9", "https://x/v1/chat/completions?a=1%202&b=%C3%A9"),
    ],
)
def test_a_path_is_added_to_what_people_paste(given: str, expected: str) -> None:
    assert base_url_of(given).with_path("/chat/completions") == expected


def test_a_query_that_is_added_replaces_what_has_the_same_name() -> None:
    assert base_url_of("https://h/v1?a=1&b=2").with_path("/x", {"b": "3", "c": "4"}) == "https://h/v1/x?a=1&b=3&c=4"


@pytest.mark.parametrize(
    "given",
    [
        *("", "h/v1", "ftp://h", "javascript://h", "http://", "http://h:0/", "http://h:99999/", "http://[::1/v1"),
        *("http://h/#a", "http://h#", "http://me:pass@h/v1", "http://h/v1?a=", "http://h/v1?a"),
    ],
)
def test_what_is_no_address_of_a_server_is_refused_with_the_right_form(given: str) -> None:
    with pytest.raises(NodeInputError, match="https://host/v1") as caught:
        base_url_of(given)
    assert "pass@" not in caught.value.message
