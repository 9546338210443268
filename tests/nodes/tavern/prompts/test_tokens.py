"""Counting tokens, never by network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import tiktoken

from innkeeper.nodes.tavern.prompts import tokens
from innkeeper.nodes.tavern.prompts.tokens import counter, estimate


def test_estimate_rounds_up() -> None:
    assert [estimate(text) for text in ("", "a", "abc", "abcd", "x" * 335)] == [0, 1, 1, 2, 100]


@pytest.mark.parametrize("model", [None, "gpt-4o", "openai/gpt-4o", "some-local-model", ""])
def test_without_data_the_estimate_counts(model: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    found = counter(model)
    assert found.name == "characters / 3.35"
    assert found("x" * 335) == 100


def test_damaged_data_is_neither_used_nor_fetched_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    file = tmp_path / "fb374d419588a4632f3f557e76b4b70aebbca790"
    file.write_bytes(b"damaged")
    assert counter("gpt-4o").name == "characters / 3.35"
    assert file.read_bytes() == b"damaged"


def test_switched_off_cache_means_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    assert counter("gpt-4o").name == "characters / 3.35"


def test_data_at_hand_counts_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = tiktoken.Encoding("toy", pat_str=".+", mergeable_ranks={bytes([n]): n for n in range(256)}, special_tokens={})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(tokens._DATA, "o200k_base", hashlib.sha256(b"data").hexdigest())
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: toy)
    (tmp_path / "fb374d419588a4632f3f557e76b4b70aebbca790").write_bytes(b"data")
    tokens._exact.cache_clear()
    try:
        assert (counter(None).name, counter("gpt-4o")("äbc")) == ("tiktoken o200k_base", 4)
        assert counter("claude-x").name == "characters / 3.35"
    finally:
        tokens._exact.cache_clear()
