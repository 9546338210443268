"""What makes a process load its modules faster: no garbage collection meanwhile, no search for plugins of pydantic.

Importing makes some 300,000 objects that stay for good. Collecting while they come looks through them again and
again, which takes a fifth of the start, and each full collection later on would stop the process for 100 ms.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator

COMMAND_THRESHOLD = 50_000
"""New objects until a command collects: those of its modules come to 100,000."""
_PYDANTIC_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"


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


@contextlib.contextmanager
def without_pydantic_plugins() -> Iterator[None]:
    """Let the first import of pydantic not read the entry points of all installed packages, which takes 40 ms.

    For processes that run no code of users. Whoever sets the variable, though to nothing, decides.
    """
    if _PYDANTIC_PLUGINS in os.environ:
        yield
        return
    os.environ[_PYDANTIC_PLUGINS] = "__all__"
    try:
        yield
    finally:  # child processes decide for themselves
        os.environ.pop(_PYDANTIC_PLUGINS, None)


def load_for_a_command() -> None:
    """For a command, which ends soon: collect rarely."""
    gc.set_threshold(COMMAND_THRESHOLD)
