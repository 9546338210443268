"""A server on a raw socket that plays the bytes of `tests/vectors/llm_wire.json`.

The path of a request names the case: `/c/NAME.ANYTHING/v1/chat/completions`. Whether a stream is asked is read from the
body. Each request gets the next of the case's responses, the last one again and again.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

Mode = Literal["stream", "batch"]
Operation = dict[str, Any]
CASES_FILE = Path(__file__).parents[3] / "vectors" / "llm_wire.json"
_RESET = struct.pack("ii", 1, 0)


def wire_cases() -> dict[str, dict[str, Any]]:
    """All cases by name."""
    return {case["name"]: case for case in json.loads(CASES_FILE.read_text())}


class WireServer:
    """Plays cases until it is left.

    Attributes:
        requests: Each request: case, mode, headers with names in lower case, and the JSON of its body.
        targets: Path and query of each request.
        closed: Set when a client has hung up on an operation that waits.

    Args:
        cases: By default those of the file.
        pace: What waits (`sleep`, `hang`) takes so many times as long as it says.
    """

    def __init__(self, cases: dict[str, dict[str, Any]] | None = None, *, pace: float = 1.0, port: int = 0) -> None:
        self._cases = wire_cases() if cases is None else cases
        self._pace = pace
        self._port = port
        self.requests: list[tuple[str, Mode, dict[str, str], Any]] = []
        self.targets: list[str] = []
        self.closed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def base_url(self, case: str, run: str = "x") -> str:
        """The base URL at which a case is played."""
        return f"{self.address}/c/{case}.{run}/v1"

    def count(self, case: str, mode: Mode | None = None) -> int:
        """How many requests a case got."""
        return sum(1 for name, asked, _, _ in self.requests if name == case and mode in (None, asked))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Play one response; says whether the connection stays open for the next."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = json.loads(body) if body else {}
        target = first.split()[1]
        self.targets.append(target)
        name = target.removeprefix("/c/").partition("/")[0].partition(".")[0]
        mode: Mode = "stream" if asked.get("stream") or first.startswith("GET") else "batch"
        number = self.count(name, mode)
        self.requests.append((name, mode, headers, asked))
        case = self._cases[name]
        responses = case.get(mode, case.get("batch", case.get("stream")))["responses"]
        return await self._play(responses[min(number, len(responses) - 1)], reader, writer)

    async def _play(
        self, operations: Sequence[Operation], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        stays_open = False
        for operation in operations:
            match operation:
                case {"send": text}:
                    writer.write(text.encode("utf-8", "surrogatepass"))
                    await writer.drain()
                case {"sendBase64": text}:
                    writer.write(base64.b64decode(text))
                    await writer.drain()
                case {"sleep": seconds} | {"hang": seconds}:
                    await self._wait(seconds * self._pace, reader)
                case {"rst": _}:
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    writer.transport.abort()
                    return False
                case {"keep": _}:
                    stays_open = True
        return stays_open

    async def _wait(self, seconds: float, reader: asyncio.StreamReader) -> None:
        """Sleep, unless the client hangs up."""
        gone = asyncio.create_task(reader.read(1))
        done, _ = await asyncio.wait({gone}, timeout=seconds)
        gone.cancel()
        if done:
            self.closed.set()
            raise ConnectionResetError


async def _main() -> None:
    async with WireServer(port=8790) as server:
        print(server.address)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
