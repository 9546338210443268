"""A plugin that kills the process which has loaded it: gateway and workers load plugins, each can die at any moment."""

from __future__ import annotations

from pathlib import Path

AT_MOMENTS = """
import os, signal, sys
from pathlib import Path

folder = Path({folder!r})


def dies(moment):
    armed = folder / moment
    if armed.exists():
        armed.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def around(function, before, after):
    async def call(*args):
        dies(before)
        found = await function(*args)
        dies(after)
        return found

    return call
"""
"""For the code of a plugin that dies at moments with a name: once for each file of this name in `folder`."""


def dying_plugin(plugins: Path, code: str) -> Path:
    """Write the plugin of this code into a new folder of plugins; gives that folder."""
    (plugins / "dying" / "nodes").mkdir(parents=True)
    manifest = "name: dying\nversion: 1.0.0\ndisplayName: Dying\nnodes:\n  entry: nodes\n"
    (plugins / "dying" / "plugin.yaml").write_text(manifest)
    (plugins / "dying" / "nodes" / "dying.py").write_text(code)
    return plugins


def dying_at_moments(plugins: Path, folder: Path, code: str) -> Path:
    """As `dying_plugin`, of code that uses `dies` and `around`; files in `folder` arm it."""
    return dying_plugin(plugins, AT_MOMENTS.format(folder=str(folder)) + code)
