"""What a node raises beyond ordinary exceptions, told as an error of the node.

`sys.exit()` in a node, or a cancellation that nobody asked for, would otherwise end the worker's event loop or pass as
an interruption of the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import FailureError

from innkeeper.activities.sanitize import printable
from innkeeper.nodes.errors import NodeError


@contextmanager
def node_exits_as_errors() -> Iterator[None]:
    """Runs a node's own code; to be used inside the task that runs it, around nothing else.

    Raises:
        NodeError: The code raised what is no `Exception`, or an exception of Temporal's, which would be taken for ours.
            Tried again only after a cancellation, which may come from a library that the node uses.
    """
    task = asyncio.current_task()
    try:
        yield
    except asyncio.CancelledError:
        if task is None or task.cancelling():
            raise  # somebody cancelled the node
        message = "the node raised CancelledError, although nobody interrupted it"
        raise NodeError(f"{message}; something that it waited for was cancelled") from None
    except GeneratorExit:
        if not _is_running(task):
            raise  # the node's coroutine is being closed
        raise NodeError("the node raised GeneratorExit", retryable=False) from None
    except FailureError as error:
        raise NodeError(f"the node raised {type(error).__name__}: {printable(error)}", retryable=False) from None
    except SystemExit as error:
        message = f"the node called exit({printable(error.code)}); a node ends by returning or by raising an error"
        raise NodeError(message, retryable=False) from None
    except Exception:
        raise
    except BaseException as error:  # KeyboardInterrupt, groups that hold one, classes of the node's own
        text = printable(error)
        message = f"the node raised {type(error).__name__}" + (f": {text}" if text else "")
        raise NodeError(message, retryable=False) from None


def _is_running(task: asyncio.Task[None] | None) -> bool:
    try:
        return asyncio.current_task() is task
    except RuntimeError:  # no loop runs any more
        return False
