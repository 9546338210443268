"""Literals on their way into a plan: copied, sealed where secret, and kept beside the plan when they are large."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import orjson

from innkeeper.nodes.call import PREVIEW_CHARS, holds_marker, is_secret_id, secret_reference
from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.nodes.json_values import NotJsonData, encode_json
from innkeeper.workflows.compiler.secret_hosts import host_beside

LITERAL_LIMIT = 1024
"""Bytes of JSON up to which a literal stays in the plan."""
_SHORT = LITERAL_LIMIT // 6 - 1
WHOLE = ""
"""As a secret key: the whole value."""


@dataclass(frozen=True)
class SecretValue:
    """A secret that was typed into a document, to be stored under `id` before the run starts."""

    id: str
    value: str = field(repr=False)
    owner: str
    hosts: tuple[str, ...] = ()
    """`name:port` of the addresses it stands beside; none: it is bound where it goes first."""


@dataclass(frozen=True)
class Place:
    """Where a literal stands. `host`: `name:port` of the address beside it, for the secrets in it."""

    node: str | None = None
    slot: str | None = None
    host: str | None = None


NOWHERE = Place()


@dataclass(frozen=True)
class SecretUse:
    """A reference that somebody typed, to a secret that must be stored already."""

    id: str
    place: Place


@dataclass
class Literals:
    """Packs literals and gathers what they leave behind.

    Attributes:
        secrets: Typed secrets, by id.
        references: Typed references to stored secrets.
        problems: References that are none, and secrets that do not stay secret.
        blobs: sha256 to JSON bytes of large literals.
    """

    secret_id: Callable[[str], str]
    owner: str
    secrets: dict[str, SecretValue] = field(default_factory=dict)
    references: list[SecretUse] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def pack(self, value: Any, keys: tuple[str, ...] = (), place: Place = NOWHERE) -> Any:
        """The form in which a literal stands in the plan. `keys` are its secret inner keys, `""` the whole of it.

        Raises:
            InvalidWorkflow: A definition's default is not JSON data.
        """
        if value is None or isinstance(value, bool) or (not keys and is_small(value)):
            return value
        sealed = self.seal(value, keys, place)
        data = _dump(sealed, place)
        # A marker that stands where no secret is declared is the user's own object: stored whole, nobody mistakes it.
        if len(data) <= LITERAL_LIMIT and not holds_marker(_without_references(sealed, keys)):
            return orjson.loads(data)
        return self._blob(data)

    def copy(self, value: Any, keys: tuple[str, ...], place: Place) -> Any:
        """The same for values that may not leave the plan (config)."""
        return orjson.loads(_dump(self.seal(value, keys, place), place))

    def seal(self, value: Any, keys: tuple[str, ...], place: Place) -> Any:
        """The value with references for its secrets. Inner keys of what is no object: all of it.

        An object that holds an address itself (`api_settings`) binds the secrets in it to that one.
        """
        if not keys:
            return value
        if WHOLE in keys or not isinstance(value, Mapping):
            return self._seal_one(value, place)
        inside, secret = replace(place, host=host_beside(value)), frozenset(keys)
        return {key: self._seal_one(item, inside) if key in secret else item for key, item in value.items()}

    def seal_parts(self, value: Any, parts: Mapping[str, tuple[str, ...]], place: Place) -> Any:
        """Items, or a state, with references for the secrets in them.

        Args:
            parts: The name of the items, or of fields of the state, to their secret keys.
        """
        if isinstance(value, list | tuple):
            keys = tuple(dict.fromkeys(key for keys in parts.values() for key in keys))
            return [self.seal(item, keys, place) for item in value]
        if isinstance(value, Mapping):
            return {name: self.seal(item, parts.get(name, ()), place) for name, item in value.items()}
        return value

    def _seal_one(self, value: Any, place: Place) -> Any:
        if value is None or isinstance(value, bool) or value in ("", [], {}):
            return value
        if (reference := secret_reference(value)) is not None:
            return self._referred(value, reference, place)
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        secret = self.secret_id(text)
        hosts = {*(self.secrets[secret].hosts if secret in self.secrets else ()), *([place.host] if place.host else ())}
        self.secrets[secret] = SecretValue(secret, text, self.owner, tuple(sorted(hosts)))
        return self._reference_to(secret)

    def _reference_to(self, secret: str) -> Any:
        """What stands in the place of a typed secret."""
        return {"$secret": secret}

    def _referred(self, value: Any, secret: str, place: Place) -> Any:
        """What stands in the place of a reference that somebody typed, in whichever form."""
        if is_secret_id(secret):
            self.references.append(SecretUse(secret, place))
            return self._reference_to(secret)
        message = (
            f"{_where(place)} holds '$secret' with something that is no id of a stored secret; "
            "type the key itself in its place, it is then kept secret"
        )
        self.problems.append(Problem("invalid_secret_reference", message, node=place.node, slot=place.slot))
        return value

    def _blob(self, data: bytes) -> dict[str, Any]:
        sha = sha256(data).hexdigest()
        self.blobs[sha] = data
        preview = data[: PREVIEW_CHARS * 4].decode(errors="ignore")[:PREVIEW_CHARS]
        return {"$blob": sha, "size": len(data), "mime": "application/json", "preview": preview}


def is_small(value: Any) -> bool:
    """Is this scalar certainly below the limit, whatever JSON has to escape in it?"""
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _SHORT)


def is_reference(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) == 1 and isinstance(value.get("$secret"), str)


def _without_references(value: Any, keys: tuple[str, ...]) -> Any:
    if keys and is_reference(value):
        return None
    if keys and isinstance(value, Mapping):
        return {key: item for key, item in value.items() if not (key in keys and is_reference(item))}
    return value


def _where(place: Place) -> str:
    return f"node {place.node!r}: {place.slot!r}" if place.node else f"the workflow's input {place.slot!r}"


def _dump(value: Any, place: Place) -> bytes:
    try:
        return encode_json(value).data
    except NotJsonData as error:
        message = f"the value of {place.slot!r} is not JSON data: it {error}; correct the node type's default"
        raise InvalidWorkflow([Problem("invalid_value", message, node=place.node, slot=place.slot)]) from None
