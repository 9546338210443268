"""The whole app: requests to every route and frames of clients, through ASGI; and raw bytes through a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import orjson
import uvicorn
from temporalio.client import Client

from innkeeper.gateway.api import demo, prompts
from innkeeper.gateway.api.openapi import METHODS, document_of
from innkeeper.gateway.app import GatewayApp, create_app
from innkeeper.gateway.container import Container
from innkeeper.gateway.process.listening_socket import listen
from innkeeper.gateway.process.uvicorn_config import server_config
from innkeeper.gateway.realtime import client_socket
from innkeeper.gateway.runs import approvals, service
from innkeeper.gateway.settings import Settings, worker_token
from innkeeper.gateway.triggers.reading import read_trigger
from innkeeper.nodes.errors import RunError
from tests.fuzz import seeds
from tests.fuzz.campaign import Broken, Target
from tests.fuzz.frames import HELLO, TO_GATEWAY
from tests.fuzz.mutation import Json, Mutator, keys_in
from tests.gateway.contract import contract

HOST = b"localhost"
NO_WORKER = (b'"worker_unavailable"', b'"workers":"no worker is connected"')
"""No worker runs here: answers with a status of 503 that say so are right."""
_PARAMETER = re.compile(r"\{(\w+)\}")
CHAT: Json = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "stream": False, "words_per_second": 0}
ANSWER: Json = {"approved": True, "values": {"a": 1}, "comment": "c", "by": "me"}
SCRIPT = "client-scripts/RandomNumberNode.js"
EVENT: Json = {"name": "e", "data": {"a": 1}}
TRIGGER: Json = {
    "name": "t",
    "kind": "webhook",
    "workflow": {"id": "stored"},
    "mapping": {"a": {"expression": "body.a"}, "b": {"literal": [1]}},
    "filter": "body.a == 'never'",
    "dedupe": {"expression": "body.id"},
    "concurrency": {"policy": "queue", "key": "body.a", "limit": 2},
    "rate": {"limit": 5, "perSeconds": 60},
    "webhook": {"scheme": "none", "config": {"delivery_id_header": "x-id"}, "answer": {"mode": "wait"}},
}
SAMPLE: Json = {"payload": {"a": 1}, "headers": {"x": "y"}, "query": {"q": ["1"]}, "deliveryId": "d"}


@dataclass(frozen=True)
class HttpInput:
    """One request as a server hands it to an app."""

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""

    @property
    def scope(self) -> dict[str, Any]:
        path, _, query = self.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(self.headers),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8090),
            "state": {},
        }

    def to_wire(self) -> bytes:
        lines = [self.method.encode() + b" " + self.target + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in self.headers]
        if not any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self.headers):
            lines.append(b"content-length: %d" % len(self.body))
        return b"\r\n".join([*lines, b"", self.body])


class ErrorLog(logging.Handler):
    """Remembers what the gateway logged as a defect: its answers say only that there was one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def take(self) -> None:
        """Raise the first defect that was logged since the last call."""
        records, self.records = self.records, []
        for record in records:
            if record.exc_info and record.exc_info[1] is not None:
                raise record.exc_info[1]
            raise Broken(f"logged: {record.getMessage()[:200]}")


