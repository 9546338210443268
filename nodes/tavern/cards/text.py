"""From the text chunks of a PNG to the JSON text of its card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from innkeeper.nodes.tavern.cards.png import Chunk, Png, TextChunk, decode_base64, keyword_of, text_chunk
from innkeeper.nodes.tavern.documents import CodedWarning, decode
from innkeeper.nodes.tavern.environment import FormatError

KEYWORDS = ("ccv3", "chara")
BOOK_KEYWORD = "naidata"
_KINDS = ("tEXt", "zTXt", "iTXt")
_MAX_TRIED = 8
_NOT_FOUND = (
    "this PNG holds no character data (no 'chara' or 'ccv3' text chunk); it may have been saved again or converted "
    "by a website: take the original file"
)
_IS_BOOK = "this PNG holds a world book of Novel AI, not a character card: load it with core:WorldBookLoader"


@dataclass(frozen=True)
class CardText:
    """The JSON text of one chunk, not parsed yet."""

    text: str
    keyword: str
    warnings: tuple[str, ...] = ()
    damage: str = ""


def card_texts(png: Png) -> Iterator[CardText | FormatError]:
    """What the card chunks hold, the best first, or why one cannot be read.

    `ccv3` goes before `chara`, tEXt before zTXt and iTXt, an early chunk before a late one, all before what stands
    behind IEND.

    Raises:
        FormatError: There is no card chunk at all.
    """
    chunks = sorted((chunk for chunk in png.chunks if _card_keyword(chunk)), key=_rank)
    if not chunks:
        raise _nothing_found(png)
    for chunk in chunks[:_MAX_TRIED]:
        try:
            yield _card_text(chunk)
        except FormatError as error:
            yield error


def is_card_chunk(chunk: Chunk) -> bool:
    """Is it a chunk that a card is written to (tEXt with `chara` or `ccv3`)?"""
    return chunk.kind == "tEXt" and bool(_card_keyword(chunk))


def _card_keyword(chunk: Chunk) -> str | None:
    keyword = (keyword_of(chunk) or "").lower()
    return keyword if keyword in KEYWORDS else None


def _rank(chunk: Chunk) -> tuple[bool, int, int, int]:
    return chunk.after_end, KEYWORDS.index(_card_keyword(chunk) or ""), _KINDS.index(chunk.kind), chunk.offset


def _nothing_found(png: Png) -> FormatError:
    for chunk in png.chunks:
        head = bytes(chunk.data[:5]).lower()
        if chunk.kind in _KINDS and head.startswith((b"chara", b"ccv3")) and keyword_of(chunk) is None:
            return FormatError(f"the {chunk.kind} chunk at byte {chunk.offset} has no NUL between keyword and text")
        if keyword_of(chunk) == BOOK_KEYWORD:
            return FormatError(_IS_BOOK)
    if png.damage:
        return FormatError(f"the file is damaged ({png.damage[0]}) and what is left holds no character data")
    return FormatError(_NOT_FOUND)


def _card_text(chunk: Chunk) -> CardText:
    try:
        found = text_chunk(chunk)
        if found is None:  # only chunks with a keyword come here
            raise FormatError(_NOT_FOUND)
        return _unpacked(found)
    except FormatError as error:
        raise damaged(chunk.damage, error) from None


def damaged(damage: str, error: FormatError) -> FormatError:
    """The error of a chunk, as damage of the file when the chunk is damaged."""
    return FormatError(f"the file is damaged ({damage}): {error.message}") if damage else error


def _unpacked(found: TextChunk) -> CardText:
    keyword = found.keyword.lower()
    warnings: list[str] = []
    if found.chunk.kind != "tEXt":
        place = f"the card was found in a {found.chunk.kind} chunk, where many programs do not look"
        warnings.append(CodedWarning("unusual_chunk", place))
    if found.chunk.after_end:
        warnings.append(CodedWarning("unusual_chunk", "the card was found behind the end of the image (IEND)"))
    packed = found.text()
    start = packed.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start == b"{":
        warnings.append(CodedWarning("not_base64", f"the {keyword} chunk holds plain JSON instead of base64"))
        return _decoded(packed, found, warnings)
    if b"\0" in packed:
        raise FormatError(f"the text of the {keyword} chunk holds a NUL at byte {packed.index(0)}")
    data, foreign = decode_base64(packed)
    text = decode(data).text
    if not text.lstrip().startswith("{") and (foreign or "\ufffd" in text):
        raise FormatError(f"the text of the {keyword} chunk is not the base64 of a JSON object")
    if foreign:
        skipped = f"{foreign} characters of the {keyword} chunk are foreign to base64 and were skipped"
        warnings.append(CodedWarning("not_base64", skipped))
    return _decoded(data, found, warnings)


def _decoded(data: bytes, found: TextChunk, warnings: Sequence[str]) -> CardText:
    decoded = decode(data)
    return CardText(decoded.text, found.keyword.lower(), (*warnings, *decoded.warnings), found.chunk.damage)
