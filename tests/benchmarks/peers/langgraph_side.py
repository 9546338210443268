"""LangGraph on its own checkpointer: `langgraph_side.py FOLDER sqlite|sqlite-normal|memory`. See `serving.py`.

`sqlite` is the checkpointer as it comes (WAL, every commit synced to the disk), `sqlite-normal` syncs as our log and
our server do (synchronous=NORMAL: the death of a process loses nothing). Every step is written before the next one
begins (durability "sync").
"""

from __future__ import annotations

import asyncio
import contextlib
import operator
import sys
import uuid
from collections.abc import AsyncIterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypedDict

import aiosqlite
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from serving import quiet_stdout, serve

PACKAGES = ("langgraph", "langgraph-checkpoint-sqlite")


class Row(TypedDict):
    """What goes along a chain."""

    text: str
    ran: int


class Fan(TypedDict):
    """What independent nodes give together."""

    texts: Annotated[list[str], operator.add]


async def step(state: Row) -> dict[str, Any]:
    return {"text": state["text"], "ran": state["ran"] + 1}


async def give(state: Fan) -> dict[str, Any]:
    return {"texts": ["x"]}


def chain(length: int) -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(Row)
    names = [f"n{number}" for number in range(length)]
    for name in names:
        graph.add_node(name, step)
    ends = [START, *names, END]
    for source, target in pairwise(ends):
        graph.add_edge(source, target)
    return graph


def fan_out(width: int) -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(Fan)
    for number in range(width):
        graph.add_node(f"n{number}", give)
        graph.add_edge(START, f"n{number}")
        graph.add_edge(f"n{number}", END)
    return graph


@contextlib.asynccontextmanager
async def saver(folder: Path, kind: str) -> AsyncIterator[Any]:
    if kind == "memory":
        yield InMemorySaver()
        return
    async with aiosqlite.connect(folder / "langgraph.db") as connection:
        if kind == "sqlite-normal":
            await connection.execute("PRAGMA synchronous=NORMAL")
        yield AsyncSqliteSaver(connection)


async def main(folder: Path, kind: str, answers: int) -> None:
    async with saver(folder, kind) as checkpointer:

        @cache
        def compiled(shape: str, size: int) -> Any:
            return (chain if shape == "chain" else fan_out)(size).compile(checkpointer=checkpointer)

        async def run(shape: str, size: int) -> int:
            config = {"configurable": {"thread_id": uuid.uuid4().hex}, "recursion_limit": size + 10}
            start = {"text": "x", "ran": 0} if shape == "chain" else {"texts": []}
            end = await compiled(shape, size).ainvoke(start, config, durability="sync")
            return int(end["ran"]) if shape == "chain" else len(end["texts"])

        await serve(run, PACKAGES, answers)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], quiet_stdout()))
