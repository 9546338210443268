"""What a container engine, or Kubernetes, is told about the life of a gateway and a worker."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from temporalio.client import Client

from innkeeper.gateway.process.temporal_server import free_port
from tests.docs.pages import ROOT
from tests.gateway.conftest import Stack

PROGRAM = ROOT / "deploy" / "docker" / "healthcheck.py"


def asked(**environ: object) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], **{key: str(value) for key, value in environ.items()}}
    return subprocess.run([sys.executable, "-I", "-S", str(PROGRAM)], env=env, capture_output=True, text=True)


def test_worker_is_alive_while_its_loop_touches_the_file(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    assert "no sign of life" in asked(INNKEEPER_LIFE_FILE=file).stderr
    file.touch()
    assert asked(INNKEEPER_LIFE_FILE=file).returncode == 0
    os.utime(file, (time.time() - 40, time.time() - 40))
    late = asked(INNKEEPER_LIFE_FILE=file)
    assert late.returncode == 1
    assert "last sign of life 40 s ago" in late.stderr


async def test_gateway_is_alive_without_a_token_and_when_it_is_not_ready(temporal: Client, tmp_path: Path) -> None:
    stack = Stack(temporal, tmp_path, options={"access_token": "a-token-of-enough-characters"})
    async with stack.gateway():
        done = await asyncio.to_thread(asked, INNKEEPER_PORT=stack.settings.port)
        assert (done.returncode, done.stderr) == (0, "")


def test_nobody_listens() -> None:
    done = asked(INNKEEPER_PORT=free_port())
    assert done.returncode == 1
    assert "no sign of life" in done.stderr
