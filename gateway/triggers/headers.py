"""HTTP headers as they came: bytes or text, doubled or not."""

from __future__ import annotations

from collections.abc import Iterable

RawHeaders = Iterable[tuple[bytes | str, bytes | str]]
"""Names and values in the order in which they came. ASGI gives bytes, Starlette the same bytes as Latin-1 text."""


class DoubledHeader(ValueError):
    """A header that must come once came twice: sender, proxy and we could each mean another one of them."""


class Headers:
    """Looks up headers by lower-case name."""

    def __init__(self, raw: RawHeaders) -> None:
        self._values: dict[str, list[bytes]] = {}
        for name, value in raw:
            self._values.setdefault(_name(name), []).append(_value(value))

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def items(self) -> Iterable[tuple[str, list[bytes]]]:
        return self._values.items()

    def one(self, name: str) -> bytes | None:
        """The value of a header; None when it did not come.

        Raises:
            DoubledHeader: It came more than once, be it with the same value.
        """
        values = self._values.get(name, [])
        if len(values) > 1:
            raise DoubledHeader(f"the header {name!r} came {len(values)} times")
        return values[0] if values else None


def _name(name: bytes | str) -> str:
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    # Only ASCII letters: `lower` of other scripts can make two names one ("K" of Kelvin is "k").
    return text.lower() if text.isascii() else text


def _value(value: bytes | str) -> bytes:
    if isinstance(value, bytes):
        return value.strip(b" \t")
    try:
        return value.encode("latin-1").strip(b" \t")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass").strip(b" \t")
