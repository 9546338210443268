"""What a page that the user happens to open can send: to every port that `innkeeper up` opens, it gets nothing.

A page can send GET and POST with text/plain to any port of this machine, from a foreign Origin; and with a name of its
own that it rebinds to this machine it can also read the answers.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.e2e.test_up import Up

EVIL = "https://evil.example"
START = {
    "workflowType": {"name": "GraphWorkflow"},
    "taskQueue": {"name": "innkeeper"},
    "input": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "e30="}],
}
ENGINE = "/api/v1/namespaces/innkeeper"
RUN = {"nodes": [{"id": "n", "fullType": "core:CreateMessage", "inputs": {"content": "x"}}], "edges": []}
REQUESTS = [
    ("GET", "/api/v1/cluster-info", b""),
    ("GET", "/cluster", b""),
    ("GET", "/api/v1/namespaces", b""),
    ("GET", f"{ENGINE}/workflows", b""),
    ("POST", f"{ENGINE}/workflows/from-a-page", json.dumps(START).encode()),
    ("GET", "/api/nodes", b""),
    ("GET", "/api/history", b""),
    ("GET", "/api/files/user/", b""),
    ("GET", "/api/channels", b""),
    ("POST", "/api/prompt", json.dumps(RUN).encode()),
    ("POST", "/api/events", b'{"name": "x"}'),
    ("POST", "/api/gc", b""),
]


def ports_of(process: psutil.Process) -> set[int]:
    found = set()
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            found |= {item.laddr.port for item in each.net_connections("tcp") if item.status == psutil.CONN_LISTEN}
    return found


def answers(port: int) -> Iterator[tuple[str, int]]:
    """What a page got: a description and the status of each answer that is HTTP."""
    hosts = (f"127.0.0.1:{port}", f"localhost:{port}", f"evil.example:{port}", "evil.example")
    with httpx.Client(timeout=10, trust_env=False) as http:
        for method, path, body in REQUESTS:
            for host in hosts:
                # A rebound name is its own origin: the browser sends that one, or none with GET.
                origins = (EVIL, "null") if host.startswith(("127", "local")) else (f"http://{host}", None)
                for origin in origins:
                    headers = {"host": host, "content-type": "text/plain", **({"origin": origin} if origin else {})}
                    with contextlib.suppress(httpx.TransportError):  # a port that speaks something else
                        answer = http.request(method, f"http://127.0.0.1:{port}{path}", content=body, headers=headers)
                        yield f"{method} {path} at {port} as {host} from {origin}", answer.status_code


def runs_of(up: Up) -> list[object]:
    with httpx.Client(base_url=up.url, trust_env=False) as http:
        return [http.get(f"/api/{page}").json() for page in ("history", "executions")]


def test_a_page_gets_nothing_from_any_port(attacked: Up) -> None:
    before = runs_of(attacked)
    ports = ports_of(psutil.Process(attacked.process.pid))
    assert len(ports) >= 3, "the gateway and the engine listen"
    served = [what for port in ports for what, status in answers(port) if status < 400]
    assert served == []
    assert runs_of(attacked) == before


def subscribe(url: str) -> None:
    """Take messages until the other side hangs up."""
    with connect(url, origin=EVIL, open_timeout=5, proxy=None) as socket:  # type: ignore[arg-type]
        socket.send('{"type": "SUBSCRIBE", "payload": {"promptId": "x"}}')
        while True:
            assert "logId" not in str(socket.recv(timeout=5))


def test_a_page_gets_no_socket(attacked: Up) -> None:
    for port in ports_of(psutil.Process(attacked.process.pid)):
        for path in ("/ws", "/internal/worker", "/"):
            with pytest.raises((WebSocketException, OSError, EOFError)):
                subscribe(f"ws://127.0.0.1:{port}{path}")


def test_the_user_is_served(attacked: Up, tmp_path: Path) -> None:
    """The same requests without what gives a page away."""
    with httpx.Client(base_url=attacked.url, trust_env=False) as http:
        assert http.get("/api/nodes").status_code == 200
        assert http.post("/api/validate", json=RUN).status_code == 200
