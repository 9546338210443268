"""Example dialogue of cards and world info: text to blocks, blocks to named system messages (reference presets 5)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_START = "<START>"
_SPLIT = re.compile("<START>", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """What one speaker says. `name` is `example_user` or `example_assistant`."""

    name: str
    text: str


@dataclass(frozen=True)
class Speakers:
    """Who speaks in examples. `members` are the names of a group, whose lines keep their names.

    `nickname` is another name of the character, '' when there is none.
    """

    user: str
    char: str
    members: tuple[str, ...] = ()
    nickname: str = ""


def split_examples(text: str) -> tuple[str, ...]:
    """The blocks of a text whose macros are already replaced, each under a heading line `<START>`.

    Blank lines before the first `<START>`, like any other text there, are a block of their own.
    """
    text = text.replace("\r", "")
    if not text or text == _START:
        return ()
    if not text.startswith(_START):
        text = f"{_START}\n{text}"
    return tuple(f"{_START}\n{block.strip()}\n" for block in _SPLIT.split(text)[1:])


def read_block(block: str, speakers: Speakers) -> tuple[Line, ...]:
    """The lines of one block; none when nobody speaks in it.

    The first line is a heading. What stands before the first speaker belongs to the first line that is said; lines of
    one speaker in a row stay one message.
    """
    reader = _BlockReader(speakers)
    for line in block.replace("\r", "").split("\n")[1:]:
        reader.read_line(line)
    reader.close()
    return tuple(reader.lines)


class _BlockReader:
    def __init__(self, speakers: Speakers) -> None:
        self._speakers = speakers
        self._char = speakers.char
        self._is_user: bool | None = None
        self._pending: list[str] = []
        self.lines: list[Line] = []

    def read_line(self, line: str) -> None:
        if line.startswith(f"{self._speakers.user}:"):
            self._switch(to_user=True)
        elif name := self._character(line):
            self._switch(to_user=False)
            self._char = name
        self._pending.append(line)

    def _character(self, line: str) -> str:
        nicknames = (self._speakers.nickname,) if self._speakers.nickname else ()
        names = (self._speakers.char, *nicknames, *self._speakers.members)
        return next((name for name in names if line.startswith(f"{name}:")), "")

    def _switch(self, *, to_user: bool) -> None:
        if self._is_user is not None and self._is_user != to_user:
            self.close()
        self._is_user = to_user

    def close(self) -> None:
        if self._is_user is None:
            return
        name = self._speakers.user if self._is_user else self._char
        text = "\n".join(self._pending).replace(f"{name}:", "", 1).strip()
        if self._speakers.members:
            text = f"{name}: {text}"
        self.lines.append(Line("example_user" if self._is_user else "example_assistant", text))
        self._pending = []
