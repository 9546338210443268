"""Everything that starts runs, while processes are killed: what was answered has one run, and nothing runs twice."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.effort import LONG

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600), pytest.mark.slow]

Json = dict[str, Any]
SECRET = "a secret of twenty characters"
DELIVERIES, EVENTS, FILES, TICKS = (200, 100, 50, 30) if LONG else (20, 10, 5, 3)
KILLS = ("gateway", "worker-1", "temporal", "gateway", "worker-2", "gateway", "temporal", "worker-1")
KILLS = KILLS if LONG else KILLS[:4]
PAUSE_S = (1.0, 4.0) if LONG else (0.5, 2.0)
END_S = 240
SPREAD_S = 12.0 if LONG else 5.0
"""Over so long a time everything is sent."""
SAYS = {
    "id": "says",
    "name": "says",
    "nodes": [
        {"id": "in", "type": "core:GroupInput"},
        {"id": "merge", "type": "core:TextMerge"},
        {"id": "out", "type": "core:GroupOutput"},
    ],
    "edges": [
        {"id": "a", "source": "in", "sourceHandle": "word", "target": "merge", "targetHandle": "text_inputs__0"},
        {"id": "b", "source": "merge", "sourceHandle": "merged_text", "target": "out", "targetHandle": "line"},
    ],
    "interfaceInputs": {"word": {"key": "word", "dataFlowType": "STRING", "required": True}},
    "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "STRING"}},
}


def definition(name: str, kind: str, word: str, **more: Any) -> Json:
    return {"name": name, "kind": kind, "workflow": {"id": "says"}, "mapping": {"word": {"expression": word}}, **more}


@dataclass
class Sender:
    """Sends each thing up to three times, until it is answered, whoever dies meanwhile.

    Attributes:
        answered: How often each word was answered 2xx.
        runs: Runs that were named for each word.
    """

    http: httpx.AsyncClient
    chance: random.Random
    answered: Counter[str] = field(default_factory=Counter)
    runs: dict[str, set[str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    async def post(self, word: str, url: str, body: bytes, headers: dict[str, str]) -> None:
        for _ in range(self.chance.randint(1, 3)):
            await asyncio.sleep(self.chance.uniform(0, 0.2))
            answer = await self._once(url, body, headers)
            if answer is None:
                continue
            self.answered[word] += 1
            for run in named_runs(answer):
                self.runs.setdefault(word, set()).add(run)

    async def _once(self, url: str, body: bytes, headers: dict[str, str]) -> Json | None:
        """The body of a 2xx; None: it was not answered."""
        for _ in range(100):
            with contextlib.suppress(httpx.HTTPError):
                answer = await self.http.post(url, content=body, headers=headers)
                if answer.is_success:
                    found: Json = answer.json()
                    return found
                if answer.status_code not in (429, 503):
                    self.refused.append(f"{answer.status_code} {answer.text[:200]}")
                    return None
            await asyncio.sleep(0.3)
        return None


def named_runs(answer: Json) -> list[str]:
    """Ids of runs in the answer of a hook or of an event."""
    entries = [answer, *answer.get("triggers", [])]
    return [run for entry in entries if isinstance(run := entry.get("runId"), str)]


async def webhooks(sender: Sender, url: str, count: int) -> None:
    async def send(number: int) -> None:
        await asyncio.sleep(sender.chance.uniform(0, SPREAD_S))
        body = b'{"word":"hook-%d"}' % number
        proof = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "content-type": "application/json",
            "x-hub-signature-256": f"sha256={proof}",
            "x-github-delivery": f"d-{number}",
        }
        await sender.post(f"hook-{number}", url, body, headers)

    await asyncio.gather(*(send(number) for number in range(count)))


async def events(sender: Sender, count: int) -> None:
    async def send(number: int) -> None:
        await asyncio.sleep(sender.chance.uniform(0, SPREAD_S))
        body = b'{"name":"storm","id":"e-%d","source":"test","data":{"word":"event-%d"}}' % (number, number)
        await sender.post(f"event-{number}", "/api/events", body, {"content-type": "application/json"})

    await asyncio.gather(*(send(number) for number in range(count)))


async def files(folder: Path, chance: random.Random, count: int) -> None:
    for number in range(count):
        await asyncio.sleep(chance.uniform(0, SPREAD_S / count * 2))
        (folder / f"file-{number}.txt").write_text(f"content {number}")


async def kill(stack: LocalStack, chance: random.Random) -> list[str]:
    killed = []
    for name in KILLS:
        await asyncio.sleep(chance.uniform(*PAUSE_S))
        if (pid := stack.pids().get(name)) is not None:
            os.kill(pid, signal.SIGKILL)
            killed.append(name)
    return killed


async def made(http: httpx.AsyncClient, body: Json) -> Json:
    answer = await http.post("/api/triggers", json=body)
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


async def all_runs(http: httpx.AsyncClient) -> list[Json]:
    """Ended runs, all pages."""
    found: list[Json] = []
    cursor: int | None = None
    while True:
        page = (await http.get("/api/history", params={"limit": 500, **({"cursor": cursor} if cursor else {})})).json()
        found += page["history"]
        cursor = page["nextCursor"]
        if cursor is None:
            return found


async def until_calm(http: httpx.AsyncClient, wanted: int) -> list[Json]:
    """All runs, once nothing is open and there are as many as wanted; or what there is after a while."""
    runs: list[Json] = []
    deadline = asyncio.get_running_loop().time() + END_S
    while asyncio.get_running_loop().time() < deadline:
        with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
            open_runs = (await http.get("/api/executions")).json()
            runs = await all_runs(http)
            if not open_runs["running"] and not open_runs["pending"] and len(runs) >= wanted:
                return runs
        await asyncio.sleep(0.5)
    return runs


async def words_of(http: httpx.AsyncClient, runs: list[Json]) -> Counter[str]:
    """What the runs said."""
    limit = asyncio.Semaphore(8)

    async def word(run: Json) -> str:
        async with limit:
            status = (await http.get(f"/api/prompt/{run['promptId']}")).json()
        assert status["status"] == "complete", status
        return str(status["outputs"]["line"])

    return Counter(await asyncio.gather(*(word(run) for run in runs)))


async def test_what_was_answered_has_one_run_whoever_is_killed(tmp_path: Path) -> None:
    chance = random.Random(os.environ.get("CHAOS_SEED", "1"))
    folder = tmp_path / "data" / "shared" / "library" / "inbox"
    async with (
        LocalStack(StackOptions(tmp_path / "data", workers=2)) as stack,
        httpx.AsyncClient(base_url=stack.url, timeout=20, trust_env=False) as http,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        assert (await http.post("/api/workflows", json=SAYS)).status_code == 201
        hook = await made(
            http,
            definition("hook", "webhook", "body.word", webhook={"scheme": "github"}) | {"secrets": [SECRET]},
        )
        event = await made(http, definition("event", "event", "data.word", event={"name": "storm"}))
        file = await made(
            http,
            definition(
                "file",
                "file",
                "file.name",
                file={"folder": "shared://library/inbox", "glob": "*.txt", "stillSeconds": 0.5},
            ),
        )
        tick = await made(
            http,
            definition("tick", "schedule", "schedule.scheduledAt", schedule={"interval": {"everySeconds": 1}}),
        )
        sender = Sender(http, chance)
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(kill(stack, chance))
            group.create_task(webhooks(sender, hook["url"], DELIVERIES))
            group.create_task(events(sender, EVENTS))
            group.create_task(files(folder, chance, FILES))
        while (ticks := (await results(http, tick))["counters"].get("fired", 0)) < TICKS:
            await asyncio.sleep(1)
        assert ticks >= TICKS
        disabled = await http.post(f"/api/triggers/{tick['id']}/disable", json={})
        assert disabled.is_success, disabled.text
        wanted = DELIVERIES + EVENTS + FILES
        runs = await until_calm(http, wanted + TICKS)
        said = await words_of(http, runs)
        ran_twice = {word: count for word, count in said.items() if count != 1}
        missing = [word for word in expected() if word not in said]
        told = f"killed {killing.result()}, refused {sender.refused}"
        assert not ran_twice, told
        assert not missing, told
        assert all(sender.answered[word] for word in expected() if word.startswith(("hook", "event"))), told
        assert {word: runs for word, runs in sender.runs.items() if len(runs) > 1} == {}, told
        for trigger, count in ((hook, DELIVERIES), (event, EVENTS), (file, FILES)):
            counters = (await results(http, trigger))["counters"]
            assert counters["failed"] == 0, (counters, told)
            assert counters["fired"] == count, (counters, told)


def expected() -> list[str]:
    return [
        *(f"hook-{number}" for number in range(DELIVERIES)),
        *(f"event-{number}" for number in range(EVENTS)),
        *(f"file-{number}.txt" for number in range(FILES)),
    ]


async def results(http: httpx.AsyncClient, trigger: Json) -> Json:
    for _ in range(100):
        with contextlib.suppress(httpx.HTTPError, ValueError):
            answer = await http.get(f"/api/triggers/{trigger['id']}/results")
            if answer.is_success:
                found: Json = answer.json()
                return found
        await asyncio.sleep(0.2)
    raise AssertionError("the results of a trigger are not told")
