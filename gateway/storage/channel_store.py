"""Channels and models that users make over REST, in `channels.json` beside the operator's `channels.yaml`.

Two files, because an edited `channels.yaml` would lose its comments, and because who may talk to the gateway is not
the operator: such a channel has no key of the environment and reaches no address that a graph may not reach.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from innkeeper.gateway.errors import NotEditable, NotFound, shown
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.process.redaction import MASK
from innkeeper.nodes.services.channel_book import read_channel_file
from innkeeper.nodes.services.channel_file import CHANNELS_FILE, place_of, wording_of
from innkeeper.nodes.services.channels import PINNED, ChannelConfig, UserChannel, UserModel
from innkeeper.nodes.services.files import write_atomic
from innkeeper.nodes.services.secrets import SecretStore
from innkeeper.nodes.services.user_channels import (
    MAX_USER_FILE_BYTES,
    USER_CHANNELS_FILE,
    UserEntries,
    channel_to_json,
    config_of,
    read_user_channels,
)

MAX_CHANNELS = 200
MAX_MODELS = 2_000
MAX_KEY_CHARS = 1_000
ANY_VERSION = "*"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_GIVEN = frozenset({"owner", "id", "apiKey", "createdAt", "modelId"})
Entry = TypeVar("Entry", UserChannel, UserModel)


class ChannelsUnusable(InnkeeperError):
    """`channels.yaml` has an error, so no channel of it is used."""

    code = "channels_unusable"


class InvalidChannel(InnkeeperError):
    """What was sent is no channel or model. `details.problems` names every place, and no value."""

    code = "invalid_channel"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems), details={"problems": list(problems)})


class IdTaken(InnkeeperError):
    """There is another one of that id."""

    code = "id_taken"


class TooManyChannels(InnkeeperError):
    """No further one is stored."""

    code = "too_many_channels"


class EntryChanged(InnkeeperError):
    """If-Match names another version."""

    code = "version_mismatch"


class ChannelStore:
    """The channels and models that one may use, and changes of those that users have made.

    Blocking methods: call them in a thread. The gateway is the only writer of the file.
    """

    def __init__(self, data_dir: Path, store: SecretStore) -> None:
        self._yaml = data_dir / CHANNELS_FILE
        self._file = data_dir / USER_CHANNELS_FILE
        self._store = store
        self._lock = threading.Lock()

    def config(self, user: str) -> ChannelConfig:
        """The operator's channels and models, and those of the user.

        Raises:
            ChannelsUnusable: `channels.yaml` has an error.
            ResourceError: `channels.json` is damaged.
        """
        return config_of(user, self._operators(), read_user_channels(self._file))

    def add_channel(self, user: str, given: Mapping[str, Any]) -> UserChannel:
        """Store a new channel; without an id it gets one.

        Raises:
            InvalidChannel, IdTaken, TooManyChannels: It cannot be stored.
            ChannelsUnusable, ResourceError: As `config`; or the disk refuses.
        """
        with self._lock:
            entries, operators = read_user_channels(self._file), self._operators()
            name = given.get("id") or secrets.token_hex(8)
            if not isinstance(name, str) or not _ID.fullmatch(name):
                raise InvalidChannel(["id must be letters, digits, '.', '_' and '-', at most 64 of them"])
            # Of all users: limits and health of a channel are kept by its id.
            if any(channel.id == name for channel in (*operators.channels, *entries.channels)):
                raise IdTaken(f"there is a channel {name!r}; give another id, or none")
            if sum(channel.owner == user for channel in entries.channels) >= MAX_CHANNELS:
                raise TooManyChannels(f"there are {MAX_CHANNELS} channels; delete one that is not used")
            made = {"id": name, "owner": user, "createdAt": datetime.now(UTC).isoformat()}
            channel = self._channel({**_fields_of(given, {}, UserChannel), **made}, given, None)
            self._save(UserEntries((*entries.channels, channel), entries.models))
            return channel

    def change_channel(self, user: str, name: str, given: Mapping[str, Any], seen: str | None = None) -> UserChannel:
        """Change what is given of a channel; null takes a field away. `seen` is the If-Match of the request.

        Raises:
            NotFound, NotEditable, EntryChanged: There is none, it is the operator's, or it was changed meanwhile.
            Others as `add_channel`.
        """
        with self._lock:
            entries = read_user_channels(self._file)
            old = self._own_channel(user, name, entries)
            _check_seen(old, seen)
            before = channel_to_json(old)
            fields = {**_fields_of(given, before, UserChannel), **{key: before[key] for key in ("id", "owner")}}
            if "createdAt" in before:
                fields["createdAt"] = before["createdAt"]
            channel = self._channel(fields, given, old)
            self._save(UserEntries(_with(entries.channels, old, [channel]), entries.models))
            return channel

    def remove_channel(self, user: str, name: str, seen: str | None = None) -> None:
        """Raises as `change_channel`. Its key is deleted when nothing names it any more (`innkeeper gc`)."""
        with self._lock:
            entries = read_user_channels(self._file)
            old = self._own_channel(user, name, entries)
            _check_seen(old, seen)
            self._save(UserEntries(_with(entries.channels, old, []), entries.models))

    def add_model(self, user: str, given: Mapping[str, Any]) -> UserModel:
        """List a model. Raises as `add_channel`."""
        with self._lock:
            entries, operators = read_user_channels(self._file), self._operators()
            name = given.get("modelId")
            if isinstance(name, str) and name.startswith(PINNED):
                raise InvalidChannel([f"modelId must not begin with {PINNED!r}"])
            taken = {model.model_id for model in config_of(user, operators, entries).models}
            if name in taken | {group.id for group in operators.model_groups}:
                raise IdTaken(f"there is a model or a group {shown(str(name))}; PUT changes a model of yours")
            if sum(model.owner == user for model in entries.models) >= MAX_MODELS:
                raise TooManyChannels(f"there are {MAX_MODELS} models; delete one that is not used")
            model = self._model({**_fields_of(given, {}, UserModel), "modelId": name, "owner": user}, entries)
            self._save(UserEntries(entries.channels, (*entries.models, model)))
            return model

    def change_model(self, user: str, name: str, given: Mapping[str, Any], seen: str | None = None) -> UserModel:
        """Change what is given of a model. Raises as `change_channel`."""
        with self._lock:
            entries = read_user_channels(self._file)
            old = self._own_model(user, name, entries)
            _check_seen(old, seen)
            before = old.model_dump(mode="json", by_alias=True, exclude_none=True)
            fields = {**_fields_of(given, before, UserModel), "modelId": name, "owner": user}
            model = self._model(fields, entries)
            self._save(UserEntries(entries.channels, _with(entries.models, old, [model])))
            return model

    def remove_model(self, user: str, name: str, seen: str | None = None) -> None:
        """Raises as `change_channel`."""
        with self._lock:
            entries = read_user_channels(self._file)
            old = self._own_model(user, name, entries)
            _check_seen(old, seen)
            self._save(UserEntries(entries.channels, _with(entries.models, old, [])))

    def _operators(self) -> ChannelConfig:
        content = read_channel_file(self._yaml)
        if content.config is None:
            raise ChannelsUnusable(f"{CHANNELS_FILE} has an error, so no channel is used: {content.errors[0]}")
        return content.config

    def _own_channel(self, user: str, name: str, entries: UserEntries) -> UserChannel:
        if any(channel.id == name for channel in self._operators().channels):
            raise _operators_own("channel", name)
        found = next((item for item in entries.channels if (item.id, item.owner) == (name, user)), None)
        if found is None:
            raise NotFound(f"there is no channel {shown(name)}; GET /api/llm/channels lists them")
        return found

    def _own_model(self, user: str, name: str, entries: UserEntries) -> UserModel:
        if any(model.model_id == name for model in self._operators().models):
            raise _operators_own("model", name)
        found = next((item for item in entries.models if (item.model_id, item.owner) == (name, user)), None)
        if found is None:
            raise NotFound(f"there is no model {shown(name)}; GET /api/llm/models lists them")
        return found

    def _channel(self, fields: dict[str, Any], given: Mapping[str, Any], old: UserChannel | None) -> UserChannel:
        """The channel with its key: a new one is stored for this channel's host, an old one stays with its host."""
        key = _key_given(given)
        channel = _validated(UserChannel, fields)
        if isinstance(key, str) and channel.host:
            ref: SecretRef | None = self._store.put(key, channel.owner, [channel.host])
        else:
            ref = old.api_key if old is not None and key is _KEPT else None
            if ref is not None and old is not None and old.host != channel.host:
                raise InvalidChannel([f"apiKey is for {old.host}: send it again, or null, to change the host"])
        return channel.model_copy(update={"api_key": ref})

    def _model(self, fields: dict[str, Any], entries: UserEntries) -> UserModel:
        model = _validated(UserModel, fields)
        channels = [channel.id for channel in config_of(model.owner, self._operators(), entries).channels]
        if model.default_channel_ref and model.default_channel_ref not in channels:
            raise InvalidChannel([f"defaultChannelRef names no channel; channels are {', '.join(channels) or 'none'}"])
        return model

    def _save(self, entries: UserEntries) -> None:
        data = entries.to_bytes()
        if len(data) > MAX_USER_FILE_BYTES:
            raise TooManyChannels(f"channels and models together are larger than {MAX_USER_FILE_BYTES} bytes")
        write_atomic(self._file, data, durable=True)


