"""A file of limits whose schema is damaged: the limits go on, or begin anew, and are kept from then on."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.gateway.usage.limit_state import Clocks, LimitState


def clocks() -> Clocks:
    return Clocks("boot", 1.0, 1.0)


def loaded(file: Path, then: dict[str, int]) -> dict[str, int] | None:
    """What a start finds; it keeps another state before it ends."""
    state = LimitState(file, clocks)
    found = state.load()
    state.save(then)
    state.close()
    return None if found is None else found[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"id = 1", b"id = 0"),
        (b"INTEGER PRIMARY", b"INTEGEZ PRIMARY"),
        (b"body BLOB", b"bodi BLOB"),
        (b"TABLE state", b"TABLE stats"),
        (b"tablestatestate", b"tablestatesuate"),
        (b"BLOB NOT", b"BLOB NOP"),
        (b"body BLOB", b"b\xefdy BLOB"),
        (b"format 3\0\x10\0\2\2", b"format 3\0\x10\0\3\2"),
    ],
)
def test_file_with_a_damaged_schema_is_put_aside_and_the_next_one_is_kept(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    file = tmp_path / "limits.db"
    assert loaded(file, {"spent": 1}) is None
    sound = file.read_bytes()
    assert old in sound
    file.write_bytes(sound.replace(old, new))
    assert loaded(file, {"spent": 2}) is None
    assert loaded(file, {"spent": 3}) == {"spent": 2}
    assert [aside.stat().st_size for aside in tmp_path.glob("limits.db.damaged-*")] == [len(sound)]
