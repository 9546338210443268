from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.nodes.services.key_ring import RECHECK_S
from innkeeper.nodes.services.signing_keys import (
    SIGNING_FILE,
    SigningKeys,
    SigningKeysUnusable,
    add_signing_key,
    create_signing_keys,
    heal_signing_keys,
)

SECRET = b"s" * 32


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / SIGNING_FILE


def test_the_file_is_made_once_and_for_this_user_only(path: Path) -> None:
    create_signing_keys(path, SECRET, ["r-1"])
    content = path.read_bytes()
    create_signing_keys(path, SECRET, ["r-2"])
    assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in path.parent.iterdir()] == [SIGNING_FILE]


def test_neither_the_file_nor_the_secret_alone_gives_a_key(path: Path) -> None:
    create_signing_keys(path, SECRET, ())
    key_id, key = SigningKeys(path, SECRET).current()
    assert SigningKeys(path, SECRET).find(key_id) == key
    # With another secret the key is unknown, not wrong: nothing that is signed is called a forgery.
    assert SigningKeys(path, b"t" * 32).find(key_id) is None
    path.unlink()
    create_signing_keys(path, SECRET, ())
    assert SigningKeys(path, SECRET).find(key_id) is None


def test_a_new_key_soon_signs_in_processes_that_run_and_the_old_one_stays(path: Path) -> None:
    create_signing_keys(path, SECRET, ["r-1"])
    clock = Clock()
    running = SigningKeys(path, SECRET, clock)
    old_id, old = running.current()
    assert add_signing_key(path) == 2
    clock.now += RECHECK_S
    new_id, _ = running.current()
    assert new_id != old_id
    assert running.find(old_id) == old
    assert running.is_exempt("r-1", time.time())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_another_process_has_signed_with_a_new_key_is_known_at_once(path: Path) -> None:
    create_signing_keys(path, SECRET, ())
    running = SigningKeys(path, SECRET, Clock())
    running.current()
    add_signing_key(path)
    assert running.find(SigningKeys(path, SECRET).current()[0]) is not None


def test_a_run_that_a_new_file_exempts_is_exempt_at_once(path: Path) -> None:
    create_signing_keys(path, SECRET, ())
    running = SigningKeys(path, SECRET, Clock())
    running.current()
    path.unlink()
    create_signing_keys(path, SECRET, ["r-1"])
    assert running.is_exempt("r-1", time.time())


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("spoilt")])
def test_a_file_that_is_lost_meanwhile_is_remembered_and_a_new_one_is_read(
    path: Path, spoil: Callable[[Path], object]
) -> None:
    create_signing_keys(path, SECRET, ())
    clock = Clock()
    keys = SigningKeys(path, SECRET, clock)
    known = keys.current()
    spoil(path)
    clock.now += RECHECK_S
    assert keys.current() == known
    path.unlink(missing_ok=True)
    create_signing_keys(path, SECRET, ())
    clock.now += RECHECK_S
    assert keys.current() != known


def test_a_missing_file_is_told_and_found_when_it_comes(path: Path) -> None:
    keys = SigningKeys(path, SECRET)
    with pytest.raises(SigningKeysUnusable, match="the gateway makes it"):
        keys.find("any")
    with pytest.raises(SigningKeysUnusable, match="innkeeper up"):
        add_signing_key(path)
    create_signing_keys(path, SECRET, ())
    assert keys.current()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_only_its_owner_adds_a_key(path: Path) -> None:
    create_signing_keys(path, SECRET, ())
    os.chown(path, 65_534, 65_534)
    with pytest.raises(SigningKeysUnusable, match="another user"):
        add_signing_key(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keys": [], "unsignedRuns": [], "madeAt": 0}', '{"keys": 1}'])
def test_a_damaged_file_is_told_and_never_taken_for_a_fresh_one(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(SigningKeysUnusable, match="damaged"):
        SigningKeys(path, SECRET).current()
    create_signing_keys(path, SECRET, ())
    assert path.read_text() == content


def test_an_open_run_is_exempt_only_for_what_began_before(path: Path) -> None:
    create_signing_keys(path, SECRET, ["r-1"])
    made_at = json.loads(path.read_bytes())["madeAt"]
    keys = SigningKeys(path, SECRET)
    assert keys.is_exempt("r-1", made_at - 1_000)
    assert not keys.is_exempt("r-1", made_at + 61)
    assert not keys.is_exempt("r-2", made_at - 1_000)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff\x00", b'{"keys": [], "unsignedRuns": [], "madeAt": 0}'])
def test_a_damaged_file_is_put_aside_and_told(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    heal_signing_keys(path, SECRET)
    [aside] = path.parent.glob(f"{path.name}.damaged-*")
    assert (path.exists(), aside.read_bytes()) == (False, damage)
    assert "was damaged" in (path.parent / "damage.log").read_text()


def test_a_file_of_another_secret_key_is_put_aside(path: Path) -> None:
    """Nobody could check what it has signed: open runs would wait for ever."""
    create_signing_keys(path, SECRET, ())
    before = path.read_bytes()
    heal_signing_keys(path, SECRET)
    add_signing_key(path)
    heal_signing_keys(path, SECRET)
    assert path.exists()
    assert path.read_bytes() != before
    heal_signing_keys(path, b"another" * 8)
    assert not path.exists()
    heal_signing_keys(path, SECRET)  # nothing there is no damage