def etag_of(entry: UserChannel | UserModel) -> str:
    """Names this version of a channel or model."""
    data = channel_to_json(entry) if isinstance(entry, UserChannel) else entry.model_dump(mode="json", by_alias=True)
    return f'"{hashlib.sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]}"'


def _check_seen(entry: UserChannel | UserModel, seen: str | None) -> None:
    tags = [tag.strip().removeprefix("W/") for tag in seen.split(",")] if seen is not None else [ANY_VERSION]
    if ANY_VERSION not in tags and etag_of(entry) not in tags:
        raise EntryChanged("it was changed since you have read it: read it again and repeat your change")


def _with(entries: tuple[Entry, ...], old: Entry, new: Iterable[Entry]) -> tuple[Entry, ...]:
    changed = list(entries)
    place = changed.index(old)
    changed[place : place + 1] = new
    return tuple(changed)


_KEPT = object()
"""The key that is stored stays."""


def _key_given(given: Mapping[str, Any]) -> str | object | None:
    """A new key, `_KEPT`, or None to have none."""
    key = given.get("apiKey", _KEPT)
    if key is _KEPT or key is None:
        return key
    if not isinstance(key, str):
        raise InvalidChannel(["apiKey must be a text: the key itself, which is stored encrypted and never shown"])
    key = key.strip()
    if key in ("", MASK):
        return _KEPT
    if key.startswith("env:"):
        raise InvalidChannel([f"apiKey must be a key: variables of the environment are for {CHANNELS_FILE} alone"])
    if len(key) > MAX_KEY_CHARS or not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidChannel([f"apiKey is no key: one is a single word of at most {MAX_KEY_CHARS} plain characters"])
    return key


