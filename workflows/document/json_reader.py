"""Reading untrusted JSON field by field: wrong shapes become problems, and reading goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from innkeeper.nodes.errors import Problem
from innkeeper.workflows.document.spelling import misspelt

MAX_ODD = 100
_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}


class Reader:
    """One JSON object. `place` says where it stands; `node` and `edge` name what problems are about.

    All readers of a document share one list of problems, and one of what is odd about it.
    """

    def __init__(self, raw: Any, place: str, above: Reader | None = None) -> None:
        self.problems: list[Problem] = [] if above is None else above.problems
        self.odd: list[Problem] = [] if above is None else above.odd
        self.place = place
        self.node: str | None = None
        self.edge: str | None = None
        self.raw: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
        self._broken = not isinstance(raw, Mapping)
        if self._broken:
            self._complain(f"{place} must be an object, found {kind(raw)}")

    def inner(self, raw: Any, place: str) -> Reader:
        return Reader(raw, place, self)

    def look_for_misspelt(self, known: frozenset[str]) -> None:
        """Warn of keys that are nearly known ones: their values are not read. Editors may have keys of their own."""
        for key in self.raw.keys() - known:
            meant = misspelt(key, known)
            if meant is not None and len(self.odd) < MAX_ODD:
                message = f"{self.place} has the key {key!r}, which is not read; did you mean {meant!r}?"
                self.odd.append(Problem("unknown_key", message, level="warning", node=self.node, edge=self.edge))

    def children(self, key: str) -> Iterator[tuple[str, Reader]]:
        """The objects of a map, each with a reader of its own."""
        for name, item in self.mapping(key).items():
            yield name, self.inner(item, f"{key}[{name!r}]")

    def text(self, key: str) -> str:
        """A text that must be there; "" after a problem."""
        if key not in self.raw and not self._broken:
            self._complain(f"{self.place} has no {key!r}")
        return self.optional_text(key) or ""

    def optional_text(self, key: str) -> str | None:
        value = self._take(key, str)
        return value if isinstance(value, str) else None

    def flag(self, key: str) -> bool:
        return bool(self._take(key, bool))

    def number(self, key: str) -> float | None:
        value = self.raw.get(key)
        if isinstance(value, bool):
            self._wrong(key, "a number")
            return None
        taken = self._take(key, int, float)
        return taken if isinstance(taken, int | float) else None

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self._take(key, dict)
        return value if isinstance(value, Mapping) else {}

    def items(self, key: str, required: bool = False) -> list[Any]:
        if required and self.raw.get(key) is None and not self._broken:
            self._complain(f"{self.place} has no {key!r}")
        value = self._take(key, list)
        return value if isinstance(value, list) else []

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            self._wrong(key, "a list of texts")
            return ()
        return tuple(values)

    def orders(self, key: str) -> dict[str, tuple[str, ...]]:
        """A map of lists of texts."""
        inner = self.inner(self.mapping(key), f"{key!r} of {self.place}")
        inner.node = self.node
        return {slot: inner.texts(slot) for slot in inner.raw}

    def _take(self, key: str, *kinds: type) -> Any:
        """The value when it is of one of these kinds; None, with a problem unless it is null or absent, when not."""
        value = self.raw.get(key)
        if value is None or isinstance(value, kinds):
            return value
        self._wrong(key, _KINDS[kinds[0]])
        return None

    def _wrong(self, key: str, expected: str) -> None:
        self._complain(f"{key!r} of {self.place} must be {expected}, found {kind(self.raw.get(key))}")

    def _complain(self, message: str) -> None:
        self.problems.append(Problem("invalid_document", message, node=self.node, edge=self.edge))


def kind(value: Any) -> str:
    """The JSON kind of a value, in words that carry nothing of the value."""
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)


def quoted_names(names: list[str]) -> str:
    """The names as a message lists them: ten at most."""
    shown = ", ".join(repr(name) for name in names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown or "none"
