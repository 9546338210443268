"""Reads the records of an SQLite file page by page, without its indexes: what one page holds does not depend on others.

Follows the file format (sqlite.org/fileformat2.html): each leaf of a table holds whole rows, and each page of an index,
or of a table without row ids, whole keys. Which table a page belongs to is not written on it: callers tell by the
shape of the records. Pages that SQLite has freed are left out, as far as the file still says which they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Value = int | float | str | bytes | None
HEADER = b"SQLite format 3\0"
HEADER_BYTES = 100
PAGE_BYTES = 4096
"""SQLite's own choice; taken where the header does not say anything possible."""
_INTERIOR_INDEX, _LEAF_INDEX, _LEAF_TABLE = 2, 10, 13
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_MAX_VALUES = 100


class Record(NamedTuple):
    """One row of a table (with its `rowid`), or one key of an index or of a table without row ids (`rowid` None)."""

    rowid: int | None
    values: tuple[Value, ...]


@dataclass
class PageReader:
    """The records of a whole file.

    Attributes:
        unreadable: Cells and pages that held something which is no record.
    """

    data: bytes | memoryview
    unreadable: int = 0

    def __post_init__(self) -> None:
        self.page_bytes, reserved = _sizes(self.data)
        self._usable = self.page_bytes - reserved
        self._pages = -(-len(self.data) // self.page_bytes)

    def records(self) -> Iterator[Record]:
        """All records that can be read, page by page."""
        left_out = self._free_pages() | self._map_pages()
        for number in range(1, self._pages + 1):
            if number not in left_out:
                yield from self._of_page(number)

    def _of_page(self, number: int) -> Iterator[Record]:
        page = self._page(number)
        start = HEADER_BYTES if number == 1 else 0
        if len(page) < start + 12 or page[start] not in (_INTERIOR_INDEX, _LEAF_INDEX, _LEAF_TABLE):
            self.unreadable += number > 1 and not any(page)
            return
        kind, count = page[start], int.from_bytes(page[start + 3 : start + 5], "big")
        first = start + (12 if kind == _INTERIOR_INDEX else 8)
        for place in range(first, min(first + 2 * count, len(page) - 1), 2):
            try:
                yield self._cell(page, int.from_bytes(page[place : place + 2], "big"), kind)
            except (ValueError, IndexError, struct.error):
                self.unreadable += 1

    def _cell(self, page: bytes, at: int, kind: int) -> Record:
        if at < 8:
            raise ValueError("a cell cannot stand in the page's header")
        rowid = None
        size, at = _varint(page, at + (4 if kind == _INTERIOR_INDEX else 0))
        if kind == _LEAF_TABLE:
            rowid, at = _varint(page, at)
        return Record(rowid, _values(self._payload(page, at, size, most=self._most_local(kind))))

    def _most_local(self, kind: int) -> int:
        return self._usable - 35 if kind == _LEAF_TABLE else (self._usable - 12) * 64 // 255 - 23

    def _payload(self, page: bytes, at: int, size: int, *, most: int) -> bytes:
        """A cell's content: what is on its page, then the chain of its overflow pages."""
        if size > len(self.data):
            raise ValueError("larger than the file")
        if size <= most:
            return _exactly(page[at : at + size], size)
        least = (self._usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (self._usable - 4)
        local = local if local <= most else least
        parts, left = [_exactly(page[at : at + local], local)], size - local
        following = int.from_bytes(_exactly(page[at + local : at + local + 4], 4), "big")
        while left:
            more = self._page(following)
            parts.append(_exactly(more[4 : 4 + min(left, self._usable - 4)], min(left, self._usable - 4)))
            left -= len(parts[-1])
            following = int.from_bytes(more[:4], "big")
        return b"".join(parts)

    def _page(self, number: int) -> bytes:
        if not 0 < number <= self._pages:
            raise ValueError("no such page")
        return bytes(self.data[(number - 1) * self.page_bytes : number * self.page_bytes])

    def _free_pages(self) -> set[int]:
        """Pages of deleted rows, as the chain of the header tells; of a broken chain those before the break."""
        found: set[int] = set()
        trunk = int.from_bytes(bytes(self.data[32:36]), "big") if self._has_header() else 0
        while 0 < trunk <= self._pages and trunk not in found:
            page = self._page(trunk)
            found.add(trunk)
            count = int.from_bytes(page[4:8], "big")
            leaves = page[8 : 8 + 4 * count] if count <= self.page_bytes // 4 else b""
            found.update(int.from_bytes(leaves[at : at + 4], "big") for at in range(0, len(leaves), 4))
            trunk = int.from_bytes(page[:4], "big")
        return found

    def _map_pages(self) -> set[int]:
        """Where a file that can shrink notes what each page is."""
        can_shrink = self._has_header() and any(self.data[52:56])
        return set(range(2, self._pages + 1, self._usable // 5 + 1)) if can_shrink else set()

    def _has_header(self) -> bool:
        return bytes(self.data[:16]) == HEADER


def _sizes(data: bytes | memoryview) -> tuple[int, int]:
    """Bytes of a page, and those of them that are reserved."""
    if bytes(data[:16]) != HEADER:
        return PAGE_BYTES, 0
    size, reserved = int.from_bytes(bytes(data[16:18]), "big"), data[20]
    size = 65536 if size == 1 else size
    is_possible = size >= 512 and size & (size - 1) == 0 and size - reserved >= 480
    return (size, reserved) if is_possible else (PAGE_BYTES, 0)


def _values(payload: bytes) -> tuple[Value, ...]:
    """The values of a record: its header names their types, then they follow one after the other."""
    length, at = _varint(payload, 0)
    if not 0 < length <= len(payload):
        raise ValueError("no record")
    types: list[int] = []
    while at < length:
        kind, at = _varint(payload, at)
        types.append(kind)
    if at != length or len(types) > _MAX_VALUES:
        raise ValueError("no record")
    values: list[Value] = []
    for kind in types:
        value, at = _value(payload, at, kind)
        values.append(value)
    if at != len(payload):
        raise ValueError("no record")
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind >= 12:
        size = (kind - 12) // 2
        found = _exactly(payload[at : at + size], size)
        return (found if kind % 2 == 0 else found.decode()), at + size
    if kind in _INTEGERS:
        size = _INTEGERS[kind]
        return int.from_bytes(_exactly(payload[at : at + size], size), "big", signed=True), at + size
    if kind == 7:
        return struct.unpack(">d", _exactly(payload[at : at + 8], 8))[0], at + 8
    if kind in (0, 8, 9):
        return {0: None, 8: 0, 9: 1}[kind], at
    raise ValueError("no such type")


def _varint(data: Sequence[int], at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends. The ninth byte counts whole."""
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | data[place] & 0x7F
        if data[place] < 0x80:
            return value, place + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >= 1 << 63 else value, at + 9


def _exactly(found: bytes, size: int) -> bytes:
    if len(found) != size:
        raise ValueError("cut short")
    return found
