"""A backup of a stack under load, restored elsewhere: open runs go on, values and logs are whole, keys work."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from innkeeper.gateway.backup.contents import KEY_FILES
from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.nodes.services.secrets import OPERATOR, SecretStore, load_or_create_key
from tests.crash.viewer import Viewer
from tests.docs.pages import DOCS
from tests.e2e.test_control import until
from tests.e2e.test_up import innkeeper

pytestmark = pytest.mark.slow

EXAMPLES = DOCS.parent / "examples"
APPROVAL, STORY = (json.loads((EXAMPLES / f"{name}.json").read_bytes()) for name in ("approval", "story"))
LONG = "a long lamp " * 1_000
"""Is a stored value."""
LONG_APPROVAL = json.loads(json.dumps(APPROVAL).replace("the new lamp", LONG))
STREAMED = json.loads(
    json.dumps(STORY).replace("demo-describer", "demo-describer@500").replace("demo-storyteller", "demo-storyteller@35")
)
SEEN_CHUNKS = 12


DECIDED = {
    *("gateway.db", "events.db", "temporal", "blobs", "secrets", "port", "shared", "users", "system", "profiles"),
    *("results", "logs", "lock", "damage.log", ".innkeeper-data", *KEY_FILES),
    *(f"{name}.db{end}" for name in ("gateway", "events") for end in ("-wal", "-shm", ".state")),
    *(f"limits.db{end}" for end in ("", "-wal", "-shm")),
}
"""What is in a data directory: state, keys (never in a backup unless asked for), and what belongs to the machine."""


async def submit_for_ever(client: GatewayClient, submitted: set[str]) -> None:
    while True:
        submitted.add(await client.submit(APPROVAL))
        await asyncio.sleep(0.25)


async def streaming(client: GatewayClient) -> tuple[str, str | None]:
    """A run in the middle of a stream, and the id of the log."""
    run, seen = await client.submit(STREAMED), 0
    events = client.events(run)
    async for event in events:
        seen += event["type"] == "NODE_YIELD"
        if seen == SEEN_CHUNKS:
            break
    await events.aclose()
    return run, events.log_id


async def approved(client: GatewayClient, run: str) -> str:
    await until(client, run, "waiting")
    await client.approvals.answer(run, "check", True)
    found = await until(client, run, "complete", "error")
    assert found["status"] == "complete", found
    return str(await client.fetch(found["outputs"]["text"]))


async def seen_of(client: GatewayClient, run: str) -> tuple[Viewer, str | None]:
    """What a viewer sees of a run that has ended, from its first event on, and the id of the log."""
    events, viewer = client.events(run), Viewer()
    async for event in events:
        viewer.apply(event)
    return viewer, events.log_id


async def test_runs_values_and_keys_go_on_from_a_backup_that_was_made_under_load(tmp_path: Path) -> None:
    data, archive, elsewhere = tmp_path / "data", tmp_path / "backup.tar.gz", tmp_path / "elsewhere"
    submitted: set[str] = set()
    async with LocalStack(StackOptions(data)) as stack, GatewayClient(stack.url) as client:
        reference = SecretStore(data / "secrets", load_or_create_key(data, {})).put("sk-of-a-channel", OPERATOR)
        waiting = await client.submit(LONG_APPROVAL)
        await until(client, waiting, "waiting")
        load = asyncio.create_task(submit_for_ever(client, submitted))
        story, log_id = await streaming(client)
        before = set(submitted)
        made = await asyncio.to_thread(innkeeper, "backup", archive, "--with-keys", "--data-dir", data)
        assert made.returncode == 0, made.stderr
        load.cancel()
    assert "locked" not in "".join(path.read_text() for path in (data / "logs").glob("*.log"))
    new = {path.name for path in data.iterdir()} - DECIDED
    assert new == set(), "does it hold keys? Then name it among KEY_FILES"
    data.rename(tmp_path / "gone")

    restored = await asyncio.to_thread(innkeeper, "restore", archive, "--data-dir", elsewhere)
    assert restored.returncode == 0, restored.stderr
    async with LocalStack(StackOptions(elsewhere)) as stack, GatewayClient(stack.url) as client:
        assert stack.damages() == []
        assert await approved(client, waiting) == f"Sent: We are glad to announce {LONG}."
        known = {run["promptId"] for run in await client.whole_history()} | {
            run["promptId"] for run in await client.active()
        }
        assert known >= before, "everything that was acknowledged before the backup began is in it"
        assert known <= submitted | {waiting, story}
        ended = await asyncio.gather(*(approved(client, run) for run in known - {waiting, story}))
        assert set(ended) <= {"Sent: We are glad to announce the new lamp."}
        found = await until(client, story, "complete", "error")
        viewer, new_log_id = await seen_of(client, story)
        assert new_log_id != log_id, "whoever has seen later events starts anew"
        assert viewer.text("tell") == found["outputs"]["story"]["text"]
        for run in known - {story}:
            viewer, _ = await seen_of(client, run)
            assert set(viewer.terminal.values()) == {1}
    values = list((elsewhere / "blobs").glob("??/*"))
    assert values
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in values)
    secrets = SecretStore(elsewhere / "secrets", load_or_create_key(elsewhere, {}))
    assert secrets.load(reference).value == "sk-of-a-channel"
