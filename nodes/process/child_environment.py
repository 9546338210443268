"""The environment of a process that runs code which is not ours, or not to be trusted with what the worker knows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import innkeeper


def child_environment(kept: Iterable[str], **more: str) -> dict[str, str]:
    """What Python needs to find the same modules, and of our own variables only those named: others hold keys.

    Args:
        kept: Names of variables that are handed on where they are set.
        more: Further variables.
    """
    root = str(Path(innkeeper.__file__).parents[1])
    paths = [root, *(path for path in sys.path if path and path != root)]
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUTF8": "1",
        **more,
    }
