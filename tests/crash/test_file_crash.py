"""A gateway that is killed while files come in: every file has one run."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayAway, GatewayClient
from innkeeper.gateway.deliveries.book import TriggerBook
from innkeeper.gateway.process.data_dir import DataDir
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.settings import Settings
from innkeeper.gateway.store.engine import ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.triggers import TriggerStore
from innkeeper.gateway.store.write_batcher import WriteBatcher
from innkeeper.gateway.triggers.reading import read_trigger
from innkeeper.nodes.services.secrets import SecretStore
from tests.crash.dying import dying_plugin

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(180)]

FILES = 50
DYING = """
import os, signal, sys
from pathlib import Path

seen_files = sys.modules.get("innkeeper.gateway.store.seen_files")
armed = Path({armed!r})
written = 0


def dies_before(put):
    async def write(self, rows):
        global written
        written += armed.exists() and any(row.state == "taken" for row in rows)
        if written == {count}:
            armed.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        await put(self, rows)

    return write


if seen_files is not None:  # in a gateway, not in a worker
    seen_files.SeenFileStore.put = dies_before(seen_files.SeenFileStore.put)
definitions = []
"""
"""A plugin is loaded by the gateway, so it can kill it after a file was taken, before that is written down."""


async def add_trigger(data: Path, dedupe: str) -> None:
    """Write a trigger down for a gateway to come."""
    settings = Settings(data_dir=data)
    DataDir.open(data)
    engine = open_engine(sqlite_url(settings.store_path))
    await ensure_schema(engine)
    book = TriggerBook(TriggerStore(engine, WriteBatcher(engine)), SecretStore(data / "secrets", b"k" * 32))
    definition = {
        "name": "inbox",
        "kind": "file",
        "workflow": {"id": "echo"},
        "mapping": {"word": {"expression": "file.path"}},
        "file": {"folder": "user://in", "stillSeconds": 0.3},
        "dedupe": dedupe,
    }
    await book.create(settings.user, read_trigger(definition))
    await engine.dispose()


ECHO: dict[str, Any] = {
    "id": "echo",
    "name": "echo",
    "nodes": [{"id": "in", "type": "core:GroupInput"}, {"id": "out", "type": "core:GroupOutput"}],
    "edges": [{"id": "a", "source": "in", "sourceHandle": "word", "target": "out", "targetHandle": "word"}],
    "interfaceInputs": {"word": {"key": "word", "dataFlowType": "STRING", "required": True}},
    "interfaceOutputs": {"word": {"key": "word", "dataFlowType": "STRING"}},
}


@pytest.mark.parametrize(("dedupe", "count"), [("id", 1), ("none", 20)])
async def test_gateway_killed_between_run_and_note_starts_one_run_for_each_file(
    tmp_path: Path, dedupe: str, count: int
) -> None:
    armed, data = tmp_path / "armed", tmp_path / "data"
    await add_trigger(data, dedupe)
    armed.touch()
    inbox = data / "users" / Settings(data_dir=data).user / "in"
    inbox.mkdir(parents=True)
    code = DYING.format(armed=str(armed), count=count)
    options = StackOptions(data, plugins=(dying_plugin(tmp_path / "plugins", code),))
    async with LocalStack(options) as stack, GatewayClient(stack.url) as client:
        await client.workflows.create(ECHO)
        for number in range(FILES):
            (inbox / f"{number}").write_text(f"content {number}")
        async with asyncio.timeout(60):
            while armed.exists():
                await asyncio.sleep(0.05)
        runs = await ended_runs(client)
        # Whoever would start a second run has had the time for it.
        await asyncio.sleep(3)
        assert await ended_runs(client) == runs
    assert runs == Counter({f"user://in/{number}": 1 for number in range(FILES)})


async def ended_runs(client: GatewayClient) -> Counter[str]:
    """How many runs say the path of each file, as soon as there is one for all."""
    async with asyncio.timeout(90):
        while True:
            with contextlib.suppress(GatewayAway):  # it is starting again
                runs = await client.whole_history()
                if len(runs) >= FILES and all(run["status"] == "complete" for run in runs):
                    found = [await client.status(run["promptId"]) for run in runs]
                    return Counter(str(status["outputs"]["word"]) for status in found)
            await asyncio.sleep(0.2)
