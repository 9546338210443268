"""The beginning of a node's stream that its readers have already: the node says it once more, nobody sends it again.

Pure, but for what it remembers.
"""

from __future__ import annotations

from dataclasses import replace

from innkeeper.nodes.kept_stream import KeptStream
from innkeeper.nodes.node import Chunk


class AnotherStream(Exception):
    """The node gives something else than what its readers have."""


class KeptChunks:
    """Takes from the chunks of a node what an earlier attempt has sent, and checks that it is the same."""

    def __init__(self, kept: KeptStream) -> None:
        self._texts = {"text_chunk": kept.text, "reasoning_chunk": kept.reasoning}
        self._told = dict.fromkeys(self._texts, 0)
        self.is_whole = kept.finish is not None

    @property
    def is_passed(self) -> bool:
        """The node has said all of it."""
        return all(self._told[kind] == len(text) for kind, text in self._texts.items())

    def new_part(self, chunk: Chunk) -> Chunk | None:
        """What the readers do not have of a chunk; None: they have all of it.

        Raises:
            AnotherStream: See there. An `error_chunk` may come at any time.
        """
        if chunk.type == "error_chunk":
            return chunk
        if self.is_passed:
            return None if self.is_whole else chunk
        known = self._texts.get(chunk.type)
        if known is None or not isinstance(chunk.content, str):
            raise AnotherStream
        begin = self._told[chunk.type]
        end = min(begin + len(chunk.content), len(known))
        if chunk.content[: end - begin] != known[begin:end]:
            raise AnotherStream
        self._told[chunk.type] = end
        rest = chunk.content[end - begin :]
        if rest and self.is_whole:
            raise AnotherStream
        return replace(chunk, content=rest) if rest else None
