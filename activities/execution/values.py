"""Values on their way between nodes: inline up to 4 KB, larger ones as blobs, secrets as references."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import orjson

from innkeeper.nodes.call import (
    INLINE_LIMIT,
    PIECES,
    PREVIEW_CHARS,
    holds_marker,
    is_blob,
    is_secret_id,
    secret_reference,
)
from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import InvalidNode, NodeInputError
from innkeeper.nodes.json_values import NotJsonData, encode_json
from innkeeper.nodes.node import Blobs, SecretRef
from innkeeper.nodes.services.masking import MASK, mask_json

JSON_MIME = "application/json"
BYTES_MIME = "application/octet-stream"
MAX_VALUE_BYTES = 256 * 1024 * 1024
_CACHE_BYTES = 16 * 1024 * 1024
_LARGEST_CACHED = 1024 * 1024

OnChange = Callable[[str], None]


class Sealer(Protocol):
    async def seal(self, value: str) -> SecretRef:
        """Store a secret of the run's owner, give back its reference."""


class OutputMask:
    """Takes the secrets that a node has been shown out of what it gives, and notes where.

    Args:
        forms: How they may be written (`forms_of_all`).

    Attributes:
        masked: The outputs that held one.
    """

    def __init__(self, forms: tuple[str, ...] = ()) -> None:
        self._forms = forms
        self.masked: list[str] = []

    def of_json(self, slot: str, data: bytes) -> bytes:
        return self._noted(slot, data, mask_json(data, self._forms)) if self._forms else data

    def of_bytes(self, slot: str, data: bytes) -> bytes:
        clean = data
        for form in self._forms:
            clean = clean.replace(form.encode(errors="surrogatepass"), MASK.encode())
        return self._noted(slot, data, clean)

    def _noted(self, slot: str, data: bytes, clean: bytes) -> bytes:
        if clean != data:
            self.masked.append(slot)
        return clean


class Values:
    """Packs and resolves values against one blob store.

    Args:
        inline_bytes: Bytes of JSON up to which an output travels inline.
    """

    def __init__(self, blobs: Blobs, *, inline_bytes: int = INLINE_LIMIT) -> None:
        self._blobs = blobs
        self._inline_bytes = inline_bytes
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached = 0
        self._caching = threading.Lock()  # nodes of segments take their inputs in the thread they run in

    async def resolve(self, value: Any) -> Any:
        """The value behind a reference, or the value itself."""
        if not is_blob(value):
            return value
        data = await self._load(value["$blob"])
        return data if value.get("mime") == BYTES_MIME else orjson.loads(data)

    async def resolve_inputs(
        self, inputs: Mapping[str, Any], multi: Iterable[str], slots: Mapping[str, Input]
    ) -> dict[str, Any]:
        """All inputs of a node: references resolved, declared secrets as `SecretRef`.

        Raises:
            NodeInputError: They are too large together (`value_too_large`). None was loaded.
        """
        lists = set(multi)
        inputs = {key: await self._whole_list(value) if key in lists else value for key, value in inputs.items()}
        if (size := stored_bytes(inputs.values())) > MAX_VALUE_BYTES:
            message = f"the inputs of this node are {size} bytes together, over the limit of {MAX_VALUE_BYTES}"
            raise NodeInputError(f"{message}; give it less at once", code="value_too_large")
        resolved: dict[str, Any] = {}
        for key, value in inputs.items():
            if key in lists and isinstance(value, list):
                items = [await self.resolve(item) for item in value]
                resolved[key] = [_with_secrets(item, slots.get(key)) for item in items]
            else:
                resolved[key] = _with_secrets(await self.resolve(value), slots.get(key))
        return resolved

    async def _whole_list(self, value: Any) -> Any:
        """The elements of a multi slot that came in pieces; each may still be a reference."""
        if not (isinstance(value, Mapping) and PIECES in value):
            return value
        return [item for piece in value[PIECES] for item in await self.resolve(piece)]

    async def pack(
        self,
        slot: str,
        value: Any,
        seal: Iterable[str] = (),
        sealer: Sealer | None = None,
        *,
        masking: OutputMask | None = None,
        on_change: OnChange = lambda what: None,
    ) -> Any:
        """The form in which an output travels.

        What is sealed is not masked: a key that a node has been shown may be part of the secret that it gives.

        Args:
            on_change: Called with each thing that had to change for the value to become JSON.

        Raises:
            InvalidNode: The value is not data (`invalid_output`), or a secret where none is declared.
        """
        masking = masking or OutputMask()
        if isinstance(value, bytes | bytearray | memoryview) and not seal:
            return await self.store(masking.of_bytes(slot, bytes(value)), BYTES_MIME, f"{len(value)} bytes")
        if isinstance(value, str) and len(value) > MAX_VALUE_BYTES:
            # It would be too large in any encoding: no need to fill as much memory once more.
            raise _too_large(f"a text of {len(value)} characters")
        sealed = await _sealed(slot, value, tuple(seal), sealer)
        # What the seal put in is a reference by intent; a marker anywhere else is a user's object.
        foreign = _without(sealed, tuple(seal))
        data = masking.of_json(slot, _dump(slot, sealed, on_change))
        if len(data) <= self._inline_bytes and not holds_marker(foreign):
            # What a node gives is normalised to JSON, so that a consumer sees the same whether it was stored or not.
            return orjson.loads(data)
        preview = "" if tuple(seal) else data[: PREVIEW_CHARS * 4].decode(errors="replace")[:PREVIEW_CHARS]
        return await self.store(data, JSON_MIME, preview)

    async def store(self, data: bytes, mime: str, preview: str) -> dict[str, Any]:
        if len(data) > MAX_VALUE_BYTES:
            raise _too_large(f"a value of {len(data)} bytes")
        sha = await self._blobs.put(data)
        return {"$blob": sha, "size": len(data), "mime": mime, "preview": preview}

    async def _load(self, sha: str) -> bytes:
        with self._caching:
            if sha in self._cache:
                self._cache.move_to_end(sha)
                return self._cache[sha]
        data = await self._blobs.get(sha)
        with self._caching:
            # Others may have loaded it meanwhile: it must not be counted twice.
            if len(data) <= _LARGEST_CACHED and sha not in self._cache:
                self._cache[sha] = data
                self._cached += len(data)
                while self._cached > _CACHE_BYTES:
                    self._cached -= len(self._cache.popitem(last=False)[1])
        return data


