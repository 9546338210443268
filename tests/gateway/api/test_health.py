"""A gateway whose event log cannot be used says so, before anybody has tried to write."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import httpx

from tests.gateway.conftest import Stack


def rename(file: Path, old: str, new: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.execute(f"ALTER TABLE runs RENAME COLUMN {old} TO {new}")


async def log_check(http: httpx.AsyncClient) -> tuple[int, Any]:
    answer = await http.get("/readyz")
    return answer.status_code, answer.json()["checks"]["log"]


async def test_log_that_cannot_be_read_makes_the_gateway_not_ready(stack: Stack) -> None:
    events = stack.settings.events_path
    async with stack.gateway(), stack.http() as http:
        assert (await log_check(http))[1] == "ok"
        rename(events, "last_seq", "last")
        status, found = await log_check(http)
        assert status == 503
        assert "last_seq" in found
        rename(events, "last", "last_seq")
        assert (await log_check(http))[1] == "ok"
