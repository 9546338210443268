"""Loading the plugins anew when the gateway says so, beside what runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

log = logging.getLogger("innkeeper.link")


class Reloads:
    """Carries out the gateway's requests one at a time; of several that wait, the newest counts for all.

    A request names a token. It comes again with each connection, so one that was carried out is only answered.

    Args:
        send_soon: Asks for a frame, which takes the answer along.
        load: Loads the plugins, and says what others should know of it; whatever it raises is the answer.
    """

    def __init__(self, send_soon: Callable[[], None], load: Callable[[], Awaitable[None]]) -> None:
        self._send_soon = send_soon
        self._load = load
        self._wanted: str | None = None
        self._answer: dict[str, Any] | None = None
        self._done: dict[str, Any] | None = None
        self._task: asyncio.Task[None] | None = None

    def receive(self, token: str) -> None:
        """Take a request."""
        self._wanted = token
        if self._done is not None and self._done["token"] == token:
            self._tell(self._done)
        elif self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="reload")

    def take_answer(self) -> dict[str, Any] | None:
        """The answer that is due, once."""
        answer, self._answer = self._answer, None
        return answer

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        token = None
        while token != self._wanted:
            token = self._wanted
            answer: dict[str, Any] = {"token": token}
            try:
                await self._load()
                self._done = answer
            except Exception as error:
                log.exception("the plugins could not be loaded anew")
                answer["error"] = type(error).__name__
            self._tell(answer)

    def _tell(self, answer: dict[str, Any]) -> None:
        self._answer = answer
        self._send_soon()
