"""CHARX: a ZIP with `card.json` at its root, sometimes behind a picture or a program that unpacks it."""

from __future__ import annotations

import io
import posixpath
import struct
import zipfile
import zlib

from innkeeper.nodes.tavern.documents import MAX_TEXT_BYTES
from innkeeper.nodes.tavern.environment import FormatError

CARD = "card.json"
MAX_FILES = 10_000
_END = b"PK\5\6"
_END_SIZE = 22
_END64 = b"PK\6\7"
_MAX_COMMENT = 65_535
_MAX_DIRECTORY_BYTES = 4 * 1024 * 1024
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What the zip module raises for archives that are made up.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, struct.error, IndexError)


def is_zip(data: bytes) -> bool:
    """Does it end like a ZIP? What stands in front does not matter."""
    return data.find(_END, max(0, len(data) - _END_SIZE - _MAX_COMMENT)) >= 0


def read_charx(data: bytes) -> bytes:
    """The bytes of `card.json`. Nothing else is unpacked, and nothing is written.

    Raises:
        FormatError: A broken archive, no `card.json`, names that lead out of the archive, or too much of anything.
    """
    _check_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_names(infos)
            return _read_card_text(archive, infos)
    except (*_BROKEN, RuntimeError):
        raise FormatError("the CHARX archive is damaged or packed in a way that cannot be read") from None


def _check_directory(data: bytes) -> None:
    """Refuse a huge table of contents before it is read: it takes a hundred times its size in memory."""
    place = data.rfind(_END, max(0, len(data) - _END_SIZE - _MAX_COMMENT))
    if place < 0 or len(data) - place < _END_SIZE:
        raise FormatError("the CHARX archive is damaged: it has no table of contents")
    count, size = struct.unpack_from("<HI", data, place + 10)
    if count > MAX_FILES or size > _MAX_DIRECTORY_BYTES or data[max(0, place - 20) : place].startswith(_END64):
        raise FormatError(f"the CHARX archive has too many files; the limit is {MAX_FILES}")


def _check_names(infos: list[zipfile.ZipInfo]) -> None:
    for info in infos:
        name = info.filename.replace("\\", "/")
        if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
            raise FormatError("the CHARX archive holds a file whose name leads out of it")


def _read_card_text(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> bytes:
    info = next((info for info in infos if posixpath.normpath(info.filename) == CARD), None)
    if info is None:
        raise FormatError(f"the archive holds no {CARD!r} at its root; it is no CHARX")
    if info.flag_bits & 1 or info.compress_type not in _PACKED:
        raise FormatError(f"{CARD!r} is encrypted or packed in a way that CHARX does not know")
    if info.file_size > MAX_TEXT_BYTES:
        raise FormatError(f"{CARD!r} has more than the limit of {MAX_TEXT_BYTES} bytes")
    with archive.open(info) as stream:
        # The size in the table of contents may be a lie.
        text = stream.read(MAX_TEXT_BYTES + 1)
    if len(text) > MAX_TEXT_BYTES:
        raise FormatError(f"{CARD!r} has more than the limit of {MAX_TEXT_BYTES} bytes")
    return text
