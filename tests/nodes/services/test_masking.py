"""Secrets in answers: found in every form, and also where they are split over pieces."""

from __future__ import annotations

import json
import random
from urllib.parse import quote

import orjson
import pytest

from innkeeper.nodes.node import Chunk
from innkeeper.nodes.services.masking import ChunkMask, TextMask, forms_of, forms_of_all, mask, mask_json

SECRETS = ("sk-canary-1234", 'canary "quoted"\\ key/1', "schlüssel 77+42", "aaab-aaab-9", "\ud800 odd key 1")


@pytest.mark.parametrize("secret", SECRETS)
def test_every_form_is_masked_wherever_it_stands(secret: str) -> None:
    forms = forms_of(secret)
    for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe="", errors="replace")):
        answer = {"text": f"a {form}b", "deep": [{form: (form, 1, None)}], "whole": form}
        assert mask(answer, forms) == {"text": "a ***b", "deep": [{"***": ["***", 1, None]}], "whole": "***"}


def test_a_key_that_was_pasted_with_a_line_end_is_masked_without_it() -> None:
    assert mask("sk-canary-1234", forms_of(" sk-canary-1234\r\n")) == "***"


@pytest.mark.parametrize("word", ["", "none", "x", "12345", "ollama", "lm-studio", "not-needed"])
def test_short_keys_and_plain_words_stay(word: str) -> None:
    assert forms_of(word) == ()
    assert mask(f"ask {word} now", forms_of(word)) == f"ask {word} now"


@pytest.mark.parametrize("seed", range(40))
def test_a_secret_split_anywhere_is_masked_and_the_rest_arrives(seed: int) -> None:
    chance = random.Random(seed)
    secret = chance.choice(SECRETS)
    forms = forms_of(secret)
    words = [*forms, secret[: len(secret) // 2], secret[:-1], secret[1:], "plain ", "a", " "]
    whole = "".join(chance.choice(words) for _ in range(12))
    text, said = TextMask(forms), ""
    position = 0
    while position < len(whole):
        length = chance.randint(1, 6)
        said += text.feed(whole[position : position + length])
        assert not any(form in said for form in forms)
        position += length
    said += text.end()
    assert not any(form in said for form in forms)
    # Nothing but forms is lost: the first one found wins, so only texts with nested forms may differ.
    if len(forms) == 1:
        assert said == whole.replace(secret, "***")


def test_only_what_may_begin_a_secret_is_held_back() -> None:
    text = TextMask(forms_of("sk-canary-1234"))
    assert text.feed("Hello") == "Hello"
    assert text.feed(" ask") == " a"
    assert text.feed("ew") == "skew"
    assert text.feed("sk-canary-123") == ""
    assert text.end() == "sk-canary-123"
    assert text.end() == ""


def test_the_key_of_an_authorization_header_is_a_secret_of_its_own() -> None:
    forms = forms_of_all(["Bearer canary-key-1", "sk-canary-2345"])
    assert mask("canary-key-1, Bearer canary-key-1, sk-canary-2345", forms) == "***, ***, ***"


@pytest.mark.parametrize("secret", SECRETS[:4])
def test_json_text_is_searched_as_it_is_written(secret: str) -> None:
    forms = forms_of(secret)
    value = {"text": secret, "again": [json.dumps({"inner": secret}, ensure_ascii=False)], secret: 1}
    data = orjson.dumps(value)
    assert orjson.loads(mask_json(data, forms)) == {"text": "***", "again": ['{"inner": "***"}'], "***": 1}
    clean = orjson.dumps({"text": "nothing"})
    assert mask_json(clean, forms) is clean


def test_a_stream_hides_a_secret_from_when_it_is_known_and_loses_nothing() -> None:
    masking = ChunkMask()
    text = [chunk.content for chunk in masking.feed(Chunk("text_chunk", "sk-can"))]
    masking.add(forms_of("sk-canary-1234"))
    for piece in ("sk-can", "", "ary-1234", " sk-", "ca"):
        text += [chunk.content for chunk in masking.feed(Chunk("text_chunk", piece))]
    end = masking.feed(Chunk("finish_reason_chunk", {"text": "sk-canary-1234"}, {"x": 1}))
    assert "".join(text) == "sk-can*** "
    assert [(chunk.type, chunk.content) for chunk in end] == [
        ("text_chunk", "sk-ca"), ("finish_reason_chunk", {"text": "***"}),
    ]  # fmt: skip
    assert masking.end() == []
    assert masking.has_masked
