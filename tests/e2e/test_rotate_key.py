"""Keys of signatures change while runs wait: with the command, and by deleting their file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.nodes.services.signing_keys import SIGNING_FILE
from tests.e2e.test_control import node, until
from tests.e2e.test_up import innkeeper


@pytest.mark.slow
async def test_waiting_runs_go_on_after_each_way_to_rotate(tmp_path: Path) -> None:
    options = StackOptions(tmp_path / "data")
    file = options.data_dir / SIGNING_FILE
    document = {"nodes": [node("w", "WaitForEvent", {"name": "dawn"})], "edges": []}
    async with LocalStack(options) as stack, GatewayClient(stack.url) as client:
        first, second = await client.submit(document), await client.submit(document)
        rotated = await asyncio.to_thread(innkeeper, "rotate-key", "--data-dir", options.data_dir)
        assert (rotated.returncode, "2 keys" in rotated.stdout) == (0, True), rotated.stderr
        third = await client.submit(document)
        for run in (first, second, third):
            await until(client, run, "waiting")
        await client.post_event("dawn", {}, run_id=first)
        await until(client, first, "complete")
    before = json.loads(file.read_bytes())
    assert before["unsignedRuns"] == []

    file.unlink()
    async with LocalStack(options) as stack, GatewayClient(stack.url) as client:
        await client.post_event("dawn", {})
        for run in (second, third):
            assert (await until(client, run, "complete"))["status"] == "complete"
    after = json.loads(file.read_bytes())
    assert sorted(after["unsignedRuns"]) == sorted([second, third])
    assert not set(before["keys"]) & set(after["keys"])


def test_there_is_nothing_to_rotate_before_the_first_start(tmp_path: Path) -> None:
    refused = innkeeper("rotate-key", "--data-dir", tmp_path)
    assert refused.returncode == 1
    assert "innkeeper up" in refused.stderr
    assert list(tmp_path.iterdir()) == []
