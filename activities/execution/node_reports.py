"""What a node tells of itself while it runs, its progress and its log lines, on their way out of the node."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any

from innkeeper.activities.execution.errors import message_of, redact
from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.activities.sanitize import finite_number, json_details

PROGRESS_S = 0.1
"""How often the progress of one node is sent."""


class ProgressReporter:
    """`NodeContext.progress` of one node run. Never raises; a node may call it from a thread of its own.

    `home`: the event loop of the link, when it is not made there.
    """

    def __init__(
        self,
        link: GatewayLink,
        attempt: NodeAttempt,
        logger: logging.LoggerAdapter[logging.Logger],
        home: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._link = link
        self._attempt = attempt
        self._logger = logger
        self._loop = home or asyncio.get_running_loop()
        self._sent_at = 0.0
        self._is_at_end = False
        self._has_warned = False

    def __call__(self, value: object, maximum: object) -> None:
        done, total = finite_number(value), finite_number(maximum)
        if done is None or total is None:
            self._warn(value, maximum)
            return
        now = time.monotonic()
        # The end is told at once, but not again and again: a node may go on behind it.
        is_new_end = done >= total and not self._is_at_end
        if not is_new_end and now - self._sent_at < PROGRESS_S:
            return
        self._sent_at, self._is_at_end = now, done >= total
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has ended, only this thread lives
            self._loop.call_soon_threadsafe(self._link.progress, self._attempt, done, total)

    def _warn(self, value: object, maximum: object) -> None:
        if not self._has_warned:
            self._has_warned = True
            types = f"{type(value).__name__} of {type(maximum).__name__}"
            self._logger.warning("progress that is no finite number is ignored: %s", types)


class NodeLog(logging.LoggerAdapter[logging.Logger]):
    """`NodeContext.logger`: adds to each line which run and node it is of, and bounds what the node says in it.

    Args:
        revealed: The secrets that the node has been shown so far; they are masked. It may grow.
    """

    def __init__(self, logger: logging.Logger, extra: Mapping[str, object], revealed: Collection[str] = ()) -> None:
        super().__init__(logger, extra)
        self._revealed = revealed

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if not self.isEnabledFor(level):
            return
        revealed = tuple(self._revealed)
        extra = redact(json_details(kwargs.pop("extra", None) or {}), revealed)
        # One frame more: the line is of who called the node's logger, not of this method.
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        text = message_of(_text(msg, args), revealed)
        self.logger.log(level, "%s", text, **kwargs, extra={**extra, **(self.extra or {})})


def _text(msg: object, args: tuple[object, ...]) -> object:
    """The line as `logging` makes it; the bare message when it does not fit its arguments."""
    if not args:
        return msg
    values = args[0] if len(args) == 1 and isinstance(args[0], dict) and args[0] else args
    try:
        return str(msg) % values
    except Exception:  # a wrong placeholder, or whatever the `__str__` of a node's own class does
        return msg
