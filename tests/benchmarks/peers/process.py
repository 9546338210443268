"""The process of a peer, as `serving.py` describes it from the other end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from innkeeper.nodes.errors import InnkeeperError

ANSWER_S = 300.0
STOP_S = 5.0
_FOREIGN = ("LANGSMITH_", "LANGCHAIN_", "DBOS_")
"""Somebody's own settings, which could send traces away or change what is measured."""


class Peer:
    """A peer that runs for as long as an `async with` block lasts. It also ends when we die: its input ends then."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.versions: dict[str, str] = {}
        self._command = command
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C comes to us alone
            )
        try:
            self.versions = (await self._answer())["versions"]
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Send one line and give the line that answers it.

        Raises:
            InnkeeperError: It ended, or took too long.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it has ended: the missing answer says so
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            await self._process.stdin.drain()
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(ANSWER_S):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise InnkeeperError(f"{self._command[1]} did not answer within {ANSWER_S:.0f} s") from error
        if not line:
            said = self._log.read_text(errors="replace").strip().splitlines()
            raise InnkeeperError(f"{self._command[1]} ended: {said[-1] if said else 'it said nothing'}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
