"""Signatures: workers run what the gateway, or a workflow of its, has asked for, and nothing else.

Whoever reaches the Temporal server's port can start workflows and schedule activities on our queues. So everything that
has an effect travels with a header that holds the id of a key and an HMAC-SHA256 of the message. The message names the
workflow that it is for, or what Temporal alone says of it, so that one that was seen is worth nothing elsewhere.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

import orjson
from temporalio.api.common.v1 import Payload

from innkeeper.workflows.payload_converter import OrderedJsonConverter

HEADER = "innkeeper-signature"
_JSON = OrderedJsonConverter()
_DEFAULTS: dict[type[Any], dict[str, bytes]] = {}


class UnknownKey(Exception):
    """Signed with a key that this process does not have, so nobody can tell whether the signature is right."""


class Keys(Protocol):
    """The keys of a data directory (`nodes.services.signing_keys.SigningKeys`)."""

    def current(self) -> tuple[str, bytes]: ...

    def find(self, key_id: str) -> bytes | None: ...

    def is_exempt(self, run: str, began_at: float) -> bool: ...


@dataclass(frozen=True)
class Origin:
    """Where a workflow comes from. Temporal says `parent` and `before`: who starts a workflow cannot choose them.

    Attributes:
        workflow_id: Its own id.
        parent: Workflow id and Temporal run id of its parent, for a child workflow.
        before: Temporal run id of the history that it continues.
    """

    workflow_id: str
    parent: tuple[str, str] | None = None
    before: str | None = None


class Signer:
    """Signs messages, and checks them."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def signed(self, headers: Mapping[str, Payload], message: bytes) -> dict[str, Payload]:
        """The headers with the message's signature."""
        key_id, key = self._keys.current()
        signature = f"{key_id}:{_mac(key, message)}".encode()
        return {**headers, HEADER: Payload(metadata={"encoding": b"binary/plain"}, data=signature)}

    def is_genuine(
        self, headers: Mapping[str, Payload], message: bytes, *, workflow_id: str, began_at: datetime
    ) -> bool:
        """Is the message signed, or part of a run from before there were signatures?

        `began_at`: when the workflow was started, or the activity scheduled, as the server says.

        Raises:
            UnknownKey: That cannot be told here. The caller fails in a way that is tried again.
        """
        key_id, _, mac = headers[HEADER].data.partition(b":") if HEADER in headers else (b"", b"", b"")
        key = self._keys.find(key_id.decode("ascii", "replace")) if mac else None
        if key is not None and hmac.compare_digest(mac, _mac(key, message).encode()):
            return True
        if self._keys.is_exempt(workflow_id.partition("/")[0], began_at.timestamp()):
            return True
        if mac and key is None:
            raise UnknownKey(
                f"workflow {workflow_id!r} is signed with the key {key_id[:16].decode('ascii', 'replace')!r}, which is "
                "not among the keys of this process: let it use the data directory, and the INNKEEPER_SECRET_KEY, of "
                "the gateway, or restore signing.json and secret.key from the backup of its data directory"
            )
        return False

    def knows_key(self, headers: Mapping[str, Payload]) -> bool:
        """Can a signature in these headers be checked here?"""
        key_id = headers[HEADER].data.partition(b":")[0] if HEADER in headers else b""
        return self._keys.find(key_id.decode("ascii", "replace")) is not None


def _mac(key: bytes, message: bytes) -> str:
    # Not `hmac.digest`: it lets go of the interpreter lock, and a busy thread may keep that for 5 ms.
    mac = _keyed(key).copy()
    mac.update(message)
    return mac.hexdigest()


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> hmac.HMAC:
    """What each signature with this key begins with. To be copied, never changed."""
    return hmac.new(key, digestmod="sha256")


# --- messages -------------------------------------------------------------------------------------------------------


def start_message(origin: Origin, plan: bytes, start: object) -> bytes:
    """A start of a workflow. `start`: its `RunStart`.

    Fields with their default value are left out: a version that has more fields still takes what was signed before.
    """
    changed = _changed(start)
    names = [origin.workflow_id, origin.parent, origin.before, list(changed)]
    return _message("start", names, plan, *changed.values())


def launch_message(schedule: str, launch: object) -> bytes:
    """What a schedule starts, each time it fires, with one signature. `launch`: its `Launch`.

    The ids of these workflows are not known when it is signed; each begins with the id of the schedule.
    """
    changed = _changed(launch)
    return _message("launch", [schedule, list(changed)], *changed.values())


def activity_message(workflow_id: str, temporal_run_id: str, activity: str, args: Sequence[Any]) -> bytes:
    """A call of an activity, for one history of one workflow."""
    return _message("activity", [workflow_id, temporal_run_id, activity], _canonical(list(args)))


def signal_message(workflow_id: str, signal: str, args: Sequence[Any]) -> bytes:
    return _message("signal", [workflow_id, signal], _canonical(list(args)))


def update_message(workflow_id: str, update: str, args: Sequence[Any]) -> bytes:
    return _message("update", [workflow_id, update], _canonical(list(args)))


def _message(kind: str, names: Sequence[Any], *bodies: bytes) -> bytes:
    """One text for each message, and no other message with the same text: the head says how long each body is."""
    head = orjson.dumps([kind, names, [len(body) for body in bodies]])
    return b"\n".join((head, *bodies))


def _changed(start: object) -> dict[str, bytes]:
    """The fields of a dataclass that somebody has set, in order."""
    defaults = _defaults(type(start))
    given = {name: _canonical(getattr(start, name)) for name in defaults}
    return {name: value for name, value in given.items() if value != defaults[name]}


def _defaults(kind: type[Any]) -> dict[str, bytes]:
    """What the fields of a dataclass hold unless somebody sets them."""
    if kind not in _DEFAULTS:
        fresh = kind()
        _DEFAULTS[kind] = {item.name: _canonical(getattr(fresh, item.name)) for item in fields(fresh)}
    return _DEFAULTS[kind]


def _canonical(value: Any) -> bytes:
    """The same bytes before a value travels as JSON, and after: those of the payload converter."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # a payload object would be half the cost of most messages, so only here
        payload = _JSON.to_payload(value)
        assert payload is not None
        return payload.data
