"""What a node says once more, against what its readers have."""

from __future__ import annotations

import pytest

from innkeeper.activities.execution.kept_chunks import AnotherStream, KeptChunks
from innkeeper.nodes.kept_stream import KeptStream
from innkeeper.nodes.node import Chunk


def new(kept: KeptStream, *chunks: Chunk) -> list[str]:
    taker = KeptChunks(kept)
    found = [part.content for chunk in chunks if (part := taker.new_part(chunk)) is not None]
    assert taker.is_passed
    return found


def text(content: str) -> Chunk:
    return Chunk("text_chunk", content)


@pytest.mark.parametrize(
    ("said", "is_new"),
    [
        (["Once", " more"], [" more"]),
        (["On", "ce more"], [" more"]),
        (["O", "", "n", "c", "e", " ", "more"], [" ", "more"]),
        (["Once more"], [" more"]),
        (["Once"], []),
    ],
)
def test_what_readers_have_is_left_out_however_it_is_cut(said: list[str], is_new: list[str]) -> None:
    assert new(KeptStream(text="Once"), *map(text, said)) == is_new


def test_text_and_reasoning_are_told_apart_in_any_order() -> None:
    kept, hm = KeptStream(text="Once", reasoning="Hm"), Chunk("reasoning_chunk", "Hm")
    for first, second in ((hm, text("Once")), (text("Once"), hm)):
        assert new(kept, first, second, Chunk("usage_chunk", {}), text("!")) == [{}, "!"]


def test_nothing_follows_an_answer_that_was_whole() -> None:
    assert new(KeptStream(text="Once", finish="stop"), text("Once"), Chunk("finish_reason_chunk", "stop")) == []


@pytest.mark.parametrize(
    "chunk",
    [text("Twice"), text("On the"), Chunk("custom", "Once"), Chunk("usage_chunk", {}), Chunk("text_chunk", None)],
)
def test_another_text_is_noticed(chunk: Chunk) -> None:
    with pytest.raises(AnotherStream):
        KeptChunks(KeptStream(text="Once")).new_part(chunk)


def test_more_text_behind_an_answer_that_was_whole_is_another_text() -> None:
    with pytest.raises(AnotherStream):
        KeptChunks(KeptStream(text="Once", finish="stop")).new_part(text("Once more"))


def test_an_error_may_come_before_the_text() -> None:
    error = Chunk("error_chunk", "no")
    assert KeptChunks(KeptStream(text="Once")).new_part(error) is error
