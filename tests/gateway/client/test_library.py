"""The client's library against the real gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from innkeeper.gateway.client import (
    ANY_VERSION,
    GatewayClient,
    GatewayRefused,
    InvalidAddress,
    LibraryConflict,
    PreconditionRequired,
    VersionMismatch,
)
from innkeeper.nodes.errors import InvalidWorkflow
from tests.gateway.library.test_library import greeter


@pytest.fixture
async def client(shared: Any) -> AsyncIterator[GatewayClient]:
    async with GatewayClient(shared.url) as client:
        yield client


async def test_workflow_is_saved_in_versions_that_stay(client: GatewayClient) -> None:
    made = await client.workflows.create(greeter("client-kept", "one"), note="first")
    assert (made["version"], made["valid"], made["problems"]) == (1, True, [])
    seen = await client.workflows.get("client-kept")
    assert seen.etag == made["etag"]
    changed = {**seen.document, "zeal": {"b": 1, "a": 2}, "name": "Kept"}
    saved = await client.workflows.save(changed, etag=seen.etag, note="second")
    assert (saved["version"], saved["isNewVersion"], saved["name"]) == (2, True, "Kept")
    again = await client.workflows.save(changed, etag=saved["etag"])
    assert (again["version"], again["isNewVersion"]) == (2, False)
    newest, first = await client.workflows.versions("client-kept")
    assert [(item["version"], item["note"]) for item in (newest, first)] == [(2, "second"), (1, "first")]
    assert await client.workflows.versions("client-kept", before=2, limit=1) == [first]
    assert list((await client.workflows.get("client-kept")).document["zeal"]) == ["b", "a"]
    assert (await client.workflows.get("client-kept", 1)).document == greeter("client-kept", "one")
    told = await client.workflows.diff("client-kept", 1, 2)
    assert set(told["document"]) == {"name", "zeal.b", "zeal.a"} or set(told["document"]) == {"name", "zeal"}


async def test_change_names_the_version_that_was_read(client: GatewayClient) -> None:
    made = await client.workflows.create(greeter("client-match", "one"))
    with pytest.raises(PreconditionRequired, match="If-Match"):
        await client.workflows.save(greeter("client-match", "two"))
    await client.workflows.save(greeter("client-match", "two"), etag=made["etag"])
    for change in (
        client.workflows.save(greeter("client-match", "three"), etag=made["etag"]),
        client.workflows.publish("client-match", etag=made["etag"]),
        client.workflows.unpublish("client-match", etag=made["etag"]),
        client.workflows.delete("client-match", etag=made["etag"]),
    ):
        with pytest.raises(VersionMismatch) as refused:
            await change
        assert refused.value.details["status"] == 412
        assert (refused.value.details["yours"]["version"], refused.value.details["current"]["version"]) == (1, 2)
    saved = await client.workflows.save(greeter("client-match", "three"), etag=ANY_VERSION)
    assert saved["version"] == 3


async def test_taken_ids_and_names_are_conflicts(client: GatewayClient) -> None:
    await client.workflows.create(greeter("client-taken", "one"))
    with pytest.raises(LibraryConflict) as refused:
        await client.workflows.create(greeter("client-taken", "two"))
    assert (refused.value.code, refused.value.details["status"]) == ("id_taken", 409)
    with pytest.raises(LibraryConflict) as refused:
        await client.workflows.create({**greeter("client-other", "two"), "name": "client-taken"})
    assert refused.value.code == "name_taken"


async def test_document_without_an_id_gets_one(client: GatewayClient) -> None:
    document = greeter("", "hello")
    del document["id"]
    made = await client.workflows.create({**document, "name": "client nameless"})
    assert (await client.workflows.get(made["id"])).document["name"] == "client nameless"


async def test_deleted_workflow_can_be_restored(client: GatewayClient) -> None:
    made = await client.workflows.create(greeter("client-bin", "one"))
    await client.workflows.delete("client-bin", etag=made["etag"])
    with pytest.raises(GatewayRefused) as refused:
        await client.workflows.get("client-bin")
    assert refused.value.code == "workflow_not_found"
    assert "client-bin" in [item["id"] for item in await client.workflows.find(deleted=True)]
    assert (await client.workflows.restore("client-bin"))["version"] == 1
    assert "client-bin" in [item["id"] for item in await client.workflows.find()]


async def test_projects_hold_workflows_of_their_own(client: GatewayClient) -> None:
    made = await client.projects.create("Client Tales", description="of inns")
    assert made["id"] in [item["id"] for item in await client.projects.find()]
    with pytest.raises(LibraryConflict, match="already"):
        await client.projects.create("Client Tales")
    tale = {**greeter("client-tale", "one"), "tags": ["old"]}
    await client.workflows.create(tale, project=made["id"])
    assert [item["id"] for item in await client.workflows.find(project=made["id"])] == ["client-tale"]
    assert [item["projectId"] for item in await client.workflows.find(tag="old", project=made["id"])] == [made["id"]]
    assert await client.workflows.find(project=made["id"], tag="new") == []


async def test_run_by_id_takes_the_version_that_is_published_or_named(client: GatewayClient) -> None:
    await client.workflows.create(greeter("client-run", "one"))
    await client.workflows.save(greeter("client-run", "two"), etag=ANY_VERSION)
    assert await said(client) == "two"
    published = await client.workflows.publish("client-run", 1, etag=ANY_VERSION)
    assert published["published"] == 1
    assert (await client.workflows.get("client-run", "published")).document == greeter("client-run", "one")
    assert await said(client) == "one"
    assert await said(client, version=2) == "two"
    assert await said(client, version="latest", project="default") == "two"
    await client.workflows.unpublish("client-run", etag=ANY_VERSION)
    assert await said(client) == "two"


async def said(client: GatewayClient, **options: Any) -> Any:
    run = await client.submit(workflow_id="client-run", **options)
    return (await client.wait(run))["outputs"]["line"]


async def test_submission_is_a_document_or_an_id(client: GatewayClient) -> None:
    with pytest.raises(TypeError):
        await client.submit()
    with pytest.raises(TypeError):
        await client.submit({"nodes": []}, workflow_id="greeter")
    with pytest.raises(TypeError):
        await client.submit({"nodes": []}, version=1)


async def test_workflow_that_cannot_run_is_stored_but_not_published(client: GatewayClient) -> None:
    made = await client.workflows.create(greeter("client-draft", "x", "toys:NoSuchNode"))
    assert (made["valid"], made["problems"][0]["code"]) == (False, "unknown_node_type")
    with pytest.raises(InvalidWorkflow, match="NoSuchNode"):
        await client.workflows.publish("client-draft", etag=made["etag"])


@pytest.mark.parametrize("identity", ["", ".", "..", "\ud800"])
async def test_what_cannot_be_an_id_is_no_address(client: GatewayClient, identity: str) -> None:
    with pytest.raises(InvalidAddress, match="no id"):
        await client.workflows.get(identity)


async def test_id_with_signs_of_addresses_is_found(client: GatewayClient) -> None:
    strange = "client a?b#c%é"
    await client.workflows.create(greeter(strange, "one"))
    assert (await client.workflows.get(strange)).document["id"] == strange
