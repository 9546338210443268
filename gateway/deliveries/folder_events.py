"""What the system tells of changes in folders. Hints: an event says that a look is worth it, and none may be trusted to
come.

All folders share one thread and one instance of inotify: a system has few of these, and a thread for each folder would
take those that requests run in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from innkeeper.gateway.deliveries.watched_folder import Place

logger = logging.getLogger("innkeeper.gateway.files")

MAX_PLACES = 4_000
"""Folders with events; systems have from 8,192 on for all programs of a user."""
GATHER_MS = 100
"""Events so close together are told at once."""
SETTLED_MS = 500
"""A thread without events says so often that it is at work."""
RETRY_S = 60.0

Wake = Callable[[], None]


@dataclass(frozen=True)
class _Interest:
    places: frozenset[Place]
    wake: Wake


class FolderEvents:
    """Wakes those who watch folders. Called on the event loop; `aclose` ends its thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._interests: dict[object, _Interest] = {}
        self._watched: frozenset[Place] = frozenset()
        self._thread: _WatchThread | None = None
        self._failed_at: float | None = None
        self._is_warned = False

    def watch(self, owner: object, places: Collection[Place], wake: Wake) -> bool:
        """From now on call `wake` after changes in these folders, not below them.

        Returns:
            Whether events are to be expected. Without them the owner looks often.
        """
        interest = self._interests.get(owner)
        is_same = interest is not None and interest.places == places
        if interest is None or not is_same:
            interest = self._interests[owner] = _Interest(frozenset(places), wake)
        if not is_same or self._failed_at is not None:
            self._bring_up()
        return bool(places) and self._failed_at is None and self._watched >= interest.places

    def forget(self, owner: object) -> None:
        self._interests.pop(owner, None)
        self._bring_up()

    async def aclose(self) -> None:
        self._interests.clear()
        if self._thread is not None:
            self._thread.stop.set()
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _bring_up(self) -> None:
        """Let the thread watch what is wanted. A new thread takes the place of the one before."""
        if self._failed_at is not None and self._loop.time() - self._failed_at < RETRY_S:
            return
        wanted: frozenset[Place] = frozenset()
        for interest in self._interests.values():
            more = wanted | interest.places
            # All folders of an owner or none: it then looks often, and at all of them.
            wanted = more if len(more) <= MAX_PLACES else wanted
        if wanted == self._watched and self._failed_at is None:
            return
        if self._thread is not None:
            self._thread.stop.set()
        self._failed_at, self._watched, self._thread = None, wanted, None
        if wanted:
            self._thread = _WatchThread(sorted({place.path for place in wanted}), self._loop, self._tell, self._failed)
            self._thread.start()

    def _tell(self, thread: _WatchThread, folders: set[str] | None) -> None:
        """Something changed in these folders; None: the thread has just begun, and what came before was not seen."""
        if thread is not self._thread:
            return
        self._is_warned = False
        for interest in list(self._interests.values()):
            if folders is None or any(place.path in folders for place in interest.places):
                interest.wake()

    def _failed(self, thread: _WatchThread, error: Exception) -> None:
        if thread is not self._thread:
            return
        # A folder that went at this moment is no news: its owner looks again.
        is_lasting = not isinstance(error, FileNotFoundError)
        if is_lasting and not self._is_warned:
            logger.warning("the system tells no events of files (%s): folders are looked at often", error)
            self._is_warned = True
        self._thread, self._watched = None, frozenset()
        self._failed_at = self._loop.time() - (0 if is_lasting else RETRY_S)
        for interest in list(self._interests.values()):
            interest.wake()


class _WatchThread(threading.Thread):
    """Waits for events of some folders. What it finds it tells on the event loop."""

    def __init__(
        self,
        paths: Collection[str],
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[_WatchThread, set[str] | None], None],
        failed: Callable[[_WatchThread, Exception], None],
    ) -> None:
        super().__init__(name="file-events", daemon=True)
        self.stop = threading.Event()
        self._paths = paths
        self._loop = loop
        self._told = tell
        self._failed = failed

    def run(self) -> None:
        # The loop may be closed before this thread has noticed its stop.
        with contextlib.suppress(RuntimeError):
            try:
                for folders in self._changes():
                    self._loop.call_soon_threadsafe(self._told, self, folders)
            except Exception as error:
                self._loop.call_soon_threadsafe(self._failed, self, error)

    def _changes(self) -> Iterator[set[str] | None]:
        # Loaded here: who watches no files does without it.
        from watchfiles import watch

        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it logs every change

        # Not recursive: that would follow symbolic links out of the folder, and watch what nobody looks at.
        found = watch(
            *self._paths,
            watch_filter=None,
            step=GATHER_MS,
            stop_event=self.stop,
            rust_timeout=SETTLED_MS,
            yield_on_timeout=True,
            recursive=False,
            ignore_permission_denied=True,
            raise_interrupt=False,
        )
        is_first = True
        for changes in found:
            if is_first:
                yield None
                is_first = False
            if changes:
                paths = {path for _, path in changes}
                yield paths | {os.path.dirname(path) for path in paths}
