"""Splits what a model thinks from its text, where it writes both into one text between tags. Pure."""

from __future__ import annotations

from innkeeper.nodes.services.masking import begun_at_end

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkSplitter:
    """Takes a text in pieces; a tag may be cut anywhere. White space right behind a tag is left out."""

    def __init__(self) -> None:
        self._held = ""
        self._is_thinking = False
        self._trims = False

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """What is known by now: pairs of "is it thought" and a text that is not empty."""
        found: list[tuple[bool, str]] = []
        rest, start = self._held + text, 0
        # By its place in the text: a copy of the rest for each of a million tags would hold the event loop for minutes.
        while (at := rest.find(self._tag, start)) >= 0:
            self._add(found, rest[start:at])
            start = at + len(self._tag)
            self._is_thinking, self._trims = not self._is_thinking, True
        rest = rest[start:]
        held = begun_at_end(rest, self._tag)
        self._held = rest[len(rest) - held :]
        self._add(found, rest[: len(rest) - held])
        return found

    def end(self) -> list[tuple[bool, str]]:
        """What was held back: it was no tag."""
        found: list[tuple[bool, str]] = []
        rest, self._held = self._held, ""
        self._add(found, rest)
        return found

    @property
    def _tag(self) -> str:
        return _CLOSE if self._is_thinking else _OPEN

    def _add(self, found: list[tuple[bool, str]], text: str) -> None:
        if self._trims:
            text = text.lstrip()
        if text:
            self._trims = False
            found.append((self._is_thinking, text))
