"""Channels and models that users make: what is stored, what is refused, and whose key goes where."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.errors import NotEditable, NotFound
from innkeeper.gateway.storage import channel_store
from innkeeper.gateway.storage.channel_store import (
    ChannelStore,
    ChannelsUnusable,
    EntryChanged,
    IdTaken,
    InvalidChannel,
    TooManyChannels,
    etag_of,
)
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.channel_book import key_of
from innkeeper.nodes.services.secrets import SecretStore

KEY = "sk-canary-1234567890abcdef"
URL = "https://a.example/v1"


@pytest.fixture
def secrets(tmp_path: Path) -> SecretStore:
    return SecretStore(tmp_path / "secrets", b"k" * 32)


@pytest.fixture
def store(tmp_path: Path, secrets: SecretStore) -> ChannelStore:
    return ChannelStore(tmp_path, secrets)


def with_yaml(folder: Path) -> None:
    (folder / "channels.yaml").write_text(
        f"channels: [{{id: main, baseUrl: '{URL}'}}]\nmodels: [{{modelId: m}}]\nmodelGroups: [{{id: any, models: [m]}}]"
    )


def test_a_channel_is_stored_with_its_key_encrypted_for_its_host(
    tmp_path: Path, store: ChannelStore, secrets: SecretStore
) -> None:
    made = store.add_channel(
        "ann", {"label": "Mine", "baseUrl": URL, "apiKey": f" {KEY}\n", "userId": "bob", "x": None}
    )
    assert (made.owner, made.label, made.host) == ("ann", "Mine", "a.example:443")
    assert store.config("ann").channels == (made,)
    assert store.config("bob").channels == ()
    file = tmp_path / "channels.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert KEY not in file.read_text()
    assert made.api_key is not None
    record = secrets.load(made.api_key)
    assert (record.value, record.owner, record.hosts) == (KEY, "ann", ("a.example:443",))
    assert key_of(made, secrets, {}) == KEY


def test_what_is_not_said_stays_and_null_takes_away(store: ChannelStore, secrets: SecretStore) -> None:
    made = store.add_channel(
        "ann",
        {
            "id": "mine",
            "baseUrl": URL,
            "apiKey": KEY,
            "providerId": "openai",
            "customHeaders": {"X-A": "1", "X-B": "2"},
            "perModel": {"m": {"headers": {"X-C": "3"}, "thinkTags": True}},
            "limits": {"concurrent": 2},
        },
    )
    for kept in ({}, {"apiKey": ""}, {"apiKey": "***"}):
        assert store.change_channel("ann", "mine", kept) == made
    change = {
        "label": "New",
        "customHeaders": {"X-A": "***", "X-D": "4"},
        "perModel": {"m": {"headers": {"X-C": "***"}}, "n": {"prefix": "trailing"}},
        "limits": None,
    }
    changed = store.change_channel("ann", "mine", change)
    assert (changed.label, changed.headers, changed.limits) == ("New", {"X-A": "1", "X-D": "4"}, None)
    assert changed.per_model["m"].headers == {"X-C": "3"}
    assert (changed.per_model["m"].think_tags, changed.per_model["n"].prefix) == (None, "trailing")
    assert (changed.api_key, changed.created_at) == (made.api_key, made.created_at)
    assert store.change_channel("ann", "mine", {"apiKey": None}).api_key is None


def test_a_key_does_not_follow_its_channel_to_another_host(store: ChannelStore, secrets: SecretStore) -> None:
    made = store.add_channel("ann", {"id": "mine", "baseUrl": URL, "apiKey": KEY})
    for url in ("https://evil.example/v1", "https://a.example:8443/v1", "http://a.example/v1"):
        with pytest.raises(InvalidChannel, match=r"apiKey is for a\.example:443: send it again, or null"):
            store.change_channel("ann", "mine", {"baseUrl": url})
    assert store.change_channel("ann", "mine", {"baseUrl": f"{URL}/beta"}).api_key == made.api_key
    moved = store.change_channel("ann", "mine", {"baseUrl": "https://b.example/v1", "apiKey": "sk-b"})
    assert key_of(moved, secrets, {}) == "sk-b"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "baseUrl is missing"),
        ({"baseUrl": "ftp://x"}, "baseUrl must be an http or https URL"),
        ({"baseUrl": URL, "apiKey": "env:OPENAI_API_KEY"}, "variables of the environment are for channels.yaml alone"),
        ({"baseUrl": URL, "apiKey": {"$secret": "a" * 64}}, "apiKey must be a text"),
        ({"baseUrl": URL, "apiKey": f"{KEY} two"}, "apiKey is no key"),
        ({"baseUrl": URL, "apiKey": "schlüssel"}, "apiKey is no key"),
        ({"baseUrl": URL, "apiKey": "x" * 1_001}, "apiKey is no key"),
        ({"baseUrl": URL, "customHeaders": {"Authorization": KEY}}, "headers must not hold 'Authorization'"),
        ({"baseUrl": URL, "customHeaders": KEY}, "headers must be a mapping"),
        ({"baseUrl": URL, "perModel": KEY}, "perModel must be a mapping"),
        ({"baseUrl": URL, "perModel": {"m": {"query": {"key": KEY}}}}, "perModel.m.query must not hold 'key'"),
        ({"baseUrl": URL, "limits": {"concurrent": -1}}, "limits.concurrent must be more than 0"),
        ({"baseUrl": URL, "label": "\ud800"}, "half a character"),
        ({"baseUrl": URL, "id": "../x"}, "id must be letters"),
        ({"baseUrl": URL, "id": 5}, "id must be letters"),
    ],
)
def test_what_is_no_channel_is_refused_without_its_values(
    store: ChannelStore, tmp_path: Path, given: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidChannel) as caught:
        store.add_channel("ann", given)
    assert problem in caught.value.message
    assert KEY not in json.dumps([caught.value.message, caught.value.details])
    assert not (tmp_path / "channels.json").exists()


def test_ids_are_taken_once_whoever_has_them(tmp_path: Path, store: ChannelStore) -> None:
    with_yaml(tmp_path)
    store.add_channel("ann", {"id": "mine", "baseUrl": URL})
    for name in ("main", "mine"):
        with pytest.raises(IdTaken):
            store.add_channel("bob", {"id": name, "baseUrl": URL})
    first, second = (store.add_channel("ann", {"baseUrl": URL}).id for _ in range(2))
    assert first != second
    for name in ("m", "any"):
        with pytest.raises(IdTaken):
            store.add_model("ann", {"modelId": name})
    store.add_model("ann", {"modelId": "x"})
    store.add_model("bob", {"modelId": "x"})
    with pytest.raises(IdTaken):
        store.add_model("ann", {"modelId": "x"})


def test_the_operators_are_not_changed_here_and_others_do_not_exist(tmp_path: Path, store: ChannelStore) -> None:
    with_yaml(tmp_path)
    store.add_channel("ann", {"id": "anns", "baseUrl": URL})
    store.add_model("ann", {"modelId": "annmodel"})
    for name, error in (("main", NotEditable), ("anns", NotFound), ("none", NotFound)):
        with pytest.raises(error):
            store.change_channel("bob", name, {})
        with pytest.raises(error):
            store.remove_channel("bob", name)
    for name, error in (("m", NotEditable), ("annmodel", NotFound), ("none", NotFound)):
        with pytest.raises(error):
            store.change_model("bob", name, {})
        with pytest.raises(error):
            store.remove_model("bob", name)
    before = (tmp_path / "channels.yaml").read_bytes()
    store.remove_channel("ann", "anns")
    store.remove_model("ann", "annmodel")
    assert (tmp_path / "channels.yaml").read_bytes() == before
    assert [channel.id for channel in store.config("ann").channels] == ["main"]


def test_models_are_changed_and_name_channels_that_exist(store: ChannelStore) -> None:
    store.add_channel("ann", {"id": "mine", "baseUrl": URL})
    with pytest.raises(InvalidChannel, match="defaultChannelRef names no channel; channels are mine"):
        store.add_model("ann", {"modelId": "x", "defaultChannelRef": "other"})
    with pytest.raises(InvalidChannel, match="modelId must be a text"):
        store.add_model("ann", {})
    with pytest.raises(InvalidChannel, match="must not begin with 'channel:'"):
        store.add_model("ann", {"modelId": "channel:mine/x"})
    store.add_model("ann", {"modelId": "org/x", "defaultChannelRef": "mine", "capabilities": ["Vision"], "icon": "x"})
    changed = store.change_model("ann", "org/x", {"capabilities": None, "displayName": "X", "modelId": "ignored"})
    assert (changed.model_id, changed.display_name, changed.capabilities) == ("org/x", "X", None)
    assert changed.default_channel_ref == "mine"
    store.remove_channel("ann", "mine")
    assert store.change_model("ann", "org/x", {"defaultChannelRef": None}).default_channel_ref == ""


def test_a_change_of_what_somebody_changed_meanwhile_is_refused(store: ChannelStore) -> None:
    made = store.add_channel("ann", {"id": "mine", "baseUrl": URL})
    changed = store.change_channel("ann", "mine", {"label": "A"}, etag_of(made))
    for tag in (etag_of(made), "", '"x"'):
        with pytest.raises(EntryChanged):
            store.change_channel("ann", "mine", {"label": "B"}, tag)
        with pytest.raises(EntryChanged):
            store.remove_channel("ann", "mine", tag)
    store.change_channel("ann", "mine", {"label": "C"}, f'"x", W/{etag_of(changed)}')
    store.remove_channel("ann", "mine", "*")


def test_a_damaged_file_is_neither_used_nor_overwritten(tmp_path: Path, store: ChannelStore) -> None:
    (tmp_path / "channels.json").write_text("{")
    with pytest.raises(ResourceError) as caught:
        store.add_channel("ann", {"baseUrl": URL})
    assert caught.value.code == "channels_damaged"
    assert (tmp_path / "channels.json").read_text() == "{"
    (tmp_path / "channels.json").unlink()
    (tmp_path / "channels.yaml").write_text("[]")
    with pytest.raises(ChannelsUnusable):
        store.add_channel("ann", {"baseUrl": URL})


def test_there_is_an_end_to_what_is_stored(store: ChannelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_store, "MAX_CHANNELS", 2)
    for _ in range(2):
        store.add_channel("ann", {"baseUrl": URL})
    with pytest.raises(TooManyChannels):
        store.add_channel("ann", {"baseUrl": URL})
    large = {"baseUrl": URL, "parameters": {"defaults": {"x": "y" * channel_store.MAX_USER_FILE_BYTES}}}
    with pytest.raises(TooManyChannels, match="larger than"):
        store.add_channel("bob", large)
    assert len(store.config("ann").channels) == 2
