"""The command line beside a real gateway, in an empty folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.cli import commands, run_command


@pytest.fixture
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current directory, no settings from outside, and a width that breaks no line."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("INNKEEPER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(run_command, "DEFAULT_URL", "http://127.0.0.1:9")


Innkeeper = Callable[..., Awaitable[tuple[int, bytes, str]]]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["innkeeper", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    return int(ended.value.code or 0)


@pytest.fixture
def innkeeper(
    shared: Any, no_settings: None, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Innkeeper:
    """A command with the address of the running gateway; gives exit code, output and errors."""

    async def run(*arguments: object) -> tuple[int, bytes, str]:
        # In a thread: the gateway that it talks to lives in this one.
        code = await asyncio.to_thread(call, monkeypatch, *arguments, "--url", shared.url)
        said = capsysbinary.readouterr()
        return code, said.out, said.err.decode()

    return run
