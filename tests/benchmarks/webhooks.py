"""The rows of webhooks: from a signed request to 202, and many of them a second."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect

from innkeeper.gateway.process.supervisor import ChildSpec
from innkeeper.gateway.process.temporal_server import free_port
from tests.benchmarks.loads import INLINE, Document
from tests.benchmarks.measure import calibrate
from tests.benchmarks.product import Product, up
from tests.benchmarks.report import Check, Done, Line, Say, Spread, at_most, may_take_too_long
from tests.benchmarks.stack import children

ROUNDS = 5
SAMPLES = 20
"""Deliveries of a round, one after the other."""
PAUSE_S = 0.15
ASK_AGAIN_S = 0.001
PER_S = 500
LOAD_S = 10
CONNECTIONS = 64
SECRET = "the secret of the benchmark"
WORKFLOW = {"id": "hooked", "name": "hooked", "edges": []}
NODES: list[Document] = [{"id": "n", "fullType": INLINE}]
BODY = json.dumps({"action": "opened", "issue": {"number": 7, "title": "A title", "body": "x" * 500}}).encode()


@dataclass(frozen=True)
class Row:
    """`limit` is on the ratio of `hook`; of `hook-load` on what is lost; None is reported only."""

    key: str
    title: str
    unit: str
    limit: float | None


ROWS = (
    Row("hook", "a signed webhook until its 202; by hand FastAPI and one SQLite commit", "ms", 3),
    Row(
        "hook-first", "from a signed webhook to the first event at a client; counterpart: POST /api/prompt", "ms", None
    ),
    Row("hook-load", f"{PER_S} webhooks/s for {LOAD_S} s: answered with 202", "", 0),
)


async def measure_rows(rows: Sequence[Row], rounds: int | None, say: Say, done: Done) -> None:
    with tempfile.TemporaryDirectory(prefix="innkeeper-webhooks-") as name:
        folder = Path(name)
        for row in rows:
            say(row.key)
            with may_take_too_long(row.key, say):
                async with asyncio.timeout(300), up(folder / row.key) as product:
                    done(await MEASURES[row.key](row, product, folder, rounds or ROUNDS))


async def _trigger(http: httpx.AsyncClient, nodes: Sequence[Document] = ()) -> str:
    """Make a webhook that starts these nodes; gives its path. Without nodes what is measured is the way to the run."""
    (await http.post("/api/workflows", json={**WORKFLOW, "nodes": list(nodes)})).raise_for_status()
    body = {"name": "hooked", "kind": "webhook", "workflow": {"id": "hooked"}, "webhook": {"scheme": "github"}}
    answer = await http.post("/api/triggers", json={**body, "secrets": [SECRET]})
    answer.raise_for_status()
    return str(answer.json()["url"])


def request(path: str, delivery: str) -> bytes:
    """A signed request, as it stands on the wire."""
    signature = hmac.digest(SECRET.encode(), BODY, hashlib.sha256).hex()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n"
        f"X-Hub-Signature-256: sha256={signature}\r\nX-GitHub-Delivery: {delivery}\r\n\r\n"
    )
    return head.encode() + BODY


class Connection:
    """One kept connection. A client library would take longer for a request than the gateway does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, url: str) -> Connection:
        address = urlsplit(url)
        return cls(*await asyncio.open_connection(address.hostname, address.port))

    async def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer."""
        self._writer.write(data)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return int(lines[0].split()[1]), headers, body

    def close(self) -> None:
        self._writer.close()


# --- one by one -----------------------------------------------------------------------------------------------------


async def _single(row: Row, product: Product, folder: Path, rounds: int) -> Line:
    port = free_port()
    command = (sys.executable, "-m", "tests.benchmarks.webhooks_plain", str(folder), str(port))
    found: dict[str, list[float]] = {"ours": [], "base": []}
    async with children(folder, {"plain": ChildSpec("plain", command)}), httpx.AsyncClient(trust_env=False) as http:
        http.base_url = httpx.URL(product.url)
        path = await _trigger(http)
        sides = {"ours": product.url, "base": f"http://127.0.0.1:{port}"}
        before = calibrate()
        for number in range(-1, rounds):  # the first one warms up
            for name in list(sides)[:: -1 if number % 2 else 1]:
                connection = await _reached(sides[name])  # servers close those that are idle for some seconds
                taken = [await _taken_ms(connection, request(path, f"{number}-{i}")) for i in range(SAMPLES)]
                connection.close()
                if number >= 0:
                    found[name].append(median(taken))
        after = calibrate()
    ratio = Spread.of_ratios(found["ours"], found["base"])
    return Line(
        key=row.key,
        title=row.title,
        unit=row.unit,
        ours=Spread.of(found["ours"]),
        base=Spread.of(found["base"]),
        ratio=ratio,
        checks=at_most("ratio", ratio.median, row.limit),
        calibration=(before, after),
        samples=found,
    )


async def _taken_ms(connection: Connection, data: bytes) -> float:
    began = perf_counter()
    status, _, body = await connection.send(data)
    took = (perf_counter() - began) * 1000
    if status != 202:
        raise RuntimeError(f"a webhook was answered {status}: {body[:200]!r}")
    # Neither the run that comes of it, if there is one, nor what follows its end may fall into the next sample.
    while (run := json.loads(body).get("runId")) and not await _has_ended(connection, run):
        await asyncio.sleep(PAUSE_S)
    await asyncio.sleep(PAUSE_S)
    return took


async def _has_ended(connection: Connection, run: str) -> bool:
    _, _, body = await connection.send(f"GET /api/prompt/{run} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return json.loads(body)["status"] == "complete"


async def _reached(url: str) -> Connection:
    async with asyncio.timeout(20):
        while True:
            try:
                return await Connection.to(url)
            except OSError:
                await asyncio.sleep(0.05)


# --- to the first event ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sight:
    """When a client saw the first event of a run, and the first of one of its nodes, in ms since the request began."""

    first_ms: float
    node_ms: float


async def _first_event(row: Row, product: Product, _folder: Path, rounds: int) -> Line:
    found: dict[str, list[list[Sight]]] = {"ours": [], "base": []}
    socket = f"{product.url.replace('http', 'ws', 1)}/ws"
    async with httpx.AsyncClient(base_url=product.url, trust_env=False) as http, connect(socket, proxy=None) as client:
        requests = {"ours": partial(request, await _trigger(http, NODES)), "base": _submission}
        before = calibrate()
        for number in range(-1, rounds):  # the first one warms up
            for name in list(requests)[:: -1 if number % 2 else 1]:
                connection = await _reached(product.url)  # the gateway closes those that are idle for some seconds
                seen = [await _seen(connection, client, requests[name](f"{number}-{i}")) for i in range(SAMPLES)]
                connection.close()
                if number >= 0:
                    found[name].append(seen)
        after = calibrate()
    ours, base = ([median(sight.first_ms for sight in seen) for seen in found[name]] for name in ("ours", "base"))
    return Line(
        key=row.key,
        title=row.title,
        unit=row.unit,
        ours=Spread.of(ours),
        base=Spread.of(base),
        ratio=Spread.of_ratios(ours, base),
        further={
            "node's first": median(sight.node_ms for seen in found["ours"] for sight in seen),
            "node's first by POST": median(sight.node_ms for seen in found["base"] for sight in seen),
        },
        calibration=(before, after),
        samples={name: [[asdict(sight) for sight in seen] for seen in found[name]] for name in found},
    )


def _submission(_: str) -> bytes:
    body = json.dumps({"nodes": NODES, "edges": []}).encode()
    head = f"POST /api/prompt HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _seen(connection: Connection, client: ClientConnection, data: bytes) -> Sight:
    """Send a request and follow the run it starts to its end."""
    began = perf_counter()
    status, _, body = await connection.send(data)
    if status not in (200, 202):
        raise RuntimeError(f"a request was answered {status}: {body[:200]!r}")
    told = json.loads(body)
    run = told.get("runId") or told["promptId"]
    subscribe = json.dumps({"type": "SUBSCRIBE", "payload": {"promptId": run, "after": 0}})
    await client.send(subscribe)
    first_ms = node_ms = 0.0
    async with asyncio.timeout(30):
        async for text in client:
            event, at_ms = json.loads(text), (perf_counter() - began) * 1000
            if event["type"] == "error":  # a webhook answers before the run has begun
                await asyncio.sleep(ASK_AGAIN_S)
                await client.send(subscribe)
            elif event.get("seq") is not None and event["payload"]["promptId"] == run:
                first_ms = first_ms or at_ms
                node_ms = node_ms or at_ms * event["type"].startswith("NODE_")
                if event["type"] == "EXECUTION_STATUS_UPDATE" and event["payload"]["status"] == "complete":
                    break
    await asyncio.sleep(PAUSE_S)
    return Sight(first_ms, node_ms)


# --- many a second --------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """What came of a load. `times_ms` are of all answers, `runs` the ids that were promised."""

    statuses: Counter[int] = field(default_factory=Counter)
    times_ms: list[float] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    without_retry_after: int = 0


async def _load(row: Row, product: Product, _folder: Path, _rounds: int) -> Line:
    async with httpx.AsyncClient(base_url=product.url, trust_env=False, timeout=30) as http:
        path = await _trigger(http)
        before = calibrate()
        began = perf_counter()
        load = await _sent(product.url, path, PER_S * LOAD_S)
        took_s = perf_counter() - began
        after = calibrate()
        lost = await _lost(http, load.runs)
    accepted = load.statuses[202]
    faults = sum(count for status, count in load.statuses.items() if status >= 500)
    cuts = quantiles(load.times_ms, n=100)
    return Line(
        key=row.key,
        title=row.title,
        unit=row.unit,
        ours=Spread.of([float(accepted)]),
        checks=(
            Check("lost = 0", lost == 0),
            Check("5xx = 0", faults == 0),
            Check("429 with Retry-After", load.without_retry_after == 0),
        ),
        further={
            "429": load.statuses[429],
            "5xx": faults,
            "lost": lost,
            "p50 ms": cuts[49],
            "p99 ms": cuts[98],
            "s": took_s,
        },
        calibration=(before, after),
        samples={"ours": [float(accepted)], "statuses": sorted(load.statuses.items()), "ms": load.times_ms},
    )


async def _sent(url: str, path: str, count: int) -> Load:
    """Send so many, each at its time or as soon as a connection is free."""
    load, numbers, began = Load(), iter(range(count)), perf_counter()

    async def work() -> None:
        connection = await Connection.to(url)
        for number in numbers:
            await asyncio.sleep(max(0.0, began + number / PER_S - perf_counter()))
            sent = perf_counter()
            _count(load, *await connection.send(request(path, f"load-{number}")))
            load.times_ms.append((perf_counter() - sent) * 1000)
        connection.close()

    async with asyncio.timeout(120):
        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return load


def _count(load: Load, status: int, headers: dict[str, str], body: bytes) -> None:
    load.statuses[status] += 1
    if status == 202:
        told: Any = json.loads(body)
        load.runs.append(told["runId"])
    load.without_retry_after += status == 429 and "retry-after" not in headers


async def _lost(http: httpx.AsyncClient, runs: Sequence[str]) -> int:
    """Promised runs that nobody knows, and deliveries that share a run though each has its own id."""
    unknown = 0
    for start in range(0, len(runs), 20):
        answers = await asyncio.gather(*(http.get(f"/api/prompt/{run}") for run in runs[start : start + 20]))
        unknown += sum(answer.status_code != 200 for answer in answers)
    return unknown + len(runs) - len(set(runs))


MEASURES: Mapping[str, Callable[[Row, Product, Path, int], Awaitable[Line]]] = {
    "hook": _single,
    "hook-first": _first_event,
    "hook-load": _load,
}
