"""The tools of the extra `console`: beside this interpreter, or in `.venv-console`, where `make` puts them."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-console"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")


def lacking(reason: str) -> None:
    """Skip what cannot run here; in CI a test that is not run is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def deno() -> str:
    """The path of deno."""
    places = (Path(sys.prefix) / "bin", TOOLS / "bin")
    found = shutil.which("deno", path=os.pathsep.join(map(str, places))) or shutil.which("deno")
    if found is None:
        lacking("deno is not here: 'make console' installs it")
    return str(found)


def find_playwright() -> None:
    """Make `playwright` importable."""
    if find_spec("playwright") is None:
        # Behind our own packages: what both environments have, the tests take from theirs.
        sys.path += map(str, TOOLS.glob(f"lib/python3.{sys.version_info.minor}/site-packages"))
    if find_spec("playwright") is None:
        lacking("playwright is not here: 'make console' installs it")


def browser() -> str:
    """The path of a Chromium."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        lacking("no Chromium is here: install it (Debian, Ubuntu: apt install chromium fonts-noto-cjk)")
    return str(found)
