"""The client's triggers against the real gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from innkeeper.gateway.client import (
    GatewayClient,
    GatewayRefused,
    InvalidAddress,
    InvalidTriggerDefinition,
    LibraryConflict,
    PreconditionRequired,
    VersionMismatch,
    etag_of,
)
from tests.gateway.cli.test_library_commands import taking

Json = dict[str, Any]


@pytest.fixture
async def client(shared: Any) -> AsyncIterator[GatewayClient]:
    async with GatewayClient(shared.url) as client:
        if not [item for item in await client.workflows.find() if item["id"] == "client-taking"]:
            await client.workflows.create(taking("client-taking"))
        yield client


def webhook(name: str, **more: Any) -> Json:
    part = {"scheme": "token", "config": {"header": "x-token"}}
    mapping = {"who": {"expression": "body.who"}}
    return {
        "name": name,
        "kind": "webhook",
        "workflow": {"id": "client-taking"},
        "webhook": part,
        "mapping": mapping,
        **more,
    }


async def test_webhook_is_made_used_changed_and_deleted(client: GatewayClient) -> None:
    made = await client.triggers.create(webhook("client-hook"), secrets=["sesame"])
    assert (made["secretCount"], made["version"], made["enabled"]) == (1, 1, True)
    assert made["url"] == f"{client.url}/hooks/{made['token']}"
    async with httpx.AsyncClient(trust_env=False, headers={"x-token": "sesame"}) as http:
        sent = await http.post(made["url"], json={"who": "Ann"})
    assert sent.status_code == 202
    assert (await client.wait(sent.json()["runId"]))["outputs"] == {"line": "Ann"}
    (result,) = (await client.triggers.results(made["id"]))["results"]
    assert (result["outcome"], result["runId"]) == ("fired", sent.json()["runId"])
    shown = await client.triggers.get(made["id"])
    assert not shown.keys() & {"token", "url"}
    changed = await client.triggers.replace(
        made["id"], webhook("client-hook", filter="body.who == 'Bo'"), etag=etag_of(shown)
    )
    assert (changed["version"], changed["filter"], changed["secretCount"]) == (2, "body.who == 'Bo'", 1)
    rotated = await client.triggers.rotate_token(made["id"])
    assert rotated["url"].startswith(f"{client.url}/hooks/")
    assert rotated["url"] != made["url"]
    await client.triggers.delete(made["id"], etag=etag_of(await client.triggers.get(made["id"])))
    with pytest.raises(GatewayRefused) as refused:
        await client.triggers.get(made["id"])
    assert refused.value.code == "trigger_not_found"


async def test_change_names_the_version_that_was_read(client: GatewayClient) -> None:
    made = await client.triggers.create(webhook("client-etag"), secrets=["sesame"])
    with pytest.raises(PreconditionRequired):
        await client.triggers.replace(made["id"], webhook("client-etag"))
    await client.triggers.disable(made["id"])
    for change in (
        client.triggers.replace(made["id"], webhook("client-etag"), etag=etag_of(made)),
        client.triggers.delete(made["id"], etag=etag_of(made)),
    ):
        with pytest.raises(VersionMismatch):
            await change
    assert (await client.triggers.enable(made["id"]))["enabled"] is True


async def test_what_is_wrong_is_told_with_its_place(client: GatewayClient) -> None:
    with pytest.raises(InvalidTriggerDefinition) as refused:
        await client.triggers.create(webhook("client-wrong", filter="a ==", rate={"limit": 0, "perSeconds": 1}))
    assert {"filter", "rate.limit", "enabled"} <= {path for path, _ in refused.value.problems}
    assert all(message for _, message in refused.value.problems)
    await client.triggers.create(webhook("client-twice"), secrets=["sesame"])
    with pytest.raises(LibraryConflict) as taken:
        await client.triggers.create(webhook("client-twice"), secrets=["sesame"])
    assert taken.value.code == "name_taken"


async def test_trying_out_starts_nothing_until_it_is_asked_for(client: GatewayClient) -> None:
    made = await client.triggers.create(webhook("client-test", filter="headers.\"x-kind\" == 'a'"), secrets=["sesame"])
    tried = await client.triggers.test(made["id"], {"who": "Cy"}, headers={"X-Kind": "b"})
    assert (tried["outcome"], "runId" in tried) == ("filtered", False)
    tried = await client.triggers.test(made["id"], {"who": "Cy"}, headers={"X-Kind": "a"})
    assert (tried["outcome"], tried["inputs"], "runId" in tried) == ("fired", {"who": "Cy"}, False)
    assert (await client.triggers.results(made["id"]))["results"] == []
    options: Json = {"headers": {"X-Kind": "a"}, "run": True}
    first = await client.triggers.test(made["id"], {"who": "Cy"}, delivery_id="d1", **options)
    again = await client.triggers.test(made["id"], {"who": "Cy"}, delivery_id="d1", **options)
    other = await client.triggers.test(made["id"], {"who": "Cy"}, **options)
    assert [item["outcome"] for item in (first, again, other)] == ["fired", "duplicate", "fired"]
    assert again["runId"] == first["runId"] != other["runId"]


async def test_run_that_waits_for_another_one_is_waited_for_before_it_has_begun(client: GatewayClient) -> None:
    made = await client.triggers.create(webhook("client-queue", concurrency={"policy": "queue"}), secrets=["sesame"])
    first, second = [await client.triggers.test(made["id"], {"who": name}, run=True) for name in ("Di", "Ed")]
    assert (first["outcome"], second["outcome"]) == ("fired", "queued")
    assert (await client.wait(second["runId"]))["outputs"] == {"line": "Ed"}


async def test_run_that_could_not_be_started_has_ended(client: GatewayClient) -> None:
    wrong = {"who": {"literal": "Flo"}, "nobody": {"literal": 1}}
    target = {"id": "client-taking", "published": True}
    made = await client.triggers.create(webhook("client-lost", mapping=wrong, workflow=target), secrets=["sesame"])
    lost = await client.triggers.test(made["id"], {}, run=True)
    assert lost["outcome"] == "fired"
    ended = await client.wait(lost["runId"])
    assert (ended["status"], ended.get("outputs", {})) == ("error", {})


@pytest.mark.parametrize("identity", ["", ".", "..", "a/b", "a?b", "\ud800"])
async def test_what_cannot_be_an_id_is_no_address(client: GatewayClient, identity: str) -> None:
    with pytest.raises(InvalidAddress, match="no id of a trigger"):
        await client.triggers.get(identity)
