"""Inputs that nobody would send on purpose: made from good ones by small damage, or made up."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from typing import Any

Json = Any

ODD: tuple[Json, ...] = (
    None, True, False, 0, -1, 1, 1.5, -0.0, 2**31, 2**53, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400, 1e308,
    float("nan"), float("inf"), float("-inf"), "", "x", "\x00", "\ud800", "a\udfffb", "💥" * 50, "9" * 400, "NaN",
    "__proto__", "../../etc/passwd", "{{char}}", "%s%n", "true", "1e999", [], [1], [1, 0], [[1], 0], [None], {},
    {"a": 1}, {"": {}}, {"$secret": "x"}, {"$blob": 1}, {"\ud800": 1}, [[[]]], [{}] * 30,
)  # fmt: skip
"""Values of wrong types, extreme numbers and half characters."""
PIECES: tuple[bytes, ...] = (
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"NaN", b"-Infinity", b"1e999", b"-0",
    b'"\\ud800"', b"\\u0000", b"[" * 2000, b"[" * 1200 + b"]" * 1200, b'{"a":' * 300, b"9" * 500, b"{}", b"[]",
    b"null", b",", b'"', b"\r\n", b"\r\n\r\n", b"%00", b"%ed%a0%80", b"/../", b"\\", b"&a", b"*a", b"!!int ",
    b"\x80\x80\x80\x80", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff",
)  # fmt: skip
"""Bytes that parsers trip over: signs of encodings, depth, numbers out of range, ends of lines, lengths."""
_KEY = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\.){1,40}"\s*:')
MAX_BYTES = 60_000


class Mutator:
    """Draws inputs from seeds. One seed gives one row of inputs."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def odd(self) -> Json:
        """Something of a wrong type or extreme size; now and then nested too deeply, or made up."""
        choice = self.rng.random()
        if choice < 0.02:
            return self.nested(self.rng.choice((50, 101, 400)))
        return self.rng.choice(ODD) if choice < 0.8 else self.made_up(3)

    def nested(self, depth: int) -> Json:
        value: Json = 1
        for _ in range(depth):
            value = [value] if self.rng.random() < 0.5 else {"a": value}
        return value

    def made_up(self, depth: int, keys: Sequence[str] = ("a", "type", "id", "nodes", "entries", "data")) -> Json:
        """Any JSON value, at most `depth` deep."""
        kind = self.rng.random()
        if depth == 0 or kind < 0.4:
            return self.rng.choice(ODD)
        size = self.rng.randrange(4)
        if kind < 0.6:
            return [self.made_up(depth - 1, keys) for _ in range(size)]
        return {self.rng.choice(keys): self.made_up(depth - 1, keys) for _ in range(size)}

    def changed(self, value: Json, others: Sequence[Json] = ()) -> Json:
        """A copy of a JSON value with one to four changes; parts of `others` may get into it."""
        for _ in range(self.rng.choice((1, 1, 1, 2, 2, 4))):
            value = self._changed_once(value, others)
        return value

    def _changed_once(self, value: Json, others: Sequence[Json]) -> Json:
        if not value or not isinstance(value, dict | list):
            return self.odd()
        # Copies only what lies on the way down: the seed stays as it is.
        copied: Any = dict(value) if isinstance(value, dict) else list(value)
        key = self.rng.choice(list(copied)) if isinstance(copied, dict) else self.rng.randrange(len(copied))
        if isinstance(copied[key], dict | list) and copied[key] and self.rng.random() < 0.75:
            copied[key] = self._changed_once(copied[key], others)
            return copied
        self._damage(copied, key, others)
        return copied

    def _damage(self, container: Any, key: Any, others: Sequence[Json]) -> None:
        rng = self.rng
        choice = rng.random()
        if choice < 0.5:
            container[key] = self.odd()
        elif choice < 0.6:
            del container[key]
        elif choice < 0.7:
            container[key] = rng.choice(([container[key]], {"a": container[key]}, str(container[key])))
        elif choice < 0.8 and others:
            container[key] = self.part_of(rng.choice(others))
        elif isinstance(container, dict):
            name = rng.choice((*map(str, rng.sample(list(container), 1)), f"{key}x", "", "\ud800", "id", "type"))
            container[name] = container.pop(key) if choice < 0.9 else self.odd()
        else:
            container.extend([container[key]] * rng.choice((1, 1, 2, 100)))

    def part_of(self, value: Json) -> Json:
        """Something inside a value, at random."""
        while isinstance(value, dict | list) and value and self.rng.random() < 0.7:
            value = self.rng.choice(list(value.values()) if isinstance(value, dict) else value)
        return value

    def text(self, value: Json) -> bytes:
        """A value as JSON text, also one that JSON does not know; now and then with a key that stands twice."""
        encoded = json.dumps(value, ensure_ascii=self.rng.random() < 0.5).encode("utf-8", "surrogatepass")
        return self.with_double_key(encoded) if self.rng.random() < 0.1 else encoded

    def with_double_key(self, text: bytes) -> bytes:
        keys = list(_KEY.finditer(text))
        if not keys:
            return text
        found = self.rng.choice(keys)
        again = found[0] + json.dumps(self.rng.choice(ODD)).encode() + b","
        return text[: found.start()] + again + text[found.start() :]

    def spoiled(self, data: bytes, others: Sequence[bytes] = ()) -> bytes:
        """Bytes with one to four damages: flipped bits, cut, doubled, spliced, with pieces that parsers trip over."""
        spoiled = bytearray(data)
        for _ in range(self.rng.choice((1, 1, 2, 4))):
            spoiled = self._spoiled_once(spoiled, others)
        return bytes(spoiled[:MAX_BYTES])

    def _spoiled_once(self, data: bytearray, others: Sequence[bytes]) -> bytearray:
        rng = self.rng
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((1, 2, 4, 16, 200)))
        choice = rng.random()
        if choice < 0.3 and start < len(data):
            data[start] ^= 1 << rng.randrange(8)
        elif choice < 0.4:
            del data[start:end]
        elif choice < 0.45:
            del data[start:]
        elif choice < 0.55:
            data[start:start] = data[start:end] * rng.choice((1, 2, 20))
        elif choice < 0.65 and others:
            other = rng.choice(others)
            data[start:] = other[rng.randrange(len(other) + 1) :]
        elif choice < 0.85:
            data[start : start if rng.random() < 0.5 else end] = rng.choice(PIECES)
        else:
            data[start:end] = rng.randbytes(end - start)
        return data

    def json_input(self, seeds: Sequence[Json], keys: Sequence[str] = ()) -> bytes:
        """JSON text: mostly a changed seed, else spoiled text, or something made up."""
        choice = self.rng.random()
        if choice < 0.65:
            return self.text(self.changed(self.rng.choice(seeds), seeds))
        if choice < 0.9:
            return self.spoiled(self.text(self.rng.choice(seeds)))
        return self.text(self.made_up(5, keys) if keys else self.made_up(5))


def keys_in(values: Sequence[Json]) -> tuple[str, ...]:
    """All keys of objects in these values: made up objects use them, so that what lies below is reached."""
    found: dict[str, None] = {}

    def collect(value: Json) -> None:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        found.update(dict.fromkeys(value) if isinstance(value, dict) else {})
        for item in inner:
            collect(item)

    for value in values:
        collect(value)
    return tuple(found)
