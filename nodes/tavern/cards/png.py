"""PNG files as chunks, and the text chunks among them. Pixels are never decoded and nothing is copied."""

from __future__ import annotations

import binascii
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from innkeeper.nodes.tavern.documents import MAX_TEXT_BYTES
from innkeeper.nodes.tavern.environment import FormatError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 50_000
_MAX_KEYWORD = 79
_TYPE = re.compile(rb"[A-Za-z]{4}")


@dataclass(frozen=True)
class Chunk:
    """One chunk. `cut_off`: the file ends before it does, and `data` is what is there."""

    kind: str
    data: memoryview
    offset: int
    has_right_crc: bool = True
    cut_off: bool = False
    after_end: bool = False

    @property
    def damage(self) -> str:
        """What is wrong with it, or an empty text."""
        if self.cut_off:
            return f"the {self.kind} chunk at byte {self.offset} is longer than the rest of the file"
        return "" if self.has_right_crc else f"wrong CRC of the {self.kind} chunk at byte {self.offset}"


@dataclass(frozen=True)
class TextChunk:
    """A tEXt, zTXt or iTXt chunk with its keyword; `body` is still packed."""

    keyword: str
    chunk: Chunk
    body: memoryview
    is_compressed: bool = False

    def text(self) -> bytes:
        """The text's bytes.

        Raises:
            FormatError: It cannot be inflated, or has more than `MAX_TEXT_BYTES`.
        """
        return _inflate(self.body) if self.is_compressed else _bounded(self.body)


@dataclass(frozen=True)
class Png:
    """The chunks of a file in their order, those behind IEND too, and what is wrong with it as a whole."""

    chunks: tuple[Chunk, ...]
    damage: tuple[str, ...] = ()


def read_png(data: bytes) -> Png:
    """Take a file apart. Damage is told, not raised: a card is often intact where the image is not.

    Raises:
        FormatError: It has no PNG signature, nothing but the signature, or more than `MAX_CHUNKS` chunks.
    """
    if not data.startswith(SIGNATURE):
        raise FormatError("this is not a PNG: its first bytes are not the PNG signature")
    chunks = tuple(_chunks(memoryview(data)))
    if not chunks:
        raise FormatError("the file holds nothing but the PNG signature")
    damage = [chunk.damage for chunk in chunks if chunk.damage]
    if not any(chunk.kind == "IEND" for chunk in chunks):
        damage.append("the file has no end (no IEND chunk)")
    return Png(chunks, tuple(damage))


def _chunks(data: memoryview) -> Iterator[Chunk]:
    offset, ended = len(SIGNATURE), False
    for _ in range(MAX_CHUNKS):
        if len(data) - offset < 8 or not _TYPE.fullmatch(data[offset + 4 : offset + 8]):
            return
        chunk = _chunk(data, offset, ended)
        if ended and chunk.cut_off:
            # Behind the end anything may stand; only a whole chunk counts.
            return
        yield chunk
        ended = ended or chunk.kind == "IEND"
        offset += 12 + len(chunk.data)
    raise FormatError(f"the PNG has more than {MAX_CHUNKS} chunks")


def _chunk(data: memoryview, offset: int, after_end: bool) -> Chunk:
    (length,) = struct.unpack_from(">I", data, offset)
    kind = bytes(data[offset + 4 : offset + 8]).decode("ascii")
    end = offset + 8 + length
    body = data[offset + 8 : end]
    if end + 4 > len(data):
        return Chunk(kind, body, offset, cut_off=True, after_end=after_end)
    (crc,) = struct.unpack_from(">I", data, end)
    return Chunk(kind, body, offset, crc == zlib.crc32(data[offset + 4 : end]), after_end=after_end)


