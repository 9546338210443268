"""Is a delivery from who it says? One verifier for all schemes, on raw bytes, before anything is parsed or stored.

What comes from outside never raises: each wrong request is a `Refused`, and all of them are answered 401.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from innkeeper.gateway.triggers.headers import DoubledHeader, Headers, RawHeaders
from innkeeper.gateway.triggers.schemes import Encoding, HeaderNames, Scheme, separators_beside_id, template_parts
from innkeeper.gateway.triggers.secret_keys import Key, decode_base64, usable_keys
from innkeeper.nodes.json_values import InvalidJson, read_json

MAX_SIGNATURE_BYTES = 4096
MAX_SIGNATURES = 20
"""Each is compared with each key, and one of ed25519 costs 0.1 ms."""
MAX_ID_CHARS = 256
_DIGITS = re.compile(rb"[0-9]{1,15}", re.ASCII)
_VISIBLE = re.compile(rb"[\x21-\x7e]+")


class RefusalKind(StrEnum):
    BAD_SIGNATURE = "bad_signature"
    STALE = "stale"
    MALFORMED = "malformed"


@dataclass(frozen=True)
class Verified:
    """A delivery from who it says.

    Attributes:
        delivery_id: The sender's id, the same when it sends the delivery again; None when it gives none.
        signed_at: Seconds since 1970; None when no time is signed.
        replay_key: Equal for two requests when one may be a copy of the other. It is made of what the sender signed,
            not of how the signature is written. Without a signed time it is the delivery id, and None without one:
            then every request is a new event, for equal bodies may be two events.
        replay_until: The key must be remembered up to this time, inclusive: signed time + tolerance, not arrival +
            tolerance, as a request signed in the future passes for longer. None: the request itself never expires.
    """

    delivery_id: str | None = None
    signed_at: float | None = None
    replay_until: float | None = None
    replay_key: str | None = None


@dataclass(frozen=True)
class Refused:
    """Why a delivery is not believed. The reason is for the owner of the trigger and holds nothing of the request."""

    kind: RefusalKind
    reason: str


class _Refusal(Exception):
    def __init__(self, kind: RefusalKind, reason: str) -> None:
        super().__init__(reason)
        self.refused = Refused(kind, reason)


def verify(
    scheme: Scheme, secrets: Sequence[str], headers: RawHeaders, body: bytes, *, now: float
) -> Verified | Refused:
    """Check the proof of a delivery.

    Args:
        secrets: Each of them counts, so that one can be changed while the sender still uses the other.
        headers: As they came, doubled ones included.
        body: The raw bytes.
        now: Seconds since 1970.
    """
    request = _Request(scheme, secrets, Headers(headers), body)
    try:
        return _PROOFS[scheme.proof](request, now)
    except _Refusal as refusal:
        return refusal.refused
    except DoubledHeader as error:
        return Refused(RefusalKind.MALFORMED, str(error))


@dataclass(frozen=True)
class _Request:
    scheme: Scheme
    secrets: Sequence[str]
    headers: Headers
    body: bytes

    @property
    def names(self) -> HeaderNames:
        alternatives = self.scheme.headers
        return next((names for names in alternatives if names.signature in self.headers), alternatives[0])

    def usable_keys(self) -> list[Key]:
        return list(usable_keys(self.scheme.secret_form, self.secrets))

    def needed(self, name: str) -> bytes:
        value = self.headers.one(name)
        if not value:
            raise _malformed(f"the header {name!r} is missing or empty")
        return value

    def delivery_id(self) -> str | None:
        """The id from its header. Raises _Refusal when it is missing although it is signed, or is no id."""
        name = self.names.delivery_id
        if name is None or (name not in self.headers and not self.scheme.signs("{id}")):
            return None
        value = self.needed(name)
        if len(value) > MAX_ID_CHARS or not _VISIBLE.fullmatch(value):
            raise _malformed(f"the header {name!r} must hold at most {MAX_ID_CHARS} visible ASCII characters")
        return value.decode("ascii")


def _malformed(reason: str) -> _Refusal:
    return _Refusal(RefusalKind.MALFORMED, reason)


# --- signatures -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Presented:
    """What the headers say: signatures with their version, and the time as it is signed."""

    signatures: list[tuple[str, bytes]]
    timestamp: bytes


def _check_mac(request: _Request, now: float) -> Verified:
    scheme = request.scheme
    presented = _presented(request)
    delivery_id = request.delivery_id()
    message = _message(scheme.template, delivery_id or "", presented.timestamp, request.body)
    if not _is_signed(message, presented.signatures, request):
        raise _Refusal(RefusalKind.BAD_SIGNATURE, "no signature fits the body and a secret of the trigger")
    signed_at = _signed_at(scheme, presented.timestamp, now)
    if delivery_id is None and scheme.body_id is not None:
        delivery_id = _id_in_body(request.body, scheme.body_id)
    return _verified(scheme, delivery_id, signed_at, message)


def _verified(scheme: Scheme, delivery_id: str | None, signed_at: float | None, message: Sequence[bytes]) -> Verified:
    if signed_at is None:
        return Verified(delivery_id, replay_key=_id_key(delivery_id))
    until = None if scheme.tolerance_s is None else signed_at + scheme.tolerance_s
    digest = hashlib.sha256()
    for part in message:
        digest.update(part)
    # Not the signature itself: of two in a header one can be left out, and base64 and hex have several spellings.
    return Verified(delivery_id, signed_at, until, f"signed:{digest.hexdigest()}")


def _id_key(delivery_id: str | None) -> str | None:
    return None if delivery_id is None else f"id:{delivery_id}"


def _presented(request: _Request) -> _Presented:
    scheme, names = request.scheme, request.names
    header = request.needed(names.signature)
    if len(header) > MAX_SIGNATURE_BYTES:
        raise _malformed(f"the header {names.signature!r} is longer than {MAX_SIGNATURE_BYTES} bytes")
    timestamp = [] if names.timestamp is None else [request.needed(names.timestamp)]
    if scheme.layout == "versions":
        pairs = [(version, text) for version, _, text in (entry.partition(b",") for entry in header.split())]
    elif scheme.layout == "pairs":
        pairs = [(key.strip(), text) for key, _, text in (entry.partition(b"=") for entry in header.split(b","))]
        timestamp = [text for key, text in pairs if key == b"t"]
    else:
        pairs = [(b"v1", _without_prefix(header, request))]
    if scheme.signs("{ts}") and (len(timestamp) != 1 or not _DIGITS.fullmatch(timestamp[0])):
        raise _malformed("the signed time must come once, as a whole number")
    return _Presented(_signatures(pairs, scheme.encoding), b"".join(timestamp))


def _without_prefix(header: bytes, request: _Request) -> bytes:
    prefix = request.scheme.prefix.encode()
    if not header.startswith(prefix):
        raise _malformed(f"the header {request.names.signature!r} must begin with {request.scheme.prefix!r}")
    return header[len(prefix) :]


def _signatures(pairs: Sequence[tuple[bytes, bytes]], encoding: Encoding) -> list[tuple[str, bytes]]:
    """Those that can be read; other versions are of other times."""
    known = [(version.decode(), text) for version, text in pairs if version in (b"v1", b"v1a")]
    if len(known) > MAX_SIGNATURES:
        raise _malformed(f"there are more than {MAX_SIGNATURES} signatures")
    read = [(version, signature) for version, text in known if (signature := _decoded(text, encoding))]
    if not read:
        raise _malformed(f"no signature of a known version in {encoding}")
    return read


def _decoded(text: bytes, encoding: Encoding) -> bytes:
    try:
        if encoding == "hex":
            # `bytes.fromhex` would pass over spaces.
            return bytes.fromhex(text.decode("ascii")) if text.isalnum() else b""
        return decode_base64(text, is_url_safe=encoding == "base64url")
    except ValueError:
        return b""


def _message(template: str, delivery_id: str, timestamp: bytes, body: bytes) -> list[bytes]:
    """The signed bytes, in pieces: the body is not copied."""
    if not separators_beside_id(template).isdisjoint(delivery_id):
        raise _malformed("the delivery id holds a character that separates it from what is signed beside it")
    values = {"{id}": delivery_id.encode(), "{ts}": timestamp, "{body}": body}
    return [values[part] if part in values else part.encode() for part in template_parts(template)]


def _is_signed(message: Sequence[bytes], signatures: Sequence[tuple[str, bytes]], request: _Request) -> bool:
    """Compares each key with each signature, also after one fitted."""
    macs = [signature for version, signature in signatures if version == "v1"]
    publics = [signature for version, signature in signatures if version == "v1a"]
    found = False
    for key in request.usable_keys():
        if key.kind == "mac":
            expected = _mac(key.data, message, request.scheme.algorithm)
            for signature in macs:
                found |= hmac.compare_digest(expected, signature)
        elif publics:
            whole = b"".join(message)
            for signature in publics:
                found |= _fits_public(key.data, signature, whole)
    return found


def _mac(key: bytes, message: Sequence[bytes], algorithm: str) -> bytes:
    mac = hmac.new(key, digestmod=algorithm)
    for part in message:
        mac.update(part)
    return mac.digest()


def _fits_public(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed_at(scheme: Scheme, timestamp: bytes, now: float) -> float | None:
    if not scheme.signs("{ts}"):
        return None
    signed_at = int(timestamp) / (1000 if scheme.timestamp_unit == "ms" else 1)
    if scheme.tolerance_s is not None and abs(now - signed_at) > scheme.tolerance_s:
        when = "ago" if signed_at < now else "ahead"
        seconds = round(abs(now - signed_at))
        reason = f"it was signed {seconds} s {when}; allowed are {scheme.tolerance_s} s: is a clock wrong?"
        raise _Refusal(RefusalKind.STALE, reason)
    return signed_at


def _id_in_body(body: bytes, key: str) -> str | None:
    """Only asked of a body that is signed."""
    try:
        value = read_json(body)
    except InvalidJson:
        return None
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) and 0 < len(found) <= MAX_ID_CHARS else None


# --- secrets that are sent as they are --------------------------------------------------------------------------------


def _check_token(request: _Request, _now: float) -> Verified:
    return _compared(_without_prefix(request.needed(request.names.signature), request), request)


def _check_basic(request: _Request, _now: float) -> Verified:
    kind, _, credentials = request.needed(request.names.signature).partition(b" ")
    if kind.lower() != b"basic":
        raise _malformed("the header 'authorization' must begin with 'Basic '")
    try:
        return _compared(decode_base64(credentials.strip(b" ")), request)
    except ValueError:
        raise _malformed("the header 'authorization' must hold base64") from None


def _compared(presented: bytes, request: _Request) -> Verified:
    delivery_id = request.delivery_id()
    # Digests have one length, so the time of a comparison does not tell that of the secret.
    digest = hashlib.sha256(presented).digest()
    found = False
    for key in request.usable_keys():
        found |= hmac.compare_digest(hashlib.sha256(key.data).digest(), digest)
    if not found:
        raise _Refusal(RefusalKind.BAD_SIGNATURE, "it is no secret of the trigger")
    return Verified(delivery_id, replay_key=_id_key(delivery_id))


def _check_nothing(request: _Request, _now: float) -> Verified:
    delivery_id = request.delivery_id()
    return Verified(delivery_id, replay_key=_id_key(delivery_id))


_PROOFS: Mapping[str, Callable[[_Request, float], Verified]] = {
    "mac": _check_mac,
    "token": _check_token,
    "basic": _check_basic,
    "none": _check_nothing,
}
