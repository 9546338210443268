"""A Temporal server that `innkeeper up` did not start: bare, as somebody else runs it, behind TLS that asks for a
client's certificate."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from innkeeper.gateway.process.temporal_server import DYNAMIC_CONFIG, free_port, free_ports
from tests.conftest import temporal_binary
from tests.e2e.proxies import listens


def server_command(folder: Path, ports: Sequence[int]) -> list[str]:
    """What starts a server on a file. `ports`: of gRPC, metrics and HTTP."""
    port, metrics, http = ports
    command = [temporal_binary(), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    command += ["--metrics-port", str(metrics), "--http-port", str(http), "--log-level", "never"]
    command += ["--db-filename", str(folder / "temporal.db"), "--sqlite-pragma", "journal_mode=WAL"]
    for key, value in DYNAMIC_CONFIG.items():
        command += ["--dynamic-config-value", f"{key}={value}"]
    return command


@contextlib.contextmanager
def bare_server(folder: Path) -> Iterator[str]:
    """A server without our namespace and search attributes, on a file; gives its address."""
    ports = free_ports(3)
    with subprocess.Popen(server_command(folder, ports), stdout=subprocess.DEVNULL) as process:
        try:
            while not listens(ports[0]):
                assert process.poll() is None
            yield f"127.0.0.1:{ports[0]}"
        finally:
            process.kill()


@dataclass(frozen=True)
class Certificates:
    """Files of a small authority: its own certificate, and those of a server on this machine and of a client."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def environment(self) -> dict[str, str]:
        """What a client's Temporal configuration needs."""
        return {
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(self.path("authority")),
            "TEMPORAL_TLS_CLIENT_CERT_PATH": str(self.path("client")),
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(self.path("client.key")),
        }


def make_certificates(folder: Path) -> Certificates:
    made = Certificates(folder)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("authority", "server", "client")}
    names = {name: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in keys}
    now = datetime.datetime.now(datetime.UTC)
    for name, key in keys.items():
        certificate = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names["authority"])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "authority", path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(keys["authority"], hashes.SHA256())
        )
        made.path(name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        made.path(f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return made


@contextlib.asynccontextmanager
async def tls_in_front(address: str, certificates: Certificates) -> AsyncIterator[str]:
    """TLS in front of a server that has none; only who shows a certificate of the authority gets through."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.path("server"), certificates.path("server.key"))
    context.load_verify_locations(certificates.path("authority"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
            with contextlib.closing(inner_writer):
                pipes = [
                    asyncio.ensure_future(_pipe(reader, inner_writer)),
                    asyncio.ensure_future(_pipe(inner_reader, writer)),
                ]
                await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
                for pipe in pipes:
                    pipe.cancel()

    listening = free_port()
    server = await asyncio.start_server(serve, "127.0.0.1", listening, ssl=context)
    try:
        yield f"127.0.0.1:{listening}"
    finally:
        server.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
