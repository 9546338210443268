"""The counterpart of the webhook rows: a plain FastAPI app that commits each body to SQLite. Takes folder and port."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response

DATABASE = "plain.db"


class Table:
    """One table in a database with the settings of ours. A thread of its own writes to it."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS deliveries (number INTEGER PRIMARY KEY, body BLOB)")

    async def add(self, body: bytes) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._add, body)

    def _add(self, body: bytes) -> None:
        self._connection.execute("INSERT INTO deliveries (body) VALUES (?)", (body,))
        self._connection.commit()


def app(path: Path) -> FastAPI:
    @asynccontextmanager
    async def lifespan(made: FastAPI) -> AsyncIterator[None]:
        made.state.table = Table(path)
        yield

    made = FastAPI(lifespan=lifespan)

    @made.post("/hooks/{token}", status_code=202)
    async def receive(token: str, request: Request) -> Response:
        await request.app.state.table.add(await request.body())
        return Response(b'{"status":"fired"}', 202, media_type="application/json")

    return made


if __name__ == "__main__":
    uvicorn.run(app(Path(sys.argv[1]) / DATABASE), port=int(sys.argv[2]), log_level="warning", http="h11")
