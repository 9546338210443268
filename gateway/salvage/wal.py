"""How much of a write-ahead log counts: SQLite plays it up to the first page whose sum is wrong, and says nothing."""

from __future__ import annotations

import struct
from typing import NamedTuple

WAL_HEADER_BYTES, _FRAME = 32, 24
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
"""First number of the file to the order of bytes in its sums."""
_PAGES = frozenset(2**power for power in range(9, 17))
Sum = tuple[int, int]


class WalState(NamedTuple):
    """Frames (pages) that count, and frames that there are of the same generation."""

    sound: int
    frames: int

    @property
    def is_whole(self) -> bool:
        return self.sound == self.frames


BROKEN = WalState(0, 1)


def has_header(data: bytes) -> bool:
    """Does it begin as a write-ahead log does? Looks at the first 32 bytes."""
    return _order(data) is not None


def wal_state(data: bytes) -> WalState:
    """Look through a whole log. A file of 4 MB takes about a fifth of a second."""
    order = _order(data)
    if order is None:
        return BROKEN
    page = int.from_bytes(data[8:12], "big")
    salts, total = data[16:24], _sum(order, data[:24], (0, 0))
    sound, whole = 0, True
    frames = 0
    for at in range(WAL_HEADER_BYTES, len(data), _FRAME + page):
        head, body = data[at : at + _FRAME], data[at + _FRAME : at + _FRAME + page]
        if head[8:16] != salts:
            # Frames of an earlier generation may follow the last one, and none of this one follows those.
            return WalState(sound, frames + _is_younger(data, at, page, salts))
        frames += 1
        total = _sum(order, body, _sum(order, head[:8], total)) if len(body) == page else (-1, -1)
        whole = whole and total == struct.unpack(">II", head[16:24])
        sound += whole
    return WalState(sound, frames)


def _is_younger(data: bytes, at: int, page: int, salts: bytes) -> bool:
    """Does a frame of this generation stand behind one that seems to be of another?"""
    return any(data[place + 8 : place + 16] == salts for place in range(at, len(data), _FRAME + page))


def _order(data: bytes) -> str | None:
    """The order of bytes in the sums; None when the header does not hold together."""
    if len(data) < WAL_HEADER_BYTES:
        return None
    order = _MAGIC.get(int.from_bytes(data[:4], "big"))
    if order is None or int.from_bytes(data[8:12], "big") not in _PAGES:
        return None
    return order if _sum(order, data[:24], (0, 0)) == struct.unpack(">II", data[24:32]) else None


def _sum(order: str, data: bytes, total: Sum) -> Sum:
    first, second = total
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for place in range(0, len(words), 2):
        first = (first + words[place] + second) & 0xFFFFFFFF
        second = (second + words[place + 1] + first) & 0xFFFFFFFF
    return first, second
