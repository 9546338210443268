"""Timed effects: sticky, cooldown, and the delay at the beginning of a chat.

The state is JSON: `{"sticky": {"book.uid": {"hash", "start", "end", "protected"}}, "cooldown": {...}}`; `start` and
`end` are lengths of the chat. SillyTavern keeps it under the same names in a chat's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from hashlib import blake2b
from typing import Any, Literal

from innkeeper.nodes.tavern.world_info.entry import Entry, number

Effect = dict[str, Any]
Kind = Literal["sticky", "cooldown"]
MAX_EFFECTS = 100_000


class TimedEffects:
    """The effects that run in this turn, and the state for the next.

    Attributes:
        sticky, cooldown: Keys of the entries for which the effect runs.
    """

    def __init__(self, state: Mapping[str, Any], entries: Mapping[str, Entry], length: int, *, dry_run: bool) -> None:
        self._entries = entries
        self._length = length
        self._dry_run = dry_run
        self._state = {kind: _read_effects(state.get(kind)) for kind in ("sticky", "cooldown")}
        self.sticky: set[str] = set()
        self.cooldown: set[str] = set()
        if not dry_run:
            self.sticky = self._running("sticky")
            self.cooldown = self._running("cooldown")

    def is_delayed(self, entry: Entry) -> bool:
        return self._length < entry.delay

    def start(self, keys: Iterable[str]) -> None:
        """Begin the effects of entries that became active. One that runs already goes on."""
        if self._dry_run:
            return
        for key in keys:
            entry = self._entries[key]
            if entry.sticky:
                self._state["sticky"].setdefault(key, self._effect(entry, entry.sticky))
            if entry.cooldown:
                self._state["cooldown"].setdefault(key, self._effect(entry, entry.cooldown))

    def to_json(self) -> dict[str, dict[str, Effect]]:
        return {kind: {key: dict(effect) for key, effect in effects.items()} for kind, effects in self._state.items()}

    def _running(self, kind: Kind) -> set[str]:
        effects = self._state[kind]
        running = set()
        for key, effect in list(effects.items()):
            if self._runs(kind, key, effect):
                running.add(key)
            elif not self._is_foreign(key, effect):
                del effects[key]
                self._ended(kind, key, effect)
        return running

    def _runs(self, kind: Kind, key: str, effect: Effect) -> bool:
        entry = self._entries.get(key)
        if entry is None or self._is_undone(effect) or not getattr(entry, kind):
            return False
        return self._length < effect["end"] and effect["hash"] in (None, hash_of(entry))

    def _is_foreign(self, key: str, effect: Effect) -> bool:
        """Of a book that is not in use now, and not over yet."""
        return key not in self._entries and not self._is_undone(effect) and self._length < effect["end"]

    def _is_undone(self, effect: Effect) -> bool:
        """The chat is no longer than when it began: that turn was taken back."""
        return self._length <= effect["start"] and not effect["protected"]

    def _ended(self, kind: Kind, key: str, effect: Effect) -> None:
        """When sticky has run its time, the cooldown begins anew."""
        entry = self._entries.get(key)
        if kind != "sticky" or entry is None or not entry.sticky or not entry.cooldown or self._is_undone(effect):
            return
        if effect["hash"] in (None, hash_of(entry)):
            self._state["cooldown"][key] = self._effect(entry, entry.cooldown, protected=True)

    def _effect(self, entry: Entry, messages: int, *, protected: bool = False) -> Effect:
        end = self._length + messages
        return {"hash": hash_of(entry), "start": self._length, "end": end, "protected": protected}


def hash_of(entry: Entry) -> str:
    """A mark of an entry's fields: an effect ends when its entry is changed."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry) if field.name != "raw"}
    return blake2b(json.dumps(values, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def _read_effects(effects: Any) -> dict[str, Effect]:
    if not isinstance(effects, Mapping):
        return {}
    read = {}
    for key, effect in list(effects.items())[:MAX_EFFECTS]:
        if not isinstance(effect, Mapping):
            continue
        start, end = number(effect.get("start")), number(effect.get("end"))
        if start is not None and end is not None:
            mark = effect.get("hash")
            read[str(key)] = {
                # A number is SillyTavern's own mark, which only SillyTavern can compare.
                "hash": mark if isinstance(mark, str) else None,
                "start": start,
                "end": end,
                "protected": effect.get("protected") is True,
            }
    return read
