"""How a key may look where it was kept, and the search for it."""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote, quote_plus

CORE = 'canary/7f "e2" 90b1c+'
"""All keys begin so, and nothing else does. It holds what JSON, URLs and headers write in another way."""
MAX_UNPACKED = 10_000_000


def forms(key: str = CORE) -> dict[str, bytes]:
    """Name of a form to the bytes to look for."""
    escaped = json.dumps(key)[1:-1]
    texts = {
        "plain": key,
        "JSON": escaped,
        "JSON in JSON": json.dumps(escaped)[1:-1],
        "JSON escapes": "".join(f"\\u{ord(char):04x}" for char in key),
        "URL": quote(key),
        "URL, all": quote(key, safe=""),
        "form": quote_plus(key),
        "reversed": key[::-1],
        "hex": key.encode().hex(),
        "HEX": key.encode().hex().upper(),
        "beginning": key[:9],
        "end": key[-6:],
    }
    found = {name: text.encode() for name, text in texts.items()}
    found |= {encoding: key.encode(encoding) for encoding in ("utf-16-le", "utf-16-be")}
    for shift in range(3):
        # Three bytes become four characters: the first and last ones hang on what stands beside the key.
        shifted = b"\0" * shift + key.encode()
        found[f"base64, {shift}"] = base64.b64encode(shifted)[4:-4]
        found[f"base64url, {shift}"] = base64.urlsafe_b64encode(shifted)[4:-4]
    return found


_ANY = re.compile(b"|".join(re.escape(form) for form in sorted(set(forms().values()), key=len, reverse=True)))


def found_in(data: bytes) -> list[str]:
    """What of the key these bytes hold, with what stands around it; also in what is packed in them."""
    return [
        repr(layer[max(0, hit.start() - 200) : hit.end() + 60])
        for layer in layers(data)
        for hit in _ANY.finditer(layer)
    ]


def layers(data: bytes) -> Iterator[bytes]:
    """The data, and whatever is packed in it with zlib or gzip."""
    yield data
    for hit in re.finditer(b"\x78[\x01\x5e\x9c\xda]", data):
        with suppress(zlib.error):
            yield zlib.decompressobj().decompress(data[hit.start() :], MAX_UNPACKED)
    for hit in re.finditer(b"\x1f\x8b\x08", data):
        with suppress(zlib.error):
            yield zlib.decompressobj(wbits=31).decompress(data[hit.start() :], MAX_UNPACKED)


def packed(data: bytes) -> dict[str, bytes]:
    """The ways to pack that `layers` undoes."""
    return {"bare": data, "zlib": b"junk" + zlib.compress(data), "gzip": b"junk" + gzip.compress(data)}