def stored_bytes(values: Iterable[Any]) -> int:
    """What the stored values among these hold, and those in lists of them, without looking at any."""
    items = [item for value in values for item in (value if isinstance(value, list) else (value,))]
    return sum(int(item.get("size") or 0) for item in items if is_blob(item))


def _too_large(what: str) -> InvalidNode:
    return InvalidNode(f"{what} is over the limit of {MAX_VALUE_BYTES} bytes", code="value_too_large")


def with_secrets(config: Mapping[str, Any], schema: Mapping[str, Input]) -> dict[str, Any]:
    """The config values of a node, with `SecretRef`s where its schema declares secrets."""
    return {key: _with_secrets(value, schema.get(key)) for key, value in config.items()}


def _with_secrets(value: Any, slot: Input | None) -> Any:
    """Turn references into SecretRef, in the places the slot declares secret and nowhere else."""
    if slot is None:
        return value
    if slot.secret:
        return _as_ref(value)
    if slot.secret_keys and isinstance(value, dict):
        return {key: _as_ref(item) if key in slot.secret_keys else item for key, item in value.items()}
    return value


def _as_ref(value: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(value.get("$secret"), str):
        return SecretRef(value["$secret"])
    # A text that another node gave as a part of a list or a state: nothing has sealed it.
    reference = secret_reference(value)
    return value if reference is None else SecretRef(reference)


async def _sealed(slot: str, value: Any, seal: tuple[str, ...], sealer: Sealer | None) -> Any:
    """The value with references where it must be secret. Refuses what cannot be sealed."""
    if not seal or value is None or value == "":
        return value
    if "" in seal:
        return await _seal_one(slot, value, sealer)
    if not isinstance(value, Mapping):
        keys = ", ".join(repr(key) for key in seal)
        raise InvalidNode(f"output {slot!r} feeds a slot with secrets in {keys}: it must be an object")
    return {key: await _seal_one(slot, item, sealer) if key in seal else item for key, item in value.items()}


async def _seal_one(slot: str, value: Any, sealer: Sealer | None) -> Any:
    if isinstance(value, SecretRef):
        return value.to_json()
    if value is None or value == "":
        return value
    reference = secret_reference(value)
    if is_secret_id(reference):
        return {"$secret": reference}
    if isinstance(value, str) and reference is not None:
        message = f"output {slot!r} feeds a secret slot and refers to no stored secret; give the key itself"
        raise InvalidNode(message, code="invalid_secret_reference")
    if isinstance(value, str) and sealer is not None:
        return (await sealer.seal(value)).to_json()
    message = f"output {slot!r} feeds a secret slot: the secret must be text, got {type(value).__name__}"
    raise InvalidNode(message, code="invalid_secret")


def _without(value: Any, seal: tuple[str, ...]) -> Any:
    if "" in seal:
        return None if isinstance(value, Mapping) and set(value) == {"$secret"} else value
    if seal and isinstance(value, Mapping):
        return {key: item for key, item in value.items() if key not in seal}
    return value


def _dump(slot: str, value: Any, on_change: OnChange) -> bytes:
    try:
        data, changes = encode_json(value)
    except NotJsonData as error:
        if "SecretRef" in str(error):
            message = f"output {slot!r} holds a secret but is not declared secret"
            raise InvalidNode(message, code="undeclared_secret") from None
        raise InvalidNode(f"output {slot!r} is not JSON data: it {error}") from None
    for change in changes:
        on_change(change)
    return data
