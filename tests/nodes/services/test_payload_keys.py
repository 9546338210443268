from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from innkeeper.nodes.services.key_ring import RECHECK_S
from innkeeper.nodes.services.payload_keys import (
    PAYLOAD_KEYS_FILE,
    PayloadKeys,
    PayloadKeysUnusable,
    add_payload_key,
    open_payload_keys,
)

SECRET = b"s" * 32


def made(folder: Path) -> PayloadKeys:
    keys = open_payload_keys(folder, SECRET, encrypts=True, may_create=True)
    assert keys is not None
    return keys


def test_what_is_encrypted_is_read_again_and_differs_each_time(tmp_path: Path) -> None:
    keys = made(tmp_path)
    (key_id, first), (_, second) = keys.encrypt(b"once upon"), keys.encrypt(b"once upon")
    assert first != second
    assert b"once" not in first
    assert keys.decrypt(key_id, first) == keys.decrypt(key_id, second) == b"once upon"


def test_file_is_made_once_by_who_may_and_for_this_user_only(tmp_path: Path) -> None:
    with pytest.raises(PayloadKeysUnusable, match="start that first"):
        open_payload_keys(tmp_path, SECRET, encrypts=True)
    made(tmp_path)
    file = tmp_path / PAYLOAD_KEYS_FILE
    content = file.read_bytes()
    made(tmp_path)
    assert file.read_bytes() == content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_encryption_no_file_is_made_and_one_from_before_still_decrypts(tmp_path: Path) -> None:
    assert open_payload_keys(tmp_path, SECRET, encrypts=False, may_create=True) is None
    assert list(tmp_path.iterdir()) == []
    key_id, data = made(tmp_path).encrypt(b"before")
    later = open_payload_keys(tmp_path, SECRET, encrypts=False)
    assert later is not None
    assert later.decrypt(key_id, data) == b"before"


def test_new_key_encrypts_in_processes_that_run_and_older_ones_decrypt(tmp_path: Path) -> None:
    made(tmp_path)
    now = [0.0]
    running = PayloadKeys(tmp_path / PAYLOAD_KEYS_FILE, SECRET, lambda: now[0])
    old_id, old = running.encrypt(b"old")
    assert add_payload_key(tmp_path / PAYLOAD_KEYS_FILE) == 2
    other_id, other = made(tmp_path).encrypt(b"of another process")
    assert other_id != old_id
    assert running.decrypt(other_id, other) == b"of another process"  # at once: an unknown key is looked for
    now[0] += RECHECK_S
    assert running.encrypt(b"new")[0] == other_id
    assert running.decrypt(old_id, old) == b"old"


def test_neither_the_file_nor_the_secret_alone_decrypts(tmp_path: Path) -> None:
    key_id, data = made(tmp_path).encrypt(b"x")
    with pytest.raises(PayloadKeysUnusable, match="another secret"):
        open_payload_keys(tmp_path, b"t" * 32, encrypts=True)
    (tmp_path / PAYLOAD_KEYS_FILE).unlink()
    with pytest.raises(PayloadKeysUnusable, match=f"key '{key_id}', which .* restore"):
        made(tmp_path).decrypt(key_id, data)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:5], lambda data: data[:-1] + b"\0"])
def test_changed_data_is_refused(tmp_path: Path, change: object) -> None:
    keys = made(tmp_path)
    key_id, data = keys.encrypt(b"some value")
    with pytest.raises(PayloadKeysUnusable, match="changed or cut off"):
        keys.decrypt(key_id, change(data))  # type: ignore[operator]


@pytest.mark.parametrize("content", ["", "[]", '{"keys": [], "secretCheck": "x"}', '{"keys": ["a"]}'])
def test_damaged_file_is_told_and_left_in_its_place(tmp_path: Path, content: str) -> None:
    (tmp_path / PAYLOAD_KEYS_FILE).write_text(content)
    with pytest.raises(PayloadKeysUnusable, match="restore"):
        open_payload_keys(tmp_path, SECRET, encrypts=True, may_create=True)
    assert (tmp_path / PAYLOAD_KEYS_FILE).read_text() == content


def test_signing_keys_and_payload_keys_of_one_text_differ(tmp_path: Path) -> None:
    """A text that is copied from one file into the other gives another key."""
    from innkeeper.nodes.services.signing_keys import SIGNING_FILE, SigningKeys, create_signing_keys

    create_signing_keys(tmp_path / SIGNING_FILE, SECRET, ())
    made(tmp_path)
    text = json.loads((tmp_path / PAYLOAD_KEYS_FILE).read_text())["keys"]
    raw = json.loads((tmp_path / SIGNING_FILE).read_text()) | {"keys": text}
    (tmp_path / SIGNING_FILE).write_text(json.dumps(raw))
    signing = SigningKeys(tmp_path / SIGNING_FILE, SECRET).current()
    assert signing[0] != made(tmp_path).current()[0]
    assert signing[1] != made(tmp_path).current()[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_only_its_owner_adds_a_key(tmp_path: Path) -> None:
    made(tmp_path)
    os.chown(tmp_path / PAYLOAD_KEYS_FILE, 65_534, 65_534)
    with pytest.raises(PayloadKeysUnusable, match="another user"):
        add_payload_key(tmp_path / PAYLOAD_KEYS_FILE)
