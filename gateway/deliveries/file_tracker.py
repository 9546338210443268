"""Which files of a watched folder are news. Pure: looks at the folder and a clock come from outside.

A file is looked at by its stamp (size and time of change). While that differs from what was seen of its path, the file
waits; when it has not changed for a while, it is due, and its content decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from innkeeper.gateway.deliveries.watched_folder import FoundFile, Stamp

FileState = Literal["known", "taken", "passed"]
FileEvent = Literal["created", "changed"]

MAX_GONE = 10_000
"""Files that are remembered though they are gone; beyond that the oldest are forgotten."""


@dataclass(frozen=True)
class SeenFile:
    """What was seen of a path.

    Attributes:
        sha256: Of the content, where it was looked at.
        state: `known`: it was there from the start, or is of a kind that the trigger does not want; `taken`: a run came
            of it; `passed`: it was offered, and no run came.
        gone_at: When it was missed, in ms since 1970; 0 while it is there.
    """

    stamp: Stamp
    sha256: str | None
    state: FileState
    gone_at: int = 0


@dataclass(frozen=True)
class DueFile:
    """A file that is still by now. `event`: what happened to its path since it was seen last."""

    path: str
    stamp: Stamp
    event: FileEvent


@dataclass(frozen=True)
class Look:
    """What follows from one look.

    Attributes:
        due: The oldest first.
        changed: What is known of other paths by now: files that went, or came back as they were.
        next_in_s: When something will be due, if nothing changes; None: nothing waits.
    """

    due: tuple[DueFile, ...] = ()
    changed: Mapping[str, SeenFile] = field(default_factory=dict)
    next_in_s: float | None = None


class FileTracker:
    """What one trigger has seen, and what waits to be still.

    Times are those of a clock that nobody sets: a file may say that it was changed in a year to come.
    """

    def __init__(self, seen: Mapping[str, SeenFile], still_s: float) -> None:
        self.seen = dict(seen)
        self._still_s = still_s
        self._waiting: dict[str, tuple[Stamp, float]] = {}
        self._missing: dict[str, float] = {}

    def look(self, files: Mapping[str, FoundFile], *, now_s: float, now_ms: int) -> Look:
        """Compare what is there with what was seen.

        Args:
            now_s: Of a monotonic clock.
            now_ms: Since 1970.
        """
        changed = {path: seen for path in files if (seen := self._returned(path, files[path].stamp)) is not None}
        changed.update(self._gone(files, now_s, now_ms))
        self.seen.update(changed)
        self._waiting = {
            path: self._since(path, found.stamp, now_s)
            for path, found in files.items()
            if path not in self.seen or self.seen[path].stamp != found.stamp
        }
        ready = now_s - self._still_s
        still = {path: stamp for path, (stamp, since) in self._waiting.items() if since <= ready}
        oldest_first = sorted(still, key=lambda path: (still[path].mtime_ns, path))
        due = tuple(DueFile(path, still[path], self._event(path)) for path in oldest_first)
        later = [since - ready for _, since in self._waiting.values() if since > ready]
        later += [since - ready for since in self._missing.values()]
        return Look(due, changed, min(later, default=None))

    def note(self, path: str, seen: SeenFile) -> None:
        """This is what was seen of a path."""
        self.seen[path] = seen

    def surplus(self) -> list[str]:
        """Files that went long ago and are forgotten now."""
        gone = sorted((path for path in self.seen if self.seen[path].gone_at), key=lambda path: self.seen[path].gone_at)
        surplus = gone[: max(0, len(gone) - MAX_GONE)]
        for path in surplus:
            del self.seen[path]
        return surplus

    def _since(self, path: str, stamp: Stamp, now_s: float) -> tuple[Stamp, float]:
        waiting = self._waiting.get(path)
        return waiting if waiting is not None and waiting[0] == stamp else (stamp, now_s)

    def _returned(self, path: str, stamp: Stamp) -> SeenFile | None:
        seen = self.seen.get(path)
        return replace(seen, gone_at=0) if seen is not None and seen.gone_at and seen.stamp == stamp else None

    def _gone(self, files: Mapping[str, FoundFile], now_s: float, now_ms: int) -> dict[str, SeenFile]:
        """Files that have been missing as long as others must be still: an editor that saves removes a file first."""
        there = (path for path, seen in self.seen.items() if not seen.gone_at)
        self._missing = {path: self._missing.get(path, now_s) for path in there if path not in files}
        gone = [path for path, since in self._missing.items() if now_s - since >= self._still_s]
        for path in gone:
            del self._missing[path]
        return {path: replace(self.seen[path], gone_at=now_ms) for path in gone}

    def _event(self, path: str) -> FileEvent:
        seen = self.seen.get(path)
        return "created" if seen is None or seen.gone_at else "changed"


def known_from_start(
    files: Mapping[str, FoundFile], seen: Mapping[str, SeenFile], begun_ns: int
) -> dict[str, SeenFile]:
    """What a watch that begins does not take: all that came before that moment, and is not as it was seen."""
    return {
        path: SeenFile(found.stamp, None, "known")
        for path, found in files.items()
        if found.ctime_ns < begun_ns and (path not in seen or seen[path].stamp != found.stamp)
    }


def is_news(seen: SeenFile | None, sha256: str) -> bool:
    """Is the content of a due file another one than was seen at its path?

    A file that was only touched is none, unless no run came of it: so it can be offered again. One that was gone is.
    """
    return seen is None or seen.gone_at > 0 or seen.sha256 != sha256 or seen.state == "passed"
