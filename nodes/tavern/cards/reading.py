"""Files to cards: what kind of file it is, and the card inside as it was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from innkeeper.nodes.tavern.cards.card import normalise
from innkeeper.nodes.tavern.cards.charx import is_zip, read_charx
from innkeeper.nodes.tavern.cards.png import SIGNATURE, read_png
from innkeeper.nodes.tavern.cards.shapes import V1_KEYS, fields_of, with_name
from innkeeper.nodes.tavern.cards.text import CardText, card_texts, damaged
from innkeeper.nodes.tavern.documents import (
    CodedWarning,
    decode,
    kind_of,
    parse_json,
    refuse_lfs_pointer,
    warnings_json,
)
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.file_kinds import CARD, file_kind, parse_document, refuse_other_kind
from innkeeper.nodes.tavern.yaml_text import parse_yaml

Kind = Literal["png", "json", "yaml", "charx"]
_PICTURES = ("png", "apng", "jpg", "jpeg", "gif", "webp", "bmp")
_PICTURE_STARTS = (
    (b"\xff\xd8\xff", "a JPEG"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
)
_UTF8_BOM, _UTF16_BOMS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class CardFile:
    """A card as it stands in its file.

    Attributes:
        raw: The whole JSON object, unknown keys and all; `normalise` makes a `Card` of it.
        warnings: What had to be overlooked to read it.
        kind: The kind of file it came from.
    """

    raw: dict[str, Any]
    warnings: tuple[str, ...] = ()
    kind: Kind = "json"


def read_card(data: bytes, name: str = "") -> CardFile:
    """Read a card from a PNG, JSON, YAML or CHARX file. The content decides; `name` only tells YAML from JSON.

    Raises:
        FormatError: The file holds no card. Says what was found.
    """
    kind = kind_of_file(data, name)
    if kind == "png":
        return _read_png(data)
    if kind == "charx":
        return _from_text(read_charx(data), "charx")
    return _from_text(data, kind, _name_warnings(name))


def read_card_json(name: str, data: bytes = b"") -> dict[str, Any]:
    """`read_card` with JSON in and out, for a process of its own.

    Plain JSON files are taken at their word: UTF-8 without a byte order mark, and whatever value they hold unless it
    is a file of another kind. A card without a name is called like its file.

    Returns:
        `{"raw", "warnings", "kind"}`; warnings are `{"code", "message"}`.

    Raises:
        FormatError: The file holds no card. Says what was found.
    """
    raw: Any
    if (kind := kind_of_file(data, name)) == "json":
        raw, warnings = _plain_json(data)
        warnings = (*warnings, *_name_warnings(name))
    else:
        card = read_card(data, name)
        raw, warnings = card.raw, card.warnings
    refuse_other_kind(raw, CARD)
    raw, more = _named(raw, name)
    return {"raw": raw, "warnings": warnings_json([*warnings, *more], "odd_card"), "kind": kind}


def _named(raw: Any, file_name: str) -> tuple[Any, tuple[str, ...]]:
    """A card with a name, and what is odd about it. Any other value as it is: nobody knows what it is for."""
    if not isinstance(raw, dict):
        return raw, (CodedWarning("no_card", f"the file holds {kind_of(raw)}, not a card"),)
    if file_kind(raw) is not CARD and not any(key in fields_of(raw)[0] for key in V1_KEYS):
        return raw, (CodedWarning("no_card", "the file holds an object without any field of a card"),)
    card = normalise(raw, file_name)
    is_nameless = any(getattr(warning, "code", "") == "card_without_name" for warning in card.warnings)
    return with_name(raw, card.name) if is_nameless else raw, card.warnings


def kind_of_file(data: bytes, name: str = "") -> Kind:
    """What kind of card file it is. Raises FormatError when it can hold no card."""
    if not data:
        raise FormatError("the file is empty")
    if data.startswith(SIGNATURE):
        return "png"
    refuse_lfs_pointer(data)
    ending = name.lower().rpartition(".")[2]
    # A JPEG may have a CHARX behind it.
    if data.startswith(b"PK\3\4") or (_is_binary(data) and is_zip(data)):
        return "charx"
    if picture := _picture(data) if ending in _PICTURES or _is_binary(data) else "":
        raise FormatError(f"this is {picture}; character data lives only in PNG, JSON, YAML and CHARX files")
    if ending == "charx":
        raise FormatError("this is no CHARX file: it is not a ZIP archive")
    if ending in ("png", "apng") and not data.lstrip(_UTF8_BOM + b" \t\r\n").startswith(b"{"):
        raise FormatError("this is not a PNG: its first bytes are not the PNG signature")
    return "yaml" if ending in ("yaml", "yml") else "json"


def _picture(data: bytes) -> str:
    """What picture it is, with its article; '' when it is none that is known."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "a WebP"
    if data[4:8] == b"ftyp":
        return "an AVIF" if data[8:12] in (b"avif", b"avis") else "a HEIC picture or a video"
    return next((picture for start, picture in _PICTURE_STARTS if data.startswith(start)), "")


def _is_binary(data: bytes) -> bool:
    return b"\0" in data[:65_536] and not data.startswith(_UTF16_BOMS)


def _name_warnings(name: str) -> tuple[str, ...]:
    if name.lower().endswith((".png", ".apng")):
        return (CodedWarning("wrong_file_ending", "the file is called PNG but holds JSON"),)
    return ()


def _plain_json(data: bytes) -> tuple[Any, tuple[str, ...]]:
    # JSON files have no byte order mark (RFC 8259, 8.1); inside PNG and CHARX, where nobody sees it, it is left out.
    if data.startswith((_UTF8_BOM, *_UTF16_BOMS)):
        raise FormatError("the file begins with a byte order mark; save it as plain UTF-8 (without BOM)")
    decoded = decode(data)
    return parse_document(decoded.text, CARD), decoded.warnings


def _from_text(data: bytes, kind: Kind, warnings: Sequence[str] = ()) -> CardFile:
    decoded = decode(data)
    value = parse_yaml(decoded.text) if kind == "yaml" else parse_json(decoded.text)
    return CardFile(_an_object(value), (*warnings, *decoded.warnings), kind)


def _read_png(data: bytes) -> CardFile:
    png = read_png(data)
    failed: list[FormatError] = []
    for found in card_texts(png):
        if isinstance(found, FormatError):
            failed.append(found)
            continue
        try:
            raw = _card_of(found)
        except FormatError as error:
            failed.append(error)
            continue
        damage = [CodedWarning("damaged_file", damage) for damage in png.damage]
        return CardFile(raw, (*damage, *map(_unread_chunk, failed), *found.warnings), "png")
    raise failed[0]


def _unread_chunk(error: FormatError) -> str:
    return CodedWarning("broken_card_chunk", f"another card chunk could not be read: {error.message}")


def _card_of(found: CardText) -> dict[str, Any]:
    try:
        return _an_object(parse_json(found.text))
    except FormatError as error:
        raise damaged(found.damage, FormatError(f"the {found.keyword} chunk: {error.message}")) from None


def _an_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"expected an object, got {kind_of(value)}")
    return value