def _fields_of(given: Mapping[str, Any], before: Mapping[str, Any], kind: type[Entry]) -> dict[str, Any]:
    """What the entry says after a change. Fields that clients of ComfyTavern's send and nobody reads are left out."""
    known = {field.alias or name for name, field in kind.model_fields.items()} - _NOT_GIVEN
    changed = {key: value for key, value in given.items() if key in known}
    if kind is UserChannel:
        if "adapterType" not in given and given.get("providerId"):
            changed["adapterType"] = given["providerId"]
        if "customHeaders" in given:
            changed["headers"] = given["customHeaders"]
        changed = _unmasked(changed, before)
    merged = {key: value for key, value in before.items() if key in known} | changed
    return {key: value for key, value in merged.items() if value is not None}


def _unmasked(given: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Values of headers are never shown: one that comes back masked is the stored one."""
    changed = dict(given)
    if isinstance(headers := given.get("headers"), Mapping):
        stored = before.get("headers", {})
        changed["headers"] = {name: stored.get(name, MASK) if text == MASK else text for name, text in headers.items()}
    if isinstance(special := given.get("perModel"), Mapping):
        stored = before.get("perModel", {})
        changed["perModel"] = {
            model: _unmasked(traits, stored.get(model, {})) if isinstance(traits, dict) else traits
            for model, traits in special.items()
        }
    return changed


def _validated(kind: type[Entry], fields: dict[str, Any]) -> Entry:
    try:
        entry = kind.model_validate(fields)
        # Half a character can be written nowhere.
        orjson.dumps(fields)
    except ValidationError as error:
        raise InvalidChannel(
            [_sentence(item) for item in error.errors(include_input=False, include_url=False)]
        ) from None
    except orjson.JSONEncodeError:
        raise InvalidChannel(["a text holds half a character"]) from None
    return entry


def _sentence(item: ErrorDetails) -> str:
    return f"{place_of(item['loc'])} {wording_of(item)}"


def _operators_own(kind: str, name: str) -> NotEditable:
    return NotEditable(f"the {kind} {shown(name)} is set up in {CHANNELS_FILE} of the data directory: edit that file")
