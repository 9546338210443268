"""A backup of a stack under load, restored elsewhere: open runs go on, values and logs are whole, keys work."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.nodes.services.secrets import OPERATOR, SecretStore, load_or_create_key
from tests.docs.pages import DOCS
from tests.e2e.test_control import until
from tests.e2e.test_up import innkeeper

EXAMPLES = DOCS.parent / "examples"
APPROVAL, STORY = (json.loads((EXAMPLES / f"{name}.json").read_bytes()) for name in ("approval", "story"))
LONG = "a long lamp " * 1_000
"""Is a stored value."""
LONG_APPROVAL = json.loads(json.dumps(APPROVAL).replace("the new lamp", LONG))
SEEN_CHUNKS = 12


async def submit_for_ever(client: GatewayClient, submitted: set[str]) -> None:
    while True:
        submitted.add(await client.submit(APPROVAL))
        await asyncio.sleep(0.25)


async def streaming(client: GatewayClient) -> tuple[str, str | None]:
    """A run in the middle of a stream, and the id of the log."""
    run, seen = await client.submit(STORY), 0
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


async def log_of(client: GatewayClient, run: str) -> tuple[list[int], str | None]:
    """The numbers of all events of a run that has ended, and the id of their log."""
    events = client.events(run)
    return [event["seq"] async for event in events], events.log_id


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
        told = (await until(client, story, "complete"))["outputs"]["story"]
    assert "locked" not in "".join(path.read_text() for path in (data / "logs").glob("*.log"))
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
        assert (found["status"], found["outputs"]["story"]) == ("complete", told)
        for run in known:
            numbers, new_log_id = await log_of(client, run)
            assert numbers == list(range(1, len(numbers) + 1))
            assert new_log_id != log_id, "whoever has seen later events starts anew"
    values = list((elsewhere / "blobs").glob("??/*"))
    assert values
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in values)
    secrets = SecretStore(elsewhere / "secrets", load_or_create_key(elsewhere, {}))
    assert secrets.load(reference).value == "sk-of-a-channel"