@dataclass
class GatewayUnderTest:
    """A gateway with a real Temporal server and no worker: one run is open for ever, all others wait in the queue.

    Attributes:
        names: What the parameters of paths may be, beside odd values.
    """

    app: GatewayApp
    settings: Settings
    log: ErrorLog
    names: dict[str, list[str]] = field(default_factory=dict)
    base: tuple[Json, ...] = ()
    started: list[str] = field(default_factory=list)

    @property
    def container(self) -> Container:
        found: Container = self.app.routes.state.container
        return found

    async def prepare(self) -> None:
        """Runs, files and an approval that requests can meet."""
        hello = seeds.example("hello.json")
        open_run = (await self.container.runs.submit(hello, "default_user")).run
        ended = (await self.container.runs.submit(hello, "default_user")).run
        await self.container.runs.interrupt(ended)
        form = [{"key": "a", "type": "text", "label": "A"}]
        await self.container.writer.append(
            open_run,
            [
                {"t": "fact", "path": "ask", "type": "APPROVAL_REQUIRED", "payload": {"data": {"x": 1}, "form": form}},
                {"t": "open", "path": "n", "epoch": [1, 0], "type": "core:TextMerge", "reply": False},
            ],
        )
        library = self.settings.data_dir / "shared" / "library" / "workflows"
        library.mkdir(parents=True, exist_ok=True)
        (library / "a.json").write_text(json.dumps({**hello, "id": "stored", "name": "A"}))
        await self.container.lookup.refresh()
        trigger, token = await self.container.triggers.create("default_user", read_trigger(TRIGGER))
        self.names = {
            "trigger_id": [trigger.id, "none"],
            "token": [str(token), "none"],
            "run": [open_run, open_run, ended, "none"],
            "scheme": ["user", "user", "shared", "system", "other"],
            "path": ["a.txt", "folder/b.json", "folder/", "library/workflows/a.json", "../a.txt", SCRIPT],
            "place": ["n/text", "__WORKFLOW_INTERFACE_OUTPUTS__/out", "a/b/c"],
            "approval": ["ask", "group/ask"],
            "workflow_id": ["stored", "none"],
            "namespace": ["core", "none"],
            "type": ["RandomNumber", "TextMerge"],
        }
        self.base = ({**hello, "baseRun": ended}, {"baseRun": ended, "targets": ["a"]}, {"inputs": {"a": 1}, **hello})

    async def forget(self, run: str) -> None:
        """Have a run that an input has started deleted, with others, so that they do not gather."""
        self.started.append(run)
        if len(self.started) < 20:
            return
        runs, self.started = self.started, []
        for run in runs:
            with contextlib.suppress(RunError):
                await self.container.runs.interrupt(run)
        for run in runs:
            with contextlib.suppress(RunError):
                await self.container.runs.delete(run)

    async def call(self, request: HttpInput) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers and body of the answer. A client that has what it wanted of a stream leaves."""
        parts = [{"type": "http.request", "body": request.body, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            if parts:
                return parts.pop(0)
            await asyncio.sleep(0.005)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(request.scope, receive, send)
        if not sent:
            return 0, {}, b""
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], {name.lower(): value for name, value in sent[0]["headers"]}, body

    async def feed(self, request: HttpInput) -> None:
        status, headers, body = await self.call(request)
        self.log.take()
        # A user's file may be called JSON and be none.
        is_json = headers.get(b"content-type") == b"application/json" and b"content-disposition" not in headers
        data = orjson.loads(body) if is_json and body else None
        if status >= 500 and not any(reason in body for reason in NO_WORKER) and request.method != "HEAD":
            raise Broken(f"status {status}: {body[:200]!r}")
        if status and headers.get(b"x-content-type-options") != b"nosniff":
            raise Broken(f"an answer with status {status} may be sniffed")
        operation = contract().operation(request.method, request.scope["path"])
        if operation is not None and status and str(status) not in operation["responses"]:
            raise Broken(f"{operation['operationId']} does not declare {status}")
        if 400 <= status < 500 and isinstance(data, dict) and not data.get("error"):
            raise Broken(f"status {status} without a reason")
        if isinstance(data, dict) and isinstance(data.get("promptId"), str) and request.target == b"/api/prompt":
            await self.forget(data["promptId"])

    async def check(self) -> None:
        """All of it that there is works, and it takes a normal run."""
        status, _, body = await self.call(HttpInput("GET", b"/readyz", ((b"host", HOST),)))
        if b'"log":"ok","temporal":"ok"' not in body:
            raise Broken(f"/readyz has status {status}: {body[:200]!r}")
        hello = json.dumps(seeds.example("hello.json")).encode()
        status, _, body = await self.call(HttpInput("POST", b"/api/prompt", ((b"host", HOST),), hello))
        if status != 200:
            raise Broken(f"a normal run is not taken: {status} {body[:200]!r}")
        await self.forget(orjson.loads(body)["promptId"])
        self.log.take()

    # --- clients' WebSocket ---------------------------------------------------------------------------------------

    async def talk(self, frames: Sequence[bytes]) -> list[Json]:
        """What the gateway sends to a client that says this, and then leaves."""
        told = [{"type": "websocket.connect"}, *map(_received, frames)]
        answers: list[Json] = []

        async def receive() -> Any:
            if told:
                return told.pop(0)
            for _ in range(6):  # the queue of answers is sent by a task of its own
                await asyncio.sleep(0)
            return {"type": "websocket.disconnect", "code": 1000}

        async def send(message: Any) -> None:
            if message["type"] == "websocket.send":
                answers.append(orjson.loads(message["text"]))

        scope = HttpInput("GET", b"/ws", ((b"host", HOST),)).scope
        await self.app({**scope, "type": "websocket", "scheme": "ws", "subprotocols": []}, receive, send)
        return answers

    async def feed_frames(self, frames: Sequence[bytes]) -> None:
        answers = await self.talk(frames)
        for answer in answers:
            if isinstance(answer, dict) and answer["type"] == "PROMPT_ACCEPTED_RESPONSE":
                await self.forget(answer["payload"]["promptId"])
        self.log.take()

    async def check_socket(self) -> None:
        """A client can still follow a run."""
        run = self.names["run"][0]
        answers = await self.talk([orjson.dumps({"type": "SUBSCRIBE", "payload": {"promptId": run}})])
        if not any(isinstance(answer, dict) and answer["type"] == "SUBSCRIBED" for answer in answers):
            raise Broken(f"a normal message is not answered: {answers}")
        await self.check()


def _received(data: bytes) -> dict[str, Any]:
    """A frame as a server hands it over: text when it is UTF-8."""
    try:
        return {"type": "websocket.receive", "text": data.decode()}
    except UnicodeDecodeError:
        return {"type": "websocket.receive", "bytes": data}


@contextlib.asynccontextmanager
async def gateway_under_test(data_dir: Path, temporal: Client) -> AsyncIterator[GatewayUnderTest]:
    """A gateway whose waits are cut short and whose clients may speak without a pause."""
    limits: list[tuple[Any, str, Any]] = [
        (client_socket, "MESSAGES_PER_S", 1e9),
        (client_socket, "BURST_MESSAGES", 10**9),
        (prompts, "_wait_seconds", lambda wait: None),
        (service, "CLOSING_POLL_S", 0.005),
        (approvals, "ANSWER_S", 0.01),
        (approvals, "ANNOUNCING_S", 0.01),
        (demo, "_model_and_pause", _without_pause(demo._model_and_pause)),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in limits]
    settings = Settings(
        data_dir=data_dir,
        temporal_address=temporal.service_client.config.target_host,
        payload_encryption="off",  # its worker has the client of the tests, which has no keys
        namespace=temporal.namespace,
        max_concurrent_runs=1,
        task_queue="fuzz",
    )
    app, log = create_app(settings), ErrorLog()
    logger = logging.getLogger("innkeeper")
    for module, name, value in limits:
        setattr(module, name, value)
    logger.addHandler(log)
    try:
        async with app.routes.router.lifespan_context(app.routes):
            gateway = GatewayUnderTest(app, settings, log)
            await gateway.container.temporal.wait()
            await gateway.prepare()
            yield gateway
    finally:
        logger.removeHandler(log)
        for module, name, value in before:
            setattr(module, name, value)


def _without_pause(original: Any) -> Any:
    return lambda body: (original(body)[0], 0.0)


# --- what is sent -------------------------------------------------------------------------------------------------


class Requests:
    """Draws requests to every route there is."""

    def __init__(self, mutator: Mutator, gateway: GatewayUnderTest) -> None:
        self._mutator, self._rng, self._gateway = mutator, mutator.rng, gateway
        self._documents = [*seeds.documents(), *gateway.base]
        paths = document_of(gateway.app.routes)["paths"]
        self._routes = [
            (method.upper(), path)
            for path, item in [*paths.items(), ("/openapi.json", ("get",))]
            for method in item
            if method in METHODS and path != "/api/gc"
        ]

    def __call__(self) -> HttpInput:
        rng = self._rng
        method, template = rng.choice(self._routes)
        if rng.random() < 0.3:  # what takes most of what can be sent
            method, template = "POST", rng.choice(("/api/prompt", "/api/validate"))
        if rng.random() < 0.05:
            method = rng.choice(("GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "X"))
        target = self._path(template) + self._query()
        body = self._body(method, template)
        return HttpInput(method, target, (*self._headers(), (b"content-length", b"%d" % len(body))), body)

    def _path(self, template: str) -> bytes:
        path = _PARAMETER.sub(lambda found: self._parameter(found[1]), template).encode("ascii", "replace")
        if self._rng.random() < 0.04:
            path = _target(self._mutator.spoiled(path))
        return path if path.startswith(b"/") else b"/" + path

    def _parameter(self, name: str) -> str:
        rng, known = self._rng, self._gateway.names.get(name, ["core:TextMerge", "none"])
        if rng.random() < 0.7:
            return quote(rng.choice(known), safe="/" if name in ("path", "place", "approval") else "")
        odd = rng.choice(
            ("", "%00", "%ed%a0%80", "%2e%2e", "%2F", "a" * 300, "%F0%9F%92%A5" * 90, "..%5c", "%0d%0a", "%")
        )
        return odd if rng.random() < 0.7 else _target(self._mutator.rng.randbytes(6)).decode()

    def _query(self) -> bytes:
        rng = self._rng
        if rng.random() < 0.6:
            return b""
        names = ("limit", "cursor", "after", "status", "previews", "token", "x")
        values = ("1", "0", "-1", "9" * 30, "1e9", "NaN", "", "true", "complete", "open", "%00", "%ed%a0%80", "%",
                  "1.2", "%D9%A3", "9223372036854775807", "9223372036854775808.1", "1.9223372036854775808",
                  "%F0%9F%92%A5")  # fmt: skip
        pairs = [f"{rng.choice(names)}={rng.choice(values)}" for _ in range(rng.choice((1, 1, 2, 4)))]
        return b"?" + _target("&".join(pairs).encode())

    def _headers(self) -> tuple[tuple[bytes, bytes], ...]:
        rng = self._rng
        headers = [(b"host", HOST)]
        if rng.random() < 0.6:
            return tuple(headers)
        names = (b"accept", b"range", b"if-none-match", b"if-range", b"last-event-id", b"idempotency-key", b"origin",
                 b"authorization", b"content-type", b"expect", b"host", b"content-range", b"if-match", b"cookie",
                 b"access-control-request-method", b"x-forwarded-for")  # fmt: skip
        values = (b"*", b"*/*", b"text/plain", b"bytes=0-0", b"bytes=-5", b"bytes=9-1", b"bytes=0-99999999999999999999",
                  b'"x"', b"W/\"x\"", b"a:1", b"x:999999999999999999", b":", b"\xff\xfe", b"", b"x" * 3000, b"\xc2\xb2",
                  b"http://localhost", b"null", b"Bearer x", b"application/json; charset=\xff", b"k1", b"[::1",
                  b"-1")  # fmt: skip
        headers += [(rng.choice(names), rng.choice(values)) for _ in range(rng.choice((1, 1, 2, 4)))]
        return tuple(headers)

    def _body(self, method: str, template: str) -> bytes:
        if template.startswith(("/api/triggers", "/hooks")) and method in ("POST", "PUT"):
            normal = SAMPLE if template.endswith(("/test", "{token}")) else TRIGGER
            return self._mutator.json_input([normal]) if self._rng.random() < 0.9 else b""
        if method == "PUT":
            return self._rng.randbytes(self._rng.choice((0, 1, 50)))
        if method != "POST":
            return b"" if self._rng.random() < 0.95 else b"{}"
        if template in ("/api/prompt", "/api/validate"):
            return self._mutator.json_input(self._documents)
        normal = CHAT if "chat" in template else EVENT if "events" in template else ANSWER
        return self._mutator.json_input([normal]) if self._rng.random() < 0.9 else b""


def _target(data: bytes) -> bytes:
    """Only what can stand in the first line of a request."""
    return bytes(byte for byte in data if 0x21 <= byte <= 0x7E and byte != 0x3F)


def http_target(mutator: Mutator, gateway: GatewayUnderTest) -> Target:
    return Target("http", 80, Requests(mutator, gateway), gateway.feed, gateway.check)


def client_target(mutator: Mutator, gateway: GatewayUnderTest) -> Target:
    """Frames of clients, several over one connection."""
    run = gateway.names["run"][0]
    normal: list[Json] = [
        {"type": "SUBSCRIBE", "payload": {"promptId": run, "after": 0, "logId": "x", "batch": True}},
        {"type": "UNSUBSCRIBE", "payload": {"promptId": run}, "requestId": "r"},
        {"type": "INTERRUPT_REQUEST", "payload": {"promptId": "none"}, "requestId": "r"},
        {"type": "button_click", "payload": {"nodeId": "n", "buttonName": "b"}},
        *({"type": "PROMPT_REQUEST", "payload": {**body, "requestId": "r"}} for body in seeds.documents()[:8]),
    ]
    keys = keys_in(normal)

    def make() -> list[bytes]:
        return [mutator.json_input(normal, keys) for _ in range(mutator.rng.choice((1, 2, 5)))]

    return Target("client-frames", 40, make, gateway.feed_frames, gateway.check_socket)


# --- a real socket ------------------------------------------------------------------------------------------------


@dataclass
class RawSocket:
    """The same app behind the real server: bytes go through its parsers of HTTP and of WebSocket frames."""

    gateway: GatewayUnderTest
    port: int

    async def send(self, data: bytes) -> bytes:
        """Everything the server answers to these bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            writer.write_eof()
            return await reader.read(1_000_000)
        except ConnectionError:
            return b""
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def feed(self, data: bytes) -> None:
        answer = await self.send(data)
        self.gateway.log.take()
        if re.match(rb"HTTP/1\.1 5\d\d", answer) and not any(reason in answer for reason in NO_WORKER):
            raise Broken(f"answered {answer[:200]!r}")

    async def check(self) -> None:
        answer = await self.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise Broken(f"a normal request has the answer {answer[:200]!r}")
        await self.gateway.check()


