"""Deliveries to a webhook while gateway, worker and server are killed: each that was answered 2xx has one run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from collections import defaultdict
from typing import Any

import httpx
import pytest

from innkeeper.gateway.process.local_stack import LocalStack
from tests.gateway.triggers.senders import send

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(180)]

DELIVERIES = 60
TIMES_SENT = 3
KILLED = ("gateway", "worker-1", "gateway", "temporal", "gateway")
WORKFLOW = {"id": "hooked", "name": "hooked", "nodes": [{"id": "n", "type": "core:RandomNumber"}], "edges": []}
Json = dict[str, Any]


class Sender:
    """Sends as senders do: again until it was taken, and sometimes once more."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url
        self.runs: dict[str, set[str]] = defaultdict(set)
        self.taken_times = self.failed_times = 0

    async def deliver(self, number: int) -> None:
        await asyncio.sleep(random.uniform(0, 4))  # so that some come while the gateway is away
        delivery, taken = f"delivery-{number}", 0
        body = json.dumps({"number": number}).encode()
        headers = [*send("github", "secret", body, delivery=delivery), ("Content-Type", "application/json")]
        while taken < TIMES_SENT:
            try:
                answer = await self._http.post(self._url, content=body, headers=headers)
            except httpx.HTTPError:
                self.failed_times += 1
            else:
                assert answer.status_code in (200, 202, 429), answer.text
                if answer.is_success:
                    taken += random.randint(1, 2)
                    self.taken_times += 1
                    self.runs[delivery].add(answer.json()["runId"])
            await asyncio.sleep(random.uniform(0.05, 0.3))


async def made_webhook(http: httpx.AsyncClient) -> Json:
    assert (await http.post("/api/workflows", json=WORKFLOW)).status_code == 201
    body = {"name": "hooked", "kind": "webhook", "workflow": {"id": "hooked"}, "webhook": {"scheme": "github"}}
    answer = await http.post("/api/triggers", json={**body, "secrets": ["secret"]})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def ended_runs(http: httpx.AsyncClient, trigger: str) -> list[Json]:
    with contextlib.suppress(httpx.HTTPError):
        found = (await http.get("/api/history", params={"limit": 500})).json()["history"]
        return [run for run in found if run.get("trigger", {}).get("id") == trigger]
    return []


async def test_every_delivery_that_was_taken_has_exactly_one_run(stack: LocalStack) -> None:
    async with httpx.AsyncClient(base_url=stack.url, trust_env=False, timeout=10) as http:
        made = await made_webhook(http)
        sender = Sender(http, made["url"])
        sending = asyncio.gather(*(sender.deliver(number) for number in range(DELIVERIES)))
        for name in KILLED:
            await asyncio.sleep(random.uniform(0.2, 1.5))
            if name in (pids := stack.pids()):
                os.kill(pids[name], signal.SIGKILL)
        async with asyncio.timeout(120):
            await sending
            while len(ended := await ended_runs(http, made["id"])) < DELIVERIES:
                await asyncio.sleep(0.5)
            await asyncio.sleep(1)  # a second run of some delivery would come now
            ended = await ended_runs(http, made["id"])
        results = (await http.get(f"/api/triggers/{made['id']}/results")).json()
    assert len(sender.runs) == DELIVERIES
    assert {len(runs) for runs in sender.runs.values()} == {1}, "all copies were told of one run"
    assert sorted(run["promptId"] for run in ended) == sorted(run for runs in sender.runs.values() for run in runs)
    assert {run["status"] for run in ended} == {"complete"}
    assert sender.taken_times > DELIVERIES
    assert sender.failed_times > 0, "nothing was away while deliveries came"
    assert results["counters"]["fired"] == DELIVERIES
    assert {result["outcome"] for result in results["results"]} <= {"fired", "duplicate"}
