"""Who waits for an answer of the gateway: for an acknowledgement, or for what the log says to an OPEN."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from innkeeper.nodes.kept_stream import KeptStream

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What the log says to an OPEN. `status`: `ok`, `fenced`, `finished` (with the logged outputs) or `away`.

    `next`, `used`, `text`: where a resumed node goes on: its next chunk, the input chunks consumed, the text so far.
    `kept`: what an earlier attempt has sent and this one keeps; `next` goes on behind it.
    """

    status: str
    next: int = 0
    outputs: dict[str, Any] | None = None
    used: int = 0
    text: str = ""
    kept: KeptStream | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Answer:
        return cls(
            data["s"],
            next=data.get("next") or 0,
            outputs=data.get("outputs"),
            used=data.get("used") or 0,
            text=data.get("text") or "",
            kept=KeptStream.from_json(data["kept"]) if data.get("kept") else None,
        )


AWAY = Answer("away")


class PendingAnswers:
    """Futures by message number. `give_up` ends all of them: the gateway is away too long to wait for."""

    def __init__(self) -> None:
        self._acknowledged = 0
        # A heap: who waits again after an outage waits for an older message than others do. The second number keeps
        # futures from being compared.
        self._acknowledgements: list[tuple[int, int, asyncio.Future[bool]]] = []
        self._order = itertools.count()
        self._answers: dict[int, asyncio.Future[Answer]] = {}

    def __len__(self) -> int:
        return len(self._acknowledgements) + len(self._answers)

    def is_acknowledged(self, n: int) -> bool:
        return n <= self._acknowledged

    async def acknowledgement(self, n: int) -> bool:
        """Wait until message `n` is acknowledged; False when that was given up."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._acknowledgements, (n, next(self._order), future))
        return await future

    async def answer(self, n: int, timeout_s: float) -> Answer:
        """Wait for the answer to message `n`, at most `timeout_s`; `AWAY` when there is none by then."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[n] = future
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return AWAY
        finally:
            self._answers.pop(n, None)

    def acknowledge(self, n: int) -> None:
        self._acknowledged = max(self._acknowledged, n)
        while self._acknowledgements and self._acknowledgements[0][0] <= n:
            _set(heapq.heappop(self._acknowledgements)[2], True)

    def receive(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Answers by message number, as they come in a frame. Nobody waits for some of them any more."""
        for n, answer in answers.items():
            if (future := self._answers.get(int(n))) is not None:
                _set(future, Answer.from_json(answer))

    def give_up(self) -> None:
        for _, _, waiting in self._acknowledgements:
            _set(waiting, False)
        self._acknowledgements.clear()
        for future in self._answers.values():
            _set(future, AWAY)


def _set(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
