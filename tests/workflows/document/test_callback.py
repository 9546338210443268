"""Callbacks as documents and requests name them."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.document.callback import (
    Callback,
    complaints,
    read_callback,
    shown_url,
    unknown_key_complaint,
    url_complaint,
)
from innkeeper.workflows.document.model import parse_document

ID = "a" * 64


def test_a_callback_without_more_is_told_of_each_end() -> None:
    assert read_callback({"url": "https://a.example/x#part"}) == Callback("https://a.example/x")
    assert Callback("https://a.example/x").on == ("complete", "error", "interrupted")
    assert Callback("https://a.example/x").host == "a.example:443"


def test_both_forms_of_a_reference_mean_the_same() -> None:
    for secret in ({"$secret": ID}, f"$secret:{ID}"):
        raw = {"url": "http://a.example", "secret": secret, "on": ["waiting", "complete"]}
        assert list(complaints(raw)) == []
        callback = read_callback(raw)
        assert (callback.reference, callback.on) == (ID, ("complete", "waiting"))


@pytest.mark.parametrize(
    "url",
    [
        *("", "a.example", "//a.example", "ftp://a.example", "http://", "http://a\\@b.example", " http://a.example"),
        *("http://u@a.example", "http://u:p@a.example", "http://a.example:port", "http://a.example/\n"),
        *("http://a.example/" + "x" * 2000, 1),
    ],
)
def test_a_url_that_programs_read_in_two_ways_or_that_holds_a_password_is_none(url: Any) -> None:
    assert url_complaint(url) is not None


@pytest.mark.parametrize("url", ["http://a.example", "https://a.example:8443/x?key=1", "HTTPS://[::1]/x"])
def test_a_plain_url_is_one(url: str) -> None:
    assert url_complaint(url) is None


def test_a_query_is_not_shown() -> None:
    assert shown_url("https://a.example/x?key=1&b=2") == "https://a.example/x?***"
    assert shown_url("https://a.example/x") == "https://a.example/x"


def test_an_object_of_a_callback_does_not_show_what_is_secret_in_it() -> None:
    assert "canary" not in repr(Callback("https://a.example/?canary", "canary"))


def test_a_document_may_have_keys_of_its_own_and_is_warned_of_misspelt_ones() -> None:
    raw = {"url": "https://a.example", "secrets": "x", "colour": "red"}
    document = parse_document({"nodes": [], "callback": raw})
    assert document.callback == Callback("https://a.example")
    assert [problem.message for problem in document.odd] == [
        "'callback' has the key 'secrets', which is not read; did you mean 'secret'?"
    ]
    assert unknown_key_complaint(raw) == "'callback' has 'url', 'secret' and 'on'; found 'colour', 'secrets'"


def test_a_document_with_a_wrong_callback_says_all_that_is_wrong() -> None:
    raw = {"url": 1, "secret": [], "on": ["always"]}
    with pytest.raises(InvalidWorkflow) as refused:
        parse_document({"nodes": [], "callback": raw})
    assert [problem.code for problem in refused.value.problems] == ["invalid_callback"] * 3
    with pytest.raises(InvalidWorkflow):
        parse_document({"nodes": [], "callback": [raw]})
    assert parse_document({"nodes": [], "callback": None}).callback is None
