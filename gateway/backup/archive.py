"""The file format of a backup: a gzipped tar file that any `tar` reads, and that says itself whether it is whole.

The first member describes the backup (`innkeeper-backup.json`), the last one is `SHA256SUMS`: a line for each file
before it, in the same order, as `sha256sum -c` reads them. Both sides need the memory of one piece, however many files
there are.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from innkeeper.gateway.backup.errors import BackupUnusable

SUMS = "SHA256SUMS"
PIECE = 1024 * 1024
BLOCK = tarfile.BLOCKSIZE
MAX_EXTENDED_BYTES = 64 * 1024
"""Of a header for long names: it is held in memory."""
_ENCODING = ("utf-8", "surrogateescape")
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive. `mtime` is in seconds since 1970."""

    name: str
    size: int
    mtime: int
    is_folder: bool = False


class ArchiveWriter:
    """Writes an archive, member by member.

    Args:
        file: Gets the archive.
        sums: An empty file for the sums, which are written last.
    """

    def __init__(self, file: IO[bytes], sums: IO[bytes]) -> None:
        self._gzip = gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0)
        self._sums = sums

    def add_folder(self, name: str, mtime: int) -> None:
        self._gzip.write(_header_of(Member(name, 0, mtime, is_folder=True)))

    def add(self, member: Member, content: IO[bytes]) -> Iterator[int]:
        """Write a file as it is read; gives the size of each piece. One that ends before its size is filled with
        zeros."""
        digest = hashlib.sha256()
        for piece in self._put(member, content):
            digest.update(piece)
            yield len(piece)
        self._sums.write(_sum_line(digest.hexdigest(), member.name))

    def close(self) -> None:
        """Write what comes last. An archive without it is refused."""
        size = self._sums.tell()
        self._sums.seek(0)
        for _ in self._put(Member(SUMS, size, 0), self._sums):
            pass
        self._gzip.write(bytes(2 * BLOCK))
        self._gzip.close()

    def _put(self, member: Member, content: IO[bytes]) -> Iterator[bytes]:
        self._gzip.write(_header_of(member))
        left = member.size
        while left:
            piece = content.read(min(PIECE, left)) or bytes(min(PIECE, left))
            self._gzip.write(piece)
            left -= len(piece)
            yield piece
        self._gzip.write(bytes(-member.size % BLOCK))


class ArchiveReader:
    """Reads an archive from its beginning to its end, and raises BackupUnusable as soon as something is wrong with it.

    What was read counts only when `members` has ended.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._gzip = gzip.GzipFile(fileobj=file)
        self._sums = hashlib.sha256()

    def members(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Each member with its content in pieces; what was not read of it is read before the next one.

        Raises:
            BackupUnusable: Damaged, cut short, or no archive of `ArchiveWriter`.
        """
        while (member := self._next()) is not None:
            if member.name == SUMS:
                self._check_sums(member)
                self._check_end()
                return
            content = self._content(member)
            yield member, content
            for _ in content:
                pass
        raise BackupUnusable(f"the backup is damaged: it ends without {SUMS}")

    def _next(self) -> Member | None:
        extended: dict[str, str] = {}
        while True:
            block = self._exactly(BLOCK)
            if block == bytes(BLOCK):
                return None
            info = _parsed(block)
            if info.type != tarfile.XHDTYPE:
                return _member_of(info, extended)
            if extended or info.size > MAX_EXTENDED_BYTES:
                raise BackupUnusable("the file is no backup of Innkeeper: a header is too long")
            extended = _extended(self._exactly(info.size + -info.size % BLOCK)[: info.size])

    def _content(self, member: Member) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for piece in self._pieces(member.size):
            digest.update(piece)
            yield piece
        if not member.is_folder:
            self._sums.update(_sum_line(digest.hexdigest(), member.name))

    def _pieces(self, size: int) -> Iterator[bytes]:
        for at in range(0, size, PIECE):
            yield self._exactly(min(PIECE, size - at))
        self._exactly(-size % BLOCK)

    def _check_sums(self, member: Member) -> None:
        digest = hashlib.sha256()
        for piece in self._pieces(member.size):
            digest.update(piece)
        if digest.digest() != self._sums.digest():
            raise BackupUnusable(f"the backup is damaged: its files are not those of its {SUMS}")

    def _check_end(self) -> None:
        # Reading up to the end has the sum of the whole stream compared, too.
        if self._exactly(2 * BLOCK) != bytes(2 * BLOCK) or self._read(1):
            raise BackupUnusable("the backup is damaged: something follows its end")

    def _exactly(self, size: int) -> bytes:
        pieces = []
        while size:
            piece = self._read(size)
            if not piece:
                raise BackupUnusable("the backup is damaged: it is cut short")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _read(self, size: int) -> bytes:
        try:
            return self._gzip.read(size)
        except gzip.BadGzipFile as error:
            raise BackupUnusable(f"the file is no backup of Innkeeper, or is damaged ({error})") from error
        except (EOFError, zlib.error) as error:
            raise BackupUnusable(f"the backup is damaged or cut short ({error})") from error


def _header_of(member: Member) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.type = tarfile.DIRTYPE if member.is_folder else tarfile.REGTYPE
    info.mode = 0o700 if member.is_folder else 0o600
    info.size, info.mtime = member.size, member.mtime
    return info.tobuf(tarfile.PAX_FORMAT, *_ENCODING)


def _parsed(block: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, *_ENCODING)
    except (tarfile.TarError, ValueError) as error:
        raise BackupUnusable(f"the backup is damaged: a header cannot be read ({error})") from error


def _member_of(info: tarfile.TarInfo, extended: dict[str, str]) -> Member:
    """Raises BackupUnusable for what is neither file nor folder: links and devices lead out of the directory."""
    is_folder = info.type == tarfile.DIRTYPE
    name = extended.get("path", info.name)
    name = name.removesuffix("/") if is_folder else name
    if not is_folder and info.type not in _FILES:
        raise BackupUnusable(f"the backup is refused: {name!r} is neither a file nor a folder")
    try:
        size = int(extended.get("size", info.size))
    except ValueError:
        size = -1
    if size < 0 or (is_folder and size):
        raise BackupUnusable(f"the backup is refused: the size of {name!r} is none")
    return Member(name, size, max(0, int(info.mtime)), is_folder)


def _extended(data: bytes) -> dict[str, str]:
    """The records of an extended header, `<length> <key>=<value>\\n` each."""
    found = {}
    while data:
        digits, _, _ = data[:20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, is_record, value = data[len(digits) + 1 : length - 1].partition(b"=")
        if not is_record or length > len(data) or data[length - 1 : length] != b"\n":
            raise BackupUnusable("the backup is damaged: an extended header cannot be read")
        found[key.decode(*_ENCODING)] = value.decode(*_ENCODING)
        data = data[length:]
    return found


def _sum_line(digest: str, name: str) -> bytes:
    """As `sha256sum` writes it: a backslash in front says that the name has some, too."""
    raw = os.fsencode(name)
    escaped = raw.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != raw else b"") + digest.encode() + b"  " + escaped + b"\n"