def write_png_file(chunks: Sequence[tuple[str, bytes | memoryview]]) -> bytes:
    """A PNG file of chunks given as kind and data; lengths and CRCs are made."""
    parts: list[bytes | memoryview] = [SIGNATURE]
    for kind, data in chunks:
        head = kind.encode("ascii")
        crc = zlib.crc32(data, zlib.crc32(head))
        parts += [struct.pack(">I", len(data)), head, data, struct.pack(">I", crc)]
    return b"".join(parts)


def keyword_of(chunk: Chunk) -> str | None:
    """The keyword of a text chunk; None when it has no NUL behind it, or is no text chunk."""
    if chunk.kind not in ("tEXt", "zTXt", "iTXt"):
        return None
    head = bytes(chunk.data[: _MAX_KEYWORD + 1])
    length = head.find(b"\0")
    return None if length < 0 else head[:length].decode("latin-1")


def text_chunk(chunk: Chunk) -> TextChunk | None:
    """The chunk as text; None when it is none.

    Raises:
        FormatError: It breaks off inside its head, or is packed in a way that PNG does not know.
    """
    keyword = keyword_of(chunk)
    if keyword is None:
        return None
    rest = chunk.data[len(keyword) + 1 :]
    if chunk.kind == "tEXt":
        return TextChunk(keyword, chunk, rest)
    if chunk.kind == "zTXt":
        _check_method(rest[:1], chunk)
        return TextChunk(keyword, chunk, rest[1:], is_compressed=True)
    return _international(keyword, chunk, rest)


def find_text(png: Png, keyword: str) -> TextChunk | None:
    """The first text chunk with this keyword; None when there is none.

    Raises:
        FormatError: As `text_chunk`.
    """
    found = next((chunk for chunk in png.chunks if (keyword_of(chunk) or "").lower() == keyword), None)
    return None if found is None else text_chunk(found)


def _international(keyword: str, chunk: Chunk, rest: memoryview) -> TextChunk:
    """iTXt: compression flag and method, language, NUL, translated keyword, NUL, text."""
    is_compressed = bytes(rest[:1]) == b"\1"
    if is_compressed:
        _check_method(rest[1:2], chunk)
    start = 2
    for _ in range(2):
        end = bytes(rest[start : start + 1024]).find(b"\0")
        if end < 0:
            raise FormatError(f"the iTXt chunk at byte {chunk.offset} breaks off inside its head")
        start += end + 1
    return TextChunk(keyword, chunk, rest[start:], is_compressed)


def _check_method(method: memoryview, chunk: Chunk) -> None:
    if bytes(method) != b"\0":
        raise FormatError(
            f"the {chunk.kind} chunk at byte {chunk.offset} is compressed in a way that PNG does not know"
        )


def _inflate(packed: memoryview) -> bytes:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(packed, MAX_TEXT_BYTES + 1)
    except zlib.error:
        raise FormatError("its compressed text cannot be inflated") from None
    if len(text) > MAX_TEXT_BYTES:
        raise FormatError(f"its text inflates to more than the limit of {MAX_TEXT_BYTES} bytes")
    if not inflater.eof:
        raise FormatError("its compressed text breaks off")
    return text


def _bounded(body: memoryview) -> bytes:
    if len(body) > MAX_TEXT_BYTES:
        raise FormatError(f"its text has {len(body)} bytes, over the limit of {MAX_TEXT_BYTES}")
    return bytes(body)


_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_FOREIGN = bytes(set(range(256)) - set(_ALPHABET) - set(b"-_"))
_EXPECTED = b" \t\r\n\f\v="


def decode_base64(text: bytes) -> tuple[bytes, int]:
    """Base64 as it is found: white space, no padding and the URL-safe alphabet are all right.

    Returns:
        The bytes, and how many characters were skipped because they are foreign to base64.
    """
    clean = text.translate(_TO_STANDARD, _FOREIGN)
    # One character left over holds six bits: no byte can be made of it.
    clean = clean[: len(clean) - 1] if len(clean) % 4 == 1 else clean
    foreign = len(text.translate(None, _EXPECTED)) - len(text.translate(None, _FOREIGN))
    return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4)), foreign
