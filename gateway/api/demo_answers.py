"""What the demo models say: pure functions of the messages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

Messages = Sequence[tuple[str, str]]
"""Role and text of each message."""

_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_COMMON_TEXT = """
    about after again also among another asks assistant away because been before being between both come could
    describe does down each every few from give goes have hero here into just keep like live made make many more most
    much must never once only other over people place please prompt same sentence sentences short should since some
    still story such take tale tell than that their them then there these they thing this those through told under
    until upon user very want well were what when where which while will with word words work would write your
"""
_COMMON = frozenset(_COMMON_TEXT.split())
_PLACES = ("an inn at a crossroads", "a village below the hills", "a ferry house", "a town of many bells")
_WEATHER = ("rain", "first snow", "a warm wind", "thick fog")
_GUESTS = ("a clockmaker", "a girl with a fiddle", "an old cartographer", "a very polite fox")
_THINGS = ("a brass key", "a half-drawn map", "a kettle that hummed", "a letter without a seal")
_DEEDS = ("shared the last of the soup", "mended the broken lamp", "sang until the shutters shook", "told the truth")
_ENDS = (
    "By morning the road was dry, and nobody was in a hurry to leave.",
    "Long after, travellers still asked for that table by the window.",
    "The landlady wrote it all in the guest book and charged nothing.",
    "And the door, which had always stuck, has opened easily ever since.",
)

_TRAITS = ("older than the songs about it", "quiet before noon and wide awake after dark", "not easily impressed")
_HABITS = ("fond of long evenings", "known for one good tale and three bad ones", "always a little out of breath")
_SECRETS = ("harder to leave than to find", "keeping one secret very badly", "kinder than it seems from far away")
_RUMOURS = (
    "that the lamps there never quite go out",
    "that nobody has ever paid twice for the same mistake",
    "that the best part is told last, and only to those who wait",
)


def text_of(content: str | list[Any] | None) -> str:
    """The text of a message; of several parts the text ones."""
    if isinstance(content, list):
        return " ".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content or ""


def words_of(text: str) -> list[str]:
    return text.split()


def echo(messages: Messages) -> list[str]:
    """The words of the last user message, last word first."""
    return words_of(_last_of_user(messages))[::-1]


def tell_story(messages: Messages) -> list[str]:
    """A little story of 60 to 120 words that takes up words of the conversation."""
    pick = _Dice(messages)
    first, second, third = _themes(messages)
    story = (
        f"It began in {pick(_PLACES)}, on a night of {pick(_WEATHER)}, with a single word chalked over the door: "
        f"“{first}”. Nobody knew who had written it. Then {pick(_GUESTS)} came in, put {pick(_THINGS)} on the counter "
        f"and asked, quite seriously, what “{second}” might cost here. The whole room fell silent. "
        f"“That depends,” said the landlady, “on whether you have ever seen ‘{third}’ by lamplight.” "
        f"So they sat down together, {pick(_DEEDS)}, and found that the answer had been on the door all along. "
        f"{pick(_ENDS)}"
    )
    return words_of(story)


def describe(messages: Messages) -> list[str]:
    """Two sentences about the last user message, for whatever it names."""
    pick = _Dice(messages)
    subject = " ".join(words_of(_last_of_user(messages))[:16]).strip(" .!?") or "nobody in particular"
    first, second = pick(_TRAITS), pick(_HABITS)
    return words_of(f"Picture {subject}: {first}, {second}, and {pick(_SECRETS)}. Travellers say {pick(_RUMOURS)}.")


ANSWERS: dict[str, Callable[[Messages], list[str]]] = {
    "demo-storyteller": tell_story,
    "demo-describer": describe,
    "demo-echo": echo,
}


class _Dice:
    """Picks by a hash of the messages: the same messages, the same picks."""

    def __init__(self, messages: Messages) -> None:
        self._bytes = iter(hashlib.sha256(repr(list(messages)).encode("utf-8", "replace")).digest())

    def __call__(self, choices: Sequence[str]) -> str:
        return choices[next(self._bytes) % len(choices)]


def _last_of_user(messages: Messages) -> str:
    return next((text for role, text in reversed(messages) if role == "user"), "")


def _themes(messages: Messages) -> tuple[str, str, str]:
    """Three telling words, those of the last user message first."""
    texts = [_last_of_user(messages), *(text for _, text in messages)]
    found = dict.fromkeys(word for text in texts for word in _WORD.findall(text) if _tells(word))
    first, second, third, *_ = [*(word[:24] for word in found), "patience", "bread", "moonlight"]
    return first, second, third


def _tells(word: str) -> bool:
    return (len(word) > 3 or not word.isascii()) and word.lower() not in _COMMON
