"""Literals on their way into a plan: copied, sealed where secret, and kept beside the plan when they are large."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from innkeeper.nodes.call import PREVIEW_CHARS, holds_marker
from innkeeper.nodes.errors import InvalidWorkflow, Problem

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


@dataclass
class Literals:
    """Packs literals and gathers the secrets and blobs that they leave behind."""

    secret_id: Callable[[str], str]
    owner: str
    secrets: dict[str, SecretValue] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def pack(self, value: Any, keys: tuple[str, ...] = (), *, node: str | None = None, slot: str | None = None) -> Any:
        """The form in which a literal stands in the plan. `keys` are its secret inner keys, `""` the whole of it.

        Raises:
            InvalidWorkflow: A definition's default is not JSON data.
        """
        if value is None or isinstance(value, bool) or (not keys and is_small(value)):
            return value
        sealed = self.seal(value, keys)
        data = _dump(sealed, node, slot)
        # A marker that stands where no secret is declared is the user's own object: stored whole, nobody mistakes it.
        if len(data) <= LITERAL_LIMIT and not holds_marker(_without_references(sealed, keys)):
            return orjson.loads(data)
        return self._blob(data)

    def copy(self, value: Any, keys: tuple[str, ...] = (), *, node: str, slot: str) -> Any:
        """The same for values that may not leave the plan (config)."""
        return orjson.loads(_dump(self.seal(value, keys), node, slot))

    def seal(self, value: Any, keys: tuple[str, ...]) -> Any:
        """The value with references for its secrets. Inner keys of what is no object: all of it."""
        if not keys:
            return value
        if WHOLE in keys or not isinstance(value, Mapping):
            return self._seal_one(value)
        return {key: self._seal_one(item) if key in keys else item for key, item in value.items()}

    def _seal_one(self, value: Any) -> Any:
        if value is None or isinstance(value, bool) or is_reference(value) or value in ("", [], {}):
            return value
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        secret = self.secret_id(text)
        self.secrets.setdefault(secret, SecretValue(secret, text, self.owner))
        return {"$secret": secret}

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


def _dump(value: Any, node: str | None, slot: str | None) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError as error:
        message = f"the value of {slot!r} is not JSON data: {error}; correct the node type's default"
        raise InvalidWorkflow([Problem("invalid_value", message, node=node, slot=slot)]) from None
