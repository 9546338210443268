from __future__ import annotations

import time

import pytest

from innkeeper.nodes.services.llm.think_tags import ThinkSplitter

CASES = {
    "<think>\nLet me think.\n</think>\n\nHello world": ("Hello world", "Let me think.\n"),
    "Hello world": ("Hello world", ""),
    "a <b> <thin> <<think>b</think>c": ("a <b> <thin> <c", "b"),
    "<think></think>\n\nHi": ("Hi", ""),
    "<think>a</think> b <think>c</think>\nd": ("b d", "ac"),
    "<think>never ends </thin": ("", "never ends </thin"),
    "</think>a": ("</think>a", ""),
    "a<think": ("a<think", ""),
    "<think>a<think>b</think>c": ("c", "a<think>b"),
}


@pytest.mark.parametrize("whole", CASES)
def test_thoughts_are_told_from_text_wherever_a_tag_is_cut(whole: str) -> None:
    for pieces in ([whole], list(whole), *([whole[:at], whole[at:]] for at in range(len(whole)))):
        splitter = ThinkSplitter()
        parts = [part for piece in pieces for part in splitter.feed(piece)] + splitter.end()
        text = "".join(text for is_thought, text in parts if not is_thought)
        thought = "".join(text for is_thought, text in parts if is_thought)
        assert (text, thought) == CASES[whole], pieces
        assert all(text for _, text in parts)


def test_many_tags_in_one_piece_are_split_in_the_time_of_their_number() -> None:
    took: list[float] = []
    for count in (10_000, 80_000):
        began = time.thread_time()
        assert ThinkSplitter().feed("<think></think>" * count + "a") == [(False, "a")]
        took.append(time.thread_time() - began)
    assert took[1] < 25 * took[0]  # eight times as many; 64 times as long when each tag copies the rest