@contextlib.asynccontextmanager
async def raw_socket(gateway: GatewayUnderTest) -> AsyncIterator[RawSocket]:
    """The app, which is started already, behind uvicorn on a free port."""
    config = server_config(gateway.app)
    config.lifespan, config.timeout_graceful_shutdown = "off", 1
    server, sock = uvicorn.Server(config), listen("127.0.0.1", 0)
    task = asyncio.create_task(server._serve([sock]))
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        yield RawSocket(gateway, sock.getsockname()[1])
    finally:
        server.should_exit = True
        await task


def socket_target(mutator: Mutator, raw: RawSocket) -> Target:
    """Damaged requests, and damaged WebSocket frames behind a good handshake."""
    requests, token = Requests(mutator, raw.gateway), worker_token(raw.gateway.settings).encode()

    def make() -> bytes:
        if mutator.rng.random() < 0.6:
            wire = requests().to_wire()
            return mutator.spoiled(wire) if mutator.rng.random() < 0.8 else wire
        path = mutator.rng.choice((b"/ws", b"/internal/worker"))
        normal = [json.dumps(frame).encode() for frame in (HELLO, *TO_GATEWAY[:3])]
        frames = b"".join(_frame(mutator.rng.choice(normal), mutator) for _ in range(3))
        shake = b"GET %b HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n" % path
        shake += b"authorization: Bearer %b\r\nsec-websocket-version: 13\r\n" % token
        shake += b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        return shake + mutator.spoiled(frames)

    return Target("raw-socket", 10, make, raw.feed, raw.check)


def _frame(data: bytes, mutator: Mutator) -> bytes:
    """A masked WebSocket frame; its mask is zero, so that damage to the text stays where it was done."""
    opcode = mutator.rng.choice((1, 2, 2, 2, 0, 8, 9, 10, 3))
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + data
