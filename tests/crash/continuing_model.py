"""A model server of the tests' own whose answers break off, and that goes on with them as a kind of providers does."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

KINDS = ("none", "trailing", "prefix", "continue_final_message", "partial")
PROMPT_TOKENS = 100
REFUSED = "This model does not support assistant message prefill."
Json = dict[str, Any]


def pieces_of(key: str, take: int) -> list[str]:
    """The answer that a conversation gets when it is asked the `take`-th time from the beginning."""
    words = [f"word{index}{'🙂' if index % 7 == 3 else ''}" for index in range(40)]
    return [
        f"Take {take} of {key}:\n\n ",
        *(f"{word}{'  ' if at % 9 == 0 else ' '}" for at, word in enumerate(words)),
        ".",
    ]


class ContinuingModel:
    """Answers `/KIND/v1/chat/completions`. The last message of the user names the conversation.

    Attributes:
        stops: Piece behind which the answer to each request of a conversation stops, in their order.
        breaks: It breaks the connection off there; else it says nothing more.
        requests, pieces, echoes: By conversation: how many it had, and what was said, and said again.
        told, cut: By conversation: the tokens of the answers that came to their end, which it tells, and the texts of
            those that did not.
    """

    def __init__(self, stops: tuple[int, ...], *, breaks: bool) -> None:
        self.url = ""
        self.stops, self.breaks = stops, breaks
        self.requests: Counter[str] = Counter()
        self.pieces: Counter[str] = Counter()
        self.echoes: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.cut: dict[str, list[str]] = defaultdict(list)
        self.bodies: dict[str, list[Json]] = defaultdict(list)
        self._takes: Counter[str] = Counter()
        self._goes_on = asyncio.Event()

    def go_on(self) -> None:
        """Say what is left of the answers that have stopped."""
        self._goes_on.set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            await self._answer(head.split("/")[1], body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, kind: str, body: Json, writer: asyncio.StreamWriter) -> None:
        key = next(message["content"] for message in reversed(body["messages"]) if message["role"] == "user")
        self.requests[key] += 1
        self.bodies[key].append(body)
        begun = body["messages"][-1]["content"] if body["messages"][-1]["role"] == "assistant" else ""
        if begun and (not is_understood(kind, body) or begun != begun.rstrip()):
            await _refuse(writer)
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        if begun and kind == "prefix":
            self.echoes[key] += 1
            await _say(writer, begun[:9])
            await _say(writer, begun[9:])
        await self._say_rest(key, begun, writer)

    async def _say_rest(self, key: str, begun: str, writer: asyncio.StreamWriter) -> None:
        if not begun:
            self._takes[key] += 1
        pieces, said, count = pieces_of(key, self._takes[key]), "", 0
        assert "".join(pieces).startswith(begun), f"{begun!r} is not what was said"
        number = self.requests[key]
        stop = self.stops[number - 1] if number <= len(self.stops) else len(pieces)
        for place, piece in enumerate(pieces):
            if place == stop:
                self.cut[key].append(said[len(begun) :])
                if self.breaks:
                    return
                await self._goes_on.wait()
                self.cut[key].pop()
            rest = (said + piece)[max(len(begun), len(said)) :]
            said += piece
            if rest:
                self.pieces[key] += len(said.rstrip()) > len(begun)
                count += 1
                await _say(writer, rest)
        self.told[key] += count
        await _say(writer, None, count)


def is_understood(kind: str, body: Mapping[str, Any]) -> bool:
    """Does the request go on with an answer in the way of this kind of providers, and in no other?"""
    last = body["messages"][-1]
    found = {
        "prefix": last.get("prefix") is True,
        "partial": last.get("partial") is True,
        "continue_final_message": body.get("continue_final_message") is True
        and body.get("add_generation_prompt") is False,
    }
    if kind == "trailing":
        return not any(found.values())
    return found.get(kind, False) and sum(found.values()) == 1


async def _refuse(writer: asyncio.StreamWriter) -> None:
    body = json.dumps({"error": {"message": REFUSED, "type": "invalid_request_error"}}).encode()
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n")
    writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    await writer.drain()


async def _say(writer: asyncio.StreamWriter, text: str | None, count: int = 0) -> None:
    """One event of the stream; None: the last ones, with `count` tokens of the answer."""
    delta: Json = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if text is None else None}
    part: Json = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    if text is None:
        part["usage"] = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": count}
    writer.write(f"data: {json.dumps(part)}\n\n".encode())
    if text is None:
        writer.write(b"data: [DONE]\n\n")
    await writer.drain()


@asynccontextmanager
async def continuing_model(stops: tuple[int, ...], *, breaks: bool = False) -> AsyncIterator[ContinuingModel]:
    model = ContinuingModel(stops, breaks=breaks)
    server = await asyncio.start_server(model.handle, "127.0.0.1", 0)
    model.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield model
    finally:
        server.close()
