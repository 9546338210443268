"""Python's garbage collector while a process loads its modules.

Importing makes some 300,000 objects that stay for good. Collecting while they come looks through them again and
again, which takes a fifth of the start, and each full collection later on would stop the process for 100 ms.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


def pause_collector() -> None:
    """Collect nothing until `resume_collector`."""
    gc.disable()


def resume_collector() -> None:
    """Collect again, but never what exists by now: it is taken to stay."""
    gc.freeze()
    gc.enable()


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pause it for as long as a `with` block imports and builds what stays."""
    pause_collector()
    try:
        yield
    finally:
        resume_collector()
