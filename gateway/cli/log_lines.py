"""The logs of all parts of a stack as one: lines in the order of their time, of one run where somebody asks for it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from innkeeper.gateway.cli.live_view import clean

TAIL_BYTES = 4_000_000
"""Of each file no more than its end is read."""
POLL_S = 0.3
_HEAD = frozenset({"ts", "level", "logger", "message", "where"})


@dataclass(frozen=True)
class LogLine:
    """A line of the log of one part (`gateway`, `worker-1`, ...). `fields` is empty when it is no line of ours."""

    part: str
    raw: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def moment(self) -> str:
        return str(self.fields.get("ts", ""))

    def concerns(self, run: str) -> bool:
        """Is it about a run, or a group of it?"""
        return run in self.raw

    def shown(self) -> str:
        """The line for people."""
        if not self.fields:
            return clean(f"{self.part}  {self.raw}")
        moment = self.moment[11:23] or "-"
        more = " ".join(f"{key}={_word(value)}" for key, value in self.fields.items() if key not in _HEAD)
        level = str(self.fields.get("level", "")).upper()
        head = f"{moment}  {self.part:<9} {level:<7} {self.fields.get('message', '')}"
        where = self.fields.get("where")
        trace = "".join(f"\n    {place}" for place in where) if isinstance(where, list) else ""
        return clean(f"{head}  {more}".rstrip() + trace)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_line(part: str, raw: str) -> LogLine:
    """A line as it stands in a file."""
    try:
        fields = json.loads(raw) if raw.startswith("{") else {}
    except ValueError:
        fields = {}
    return LogLine(part, raw, fields if isinstance(fields, dict) else {})


class Logs:
    """The log files of a folder, read from their end on.

    Args:
        part: Only this part's file.
    """

    def __init__(self, folder: Path, part: str | None = None) -> None:
        self._folder = folder
        self._part = part
        self._read: dict[Path, int] = {}

    def files(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.log") if self._part in (None, path.stem))

    def new_lines(self) -> list[LogLine]:
        """What has come since the last call; lines without a time stay behind the one before them."""
        found: list[tuple[str, LogLine]] = []
        for path in self.files():
            moment = ""
            for raw in self._new_text(path).splitlines():
                line = read_line(path.stem, raw)
                moment = line.moment or moment
                found.append((moment, line))
        return [line for _, line in sorted(found, key=lambda item: item[0])]

    def _new_text(self, path: Path) -> str:
        """Whole lines that were not read yet. A file that became shorter was begun anew."""
        try:
            with path.open("rb") as opened:
                size = opened.seek(0, 2)
                begin = self._read.get(path, max(0, size - TAIL_BYTES))
                opened.seek(0 if size < begin else begin)
                data = opened.read(TAIL_BYTES)
                end = data.rfind(b"\n") + 1
                self._read[path] = opened.tell() - len(data) + end
        except OSError:
            return ""
        return data[:end].decode("utf-8", "replace")

    def follow(self) -> Iterator[LogLine]:
        """Lines as they come, for ever."""
        while True:
            yield from self.new_lines()
            time.sleep(POLL_S)
