"""The example files of examples/proxy/ in front of a real gateway: TLS, streams, WebSockets, large uploads.

Each needs its program on PATH (`caddy`, `nginx`).
"""

from __future__ import annotations

import asyncio
import datetime
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.process.temporal_server import free_port
from tests.e2e.proxies import program, replaced, running

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "proxy"
NAME = "innkeeper.example.org"
TOKEN = "a-token-for-this-test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
STORY = orjson.loads((ROOT / "examples" / "story.json").read_text().replace('"demo-describer"', '"demo-describer@100"'))


@dataclass(frozen=True)
class Proxy:
    port: int

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{self.port}"

    def http(self) -> httpx.AsyncClient:
        """Asks this machine, and names the site as a browser does that found it by DNS."""
        transport = _ToLoopback(verify=False)
        return httpx.AsyncClient(base_url=self.origin, transport=transport, headers=BEARER, timeout=30)


class _ToLoopback(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = NAME
        request.url = request.url.copy_with(host="127.0.0.1")
        return await super().handle_async_request(request)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own for the site; gives the files of it and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    certificate, private = folder / "fullchain.pem", folder / "privkey.pem"
    certificate.write_bytes(built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return certificate, private


def caddy_command(folder: Path, port: int, gateway: str) -> list[str]:
    """What a machine of its own would not need: another port, a certificate that no authority gives."""
    text = (EXAMPLES / "Caddyfile").read_text()
    certificate, key = make_certificate(folder)
    text = replaced(text, f"{NAME} {{", f"{NAME}:{port} {{\n\ttls {certificate} {key}")
    file = folder / "Caddyfile"
    file.write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + replaced(text, "127.0.0.1:8090", gateway))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]


def nginx_command(folder: Path, port: int, gateway: str) -> list[str]:
    text = (EXAMPLES / "nginx.conf").read_text()
    make_certificate(folder)
    for old, new in {
        "listen 443": f"listen {port}",
        "/etc/ssl/innkeeper/": f"{folder}/",
        "/var/log/nginx/": f"{folder}/",
        "127.0.0.1:8090": gateway,
    }.items():
        text = replaced(text, old, new)
    (folder / "innkeeper.conf").write_text(text)
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr; events {{}}\n"
    (folder / "nginx.conf").write_text(f"{main}http {{ {paths} include {folder}/innkeeper.conf; }}")
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


COMMANDS = {"caddy": caddy_command, "nginx": nginx_command}
INSTALLED = [name for name in COMMANDS if program(name)]


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Host and port of a gateway that is set as the examples say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INNKEEPER_ACCESS_TOKEN", TOKEN)
        patch.setenv("INNKEEPER_ALLOWED_HOSTS", NAME)
        patch.setenv("INNKEEPER_ALLOW_LOOPBACK", "0")
        async with LocalStack(StackOptions(tmp_path_factory.mktemp("proxied"))) as stack:
            yield stack.url.removeprefix("http://")


@pytest.fixture(params=INSTALLED or [pytest.param("", marks=pytest.mark.skip("neither caddy nor nginx is on PATH"))])
async def proxy(request: pytest.FixtureRequest, gateway: str, tmp_path: Path) -> AsyncIterator[Proxy]:
    port = free_port()
    with running(COMMANDS[request.param](tmp_path, port, gateway), port, tmp_path):
        yield Proxy(port)


async def test_example_lets_clients_in_and_workers_out(proxy: Proxy) -> None:
    async with proxy.http() as http:
        assert (await http.get("/readyz")).json()["ready"] is True
        assert (await http.get("/readyz", headers={"Authorization": "Bearer wrong"})).status_code == 401
        assert (await http.get("/internal/worker")).status_code == 404
        own, foreign = {"Origin": proxy.origin}, {"Origin": "https://elsewhere.example.org"}
        assert (await http.get("/api/nodes", headers=own)).status_code == 200
        assert (await http.get("/api/nodes", headers=foreign)).status_code == 403


@pytest.mark.slow
async def test_upload_over_the_limits_of_proxies_passes(proxy: Proxy) -> None:
    async with proxy.http() as http:
        assert (await http.put("/api/files/user/big.bin", content=bytes(8_000_000))).is_success


@pytest.mark.slow
async def test_events_come_while_the_run_goes_on(proxy: Proxy) -> None:
    """A proxy that collects an answer would hand all of it on at the end."""
    async with proxy.http() as http:
        run = (await http.post("/api/prompt", json=STORY)).json()["promptId"]
        arrivals: list[float] = []
        async with http.stream("GET", f"/api/prompt/{run}/events?after=0") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("event: NODE_YIELD"):
                    arrivals.append(time.monotonic())
        assert (await http.get(f"/api/prompt/{run}")).json()["status"] == "complete"
    assert arrivals[-1] - arrivals[0] > 0.3


@pytest.mark.slow
async def test_browser_follows_a_run_by_websocket(proxy: Proxy) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    address = f"wss://{NAME}:{proxy.port}/ws?token={TOKEN}"
    async with (
        connect(address, host="127.0.0.1", port=proxy.port, ssl=trusting, origin=proxy.origin, proxy=None) as socket_,
        asyncio.timeout(30),
    ):
        await socket_.send(orjson.dumps({"type": "PROMPT_REQUEST", "payload": STORY}).decode())
        seen: set[Any] = set()
        while "complete" not in seen:
            frame = orjson.loads(await socket_.recv())
            seen |= {frame["type"], frame["payload"].get("status")}
    assert "NODE_YIELD" in seen
