"""Tasks that everything hangs on: their unexpected end is never silent.

A process that lost such a task looks alive and does nothing. So the end is logged with its traceback and ends the
process with `CRASHED`, and its supervisor starts it again. A program that only embeds parts of ours keeps running,
unless it calls `end_process_with_tasks` itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

logger = logging.getLogger("innkeeper.tasks")

CRASHED = 70
"""Exit code of a process that has lost a critical task (`EX_SOFTWARE`)."""

_on_loss: Callable[[str], None] | None = None


def run_critical(work: Coroutine[Any, Any, None], name: str, *, may_return: bool = False) -> asyncio.Task[None]:
    """Run work that is to go on until its owner cancels the task.

    When it raises, or returns by itself, that is an error: see `end_process_with_tasks`.

    Args:
        may_return: It knows when it is done; only an exception is an error.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_note_exception if may_return else _note_end)
    return task


def end_process_with_tasks(on_loss: Callable[[str], None] | None = None) -> None:
    """From now on this process ends when a critical task does. For entry points of processes.

    Args:
        on_loss: What to do instead of ending the process; gets the task's name. For tests.
    """
    global _on_loss
    _on_loss = on_loss or _end_process


def forget_process() -> None:
    """Only log the end of critical tasks, as at the start."""
    global _on_loss
    _on_loss = None


def _note_end(task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    name = task.get_name()
    trace = None if error is None else (type(error), error, error.__traceback__)
    logger.critical("the task %r has ended by itself", name, extra={"event": "critical_task_lost"}, exc_info=trace)
    if _on_loss is not None:
        _on_loss(name)


def _note_exception(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _note_end(task)


def _end_process(name: str) -> None:
    # At once: what an orderly end would wait for may wait for the task that is gone.
    for handler in logging.getLogger().handlers:
        handler.flush()
    print(f"innkeeper: the task {name!r} has ended by itself; this process ends", file=sys.stderr, flush=True)
    os._exit(CRASHED)
