"""Making a namespace fit, and refusing one that is not: with a server that somebody else has started."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.activities import worker
from innkeeper.activities.settings import SettingsError, WorkerSettings
from innkeeper.gateway.process.temporal_access import TemporalUnfit, checked_server, embedded_environment, server_of
from innkeeper.gateway.process.temporal_setup import Commands, Step, _tried, set_up
from innkeeper.gateway.runs.known_namespace import KnownNamespace
from innkeeper.gateway.runs.temporal_client import TemporalLink
from innkeeper.gateway.settings import Settings
from innkeeper.workflows.namespace import NamespaceFacts, namespace_facts, objection
from tests.e2e.own_temporal import bare_server


@pytest.fixture(scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    with bare_server(tmp_path_factory.mktemp("bare")) as address:
        yield address


async def client_of(address: str, namespace: str) -> Client:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(RuntimeError):  # it has just begun to listen
                return await Client.connect(address, namespace=namespace)


async def test_setup_makes_namespace_retention_and_attributes_once(address: str) -> None:
    client = await client_of(address, "fresh")
    assert (await namespace_facts(client)).exists is False
    first = await set_up(client)
    assert [step.outcome for step in first] == ["made", "made"]
    found = await namespace_facts(client)
    assert (found.exists, found.retention, found.missing, found.mistyped) == (True, timedelta(days=7), (), ())
    assert {step.outcome for step in await set_up(client)} == {"there"}
    changed = await set_up(client, timedelta(days=30))
    assert [step.what for step in changed if step.outcome == "made"] == ["retention of 30d"]
    assert (await namespace_facts(client)).retention == timedelta(days=30)


async def test_only_what_is_missing_is_made_and_another_type_is_told(address: str) -> None:
    client = await client_of(address, "half")
    kept = timedelta(days=3)
    request = RegisterNamespaceRequest(namespace="half")
    request.workflow_execution_retention_period.FromTimedelta(kept)
    await client.workflow_service.register_namespace(request)
    types = {
        "TenantId": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
        "RunStatus": IndexedValueType.INDEXED_VALUE_TYPE_INT,
    }
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(RPCError):
                await client.operator_service.add_search_attributes(
                    AddSearchAttributesRequest(namespace="half", search_attributes=types)
                )
                break
            await asyncio.sleep(0.2)
    steps = {step.what: step.outcome for step in await set_up(client)}
    assert steps == {
        "namespace half, which keeps histories for 3d": "there",
        "search attribute TenantId": "there",
        "search attribute RunStatus as Keyword: it is Int": "refused",
        "search attributes GraphId": "made",
    }
    said = objection(await namespace_facts(client), "half")
    assert said is not None
    assert "RunStatus are not of the type Keyword" in said


async def test_gateway_waits_for_the_setup_and_then_goes_on_by_itself(address: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, temporal_address=address, namespace="later")
    link = TemporalLink(settings)
    watching = asyncio.create_task(link.watch())
    try:
        async with asyncio.timeout(30):
            while link.state == "Temporal does not answer":
                await asyncio.sleep(0.05)
        assert link.state == (
            "Temporal has no namespace 'later': run 'innkeeper setup' with the same connection, or set "
            "INNKEEPER_NAMESPACE"
        )
        await set_up(await client_of(address, "later"))
        async with asyncio.timeout(30):
            await link.wait()
        assert link.state == "ok"
    finally:
        watching.cancel()


async def test_worker_and_up_refuse_a_namespace_without_attributes(address: str, tmp_path: Path) -> None:
    said = "namespace 'default' lacks the search attributes GraphId, TenantId, RunStatus: run 'innkeeper setup'"
    settings = WorkerSettings(
        data_dir=tmp_path, temporal_address=address, namespace="default", payload_encryption="off"
    )
    with pytest.raises(SettingsError, match=said):
        await worker.connect(settings, {}, asyncio.Event())
    with pytest.raises(TemporalUnfit, match=said):
        await checked_server(address, "default")
    embedded = settings.changed(temporal_embedded=True)  # an old file of ours may lack them: runs go without
    assert await worker.connect(embedded, {}, asyncio.Event()) is not None


@pytest.mark.parametrize(
    ("facts", "is_fit"),
    [
        (NamespaceFacts(None), False),
        (NamespaceFacts(True), True),  # its attributes are not for us to list: the first run tells what is missing
        (NamespaceFacts(True, attributes={"GraphId": "Keyword", "TenantId": "Keyword"}), False),
        (NamespaceFacts(True, attributes=dict.fromkeys(("GraphId", "TenantId", "RunStatus", "More"), "Keyword")), True),
    ],
)
def test_namespace_is_refused_for_what_is_known_to_be_missing(facts: NamespaceFacts, is_fit: bool) -> None:
    assert (objection(facts, "n") is None) is is_fit


async def test_what_the_server_does_not_let_us_make_is_told_with_the_command() -> None:
    async def refuse() -> None:
        raise RPCError("no", RPCStatusCode.PERMISSION_DENIED, b"")

    async def break_off() -> None:
        raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")

    command = Commands("n", in_cloud=False).namespace(timedelta(days=7))
    assert await _tried("namespace n", refuse, command) == Step("namespace n", "refused", command)
    with pytest.raises(RPCError, match="away"):
        await _tried("namespace n", break_off, command)


def test_commands_are_those_of_the_server_or_of_the_cloud() -> None:
    own, cloud = Commands("inn", in_cloud=False), Commands("inn.a1b2c", in_cloud=True)
    week = timedelta(days=7)
    assert own.namespace(week) == "temporal operator namespace create --namespace inn --retention 7d"
    assert own.add(["GraphId"]) == (
        "temporal operator search-attribute create --namespace inn --name GraphId --type Keyword"
    )
    assert cloud.namespace(week) == "tcld namespace create --namespace inn --region REGION --retention-days 7"
    assert cloud.add(["GraphId", "TenantId"]) == (
        "tcld namespace search-attributes add --namespace inn.a1b2c --search-attribute GraphId=Keyword "
        "--search-attribute TenantId=Keyword"
    )


@pytest.mark.parametrize(
    ("address", "environ", "server"),
    [
        (None, {}, None),
        (None, {"TEMPORAL_CONFIG_FILE": "x.toml", "TEMPORAL_API_KEY": "k"}, None),
        (None, {"TEMPORAL_ADDRESS": "t:1"}, ""),
        (None, {"TEMPORAL_PROFILE": "prod"}, ""),
        ("given:1", {"TEMPORAL_ADDRESS": "t:1"}, "given:1"),
    ],
)
def test_up_starts_its_own_server_unless_another_one_is_named(
    address: str | None, environ: dict[str, str], server: str | None
) -> None:
    assert server_of(address, environ) == server


def test_processes_of_the_embedded_server_know_nothing_of_another_one() -> None:
    environ = {"TEMPORAL_ADDRESS": "t:1", "TEMPORAL_API_KEY": "k", "PATH": "/bin"}
    found = embedded_environment(environ)
    assert {name for name in found if name.startswith("TEMPORAL_")} == {"TEMPORAL_CONFIG_FILE"}
    assert (found["PATH"], found["INNKEEPER_TEMPORAL_EMBEDDED"]) == ("/bin", "1")


async def test_gateway_refuses_a_namespace_that_does_not_know_its_open_runs(address: str, tmp_path: Path) -> None:
    await set_up(await client_of(address, "first"))
    await set_up(await client_of(address, "second"))
    running = 0

    async def count() -> int:
        return running

    async def state_on(namespace: str) -> str:
        settings = Settings(data_dir=tmp_path, temporal_address=address, namespace=namespace)
        link = TemporalLink(settings, known_namespace=KnownNamespace(tmp_path, count))
        watching = asyncio.create_task(link.watch())
        async with asyncio.timeout(30):
            while link.state == "Temporal does not answer":
                await asyncio.sleep(0.02)
        watching.cancel()
        return link.state

    assert await state_on("first") == "ok"
    running = 1
    assert "1 run of this data directory runs on another Temporal namespace" in await state_on("second")
    assert await state_on("first") == "ok"
