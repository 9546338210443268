"""Workflows follow the groups that they run, on the real stack."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.gateway.library import group_sync
from innkeeper.gateway.library.group_sync import AUTHOR
from tests.gateway.asking import until
from tests.gateway.conftest import Stack

Json = dict[str, Any]
ANY = {"If-Match": "*"}


def group(identity: str, *inputs: str, outputs: tuple[str, ...] = ("line",), **more: Any) -> Json:
    """Gives its first input (of several edges the last counts), or a text, as each of its outputs."""
    into = [
        {"id": key, "source": "in", "sourceHandle": key, "target": "say", "targetHandle": "text"}
        for key in reversed(inputs)
    ]
    return {
        "id": identity,
        "name": identity,
        "nodes": [
            {"id": "in", "type": "core:GroupInput"},
            {"id": "say", "type": "toys:Say", "inputValues": {"text": "none"}},
            {"id": "out", "type": "core:GroupOutput"},
        ],
        "edges": [
            *into,
            *(
                {"id": key, "source": "say", "sourceHandle": "text", "target": "out", "targetHandle": key}
                for key in outputs
            ),
        ],
        "interfaceInputs": {key: {"key": key, "dataFlowType": "STRING"} for key in inputs},
        "interfaceOutputs": {key: {"key": key, "dataFlowType": "STRING"} for key in outputs},
        **more,
    }


def user(identity: str, of: str, **more: Any) -> Json:
    """Runs a group with a value in `a` and an edge into `b`."""
    return {
        "zeta": 1.0,
        "id": identity,
        "name": identity,
        "nodes": [
            {"id": "say", "type": "toys:Say", "inputValues": {"text": "said"}},
            {
                "position": {"y": 0, "x": 0},
                "id": "group",
                "type": "core:NodeGroup",
                "configValues": {"referencedWorkflowId": of},
                "inputValues": {"a": "typed"},
            },
            {"id": "out", "type": "core:GroupOutput"},
        ],
        "edges": [
            {"id": "in", "source": "say", "sourceHandle": "text", "target": "group", "targetHandle": "b"},
            {"id": "e", "source": "group", "sourceHandle": "line", "target": "out", "targetHandle": "line"},
        ],
        "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "STRING"}},
        **more,
    }


async def made(http: httpx.AsyncClient, document: Json, **params: str) -> Json:
    answer = await http.post("/api/workflows", json=document, params=params)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def put(http: httpx.AsyncClient, document: Json, **params: str) -> Json:
    answer = await http.put(f"/api/workflows/{document['id']}", json=document, headers=ANY, params=params)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def listed(http: httpx.AsyncClient, name: str, project: str = "default") -> Json:
    found = (await http.get("/api/workflows", params={"project": project, "limit": 5000})).json()
    return dict(next(item for item in found if item["id"] == name))


async def until_listed(http: httpx.AsyncClient, name: str, project: str = "default", **wanted: Any) -> Json:
    """Wait until the list says so of a workflow."""
    async with asyncio.timeout(20):
        while True:
            found = await listed(http, name, project)
            if all(found.get(key) == value for key, value in wanted.items()):
                return found
            await asyncio.sleep(0.02)


async def versions(http: httpx.AsyncClient, name: str, **params: str) -> list[Json]:
    return list((await http.get(f"/api/workflows/{name}/versions", params=params)).json())


async def settled(http: httpx.AsyncClient) -> None:
    """Whatever had to follow has followed: changes are followed in their order."""
    await made(http, group("last-in", "a", "b"))
    await made(http, user("last", "last-in"))
    await put(http, group("last-in", "b"))
    await until_listed(http, "last", version=2)


@pytest.fixture
async def alone(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway of the test's own, without a worker."""
    async with stack.gateway(), stack.http() as http:
        yield http


# --- following --------------------------------------------------------------------------------------------------------


async def test_user_follows_a_group_s_new_interface_with_a_version(alone: httpx.AsyncClient) -> None:
    await made(alone, group("g", "a", "b"))
    await made(alone, user("u", "g"))
    await made(alone, user("other", "not-g"))
    saved = await put(alone, group("g", "a", "b", "c"))
    assert [item["id"] for item in saved["updates"]] == ["u"]
    saved = await put(alone, group("g", "b", "c"))
    assert (saved["updates"], saved["updateCount"]) == ([{"id": "u", "projectId": "default", "name": "u"}], 1)
    await until_listed(alone, "u", version=2, valid=True)
    expected = user("u", "g")
    expected["nodes"][1]["inputValues"] = {}
    assert (await alone.get("/api/workflows/u")).text == json.dumps(expected, separators=(",", ":"))
    newest, first = await versions(alone, "u")
    assert (newest["author"], first["author"]) == (AUTHOR, "default_user")
    assert newest["note"] == "follows the interface of 'g'; lost: the value of slot 'a' of node 'group'"
    before = (await alone.get("/api/workflows/u/versions/1")).json()
    assert before == user("u", "g")
    same = await put(alone, {**group("g", "b", "c"), "name": "renamed"})
    assert (same["updates"], same["updateCount"]) == ([], 0)
    await settled(alone)
    assert len(await versions(alone, "u")) == 2
    assert (await listed(alone, "other"))["version"] == 1


async def test_groups_that_run_each_other_and_themselves_come_to_rest(alone: httpx.AsyncClient) -> None:
    """A user with the same interface stops the chain; a circle follows once."""

    def ring(identity: str, of: str, *inputs: str) -> Json:
        document = user(identity, of)
        return {**document, "interfaceInputs": group(identity, *inputs)["interfaceInputs"]}

    await made(alone, ring("one", "two", "a", "b"))
    await made(alone, ring("two", "one", "a", "b"))
    await made(alone, ring("self", "self", "a", "b"))
    await made(alone, user("above", "two"))
    await put(alone, ring("one", "two", "b"))
    await put(alone, ring("self", "self", "b"))
    await until_listed(alone, "two", version=2)
    await until_listed(alone, "self", version=3)
    await settled(alone)
    counts = {name: (await listed(alone, name))["version"] for name in ("one", "two", "self", "above")}
    assert counts == {"one": 2, "two": 2, "self": 3, "above": 1}


async def test_ids_mean_the_workflow_of_the_own_project_first(alone: httpx.AsyncClient) -> None:
    for project in ("near", "far"):
        assert (await alone.post("/api/projects", json={"name": project})).status_code == 201
        await made(alone, user("u", "g"), project=project)
    await made(alone, group("g", "a", "b"))
    await made(alone, group("g", "a", "b"), project="near")
    for project in ("near", "far"):
        await until_listed(alone, "u", project, valid=True)
    saved = await put(alone, group("g", "b"), project="default")
    assert [(item["id"], item["projectId"]) for item in saved["updates"]] == [("u", "far")]
    await until_listed(alone, "u", "far", version=2)
    answer = await alone.put("/api/projects/near/workflows/g", json=group("g", "a"))
    assert answer.headers["innkeeper-updates"] == "1"
    assert (await until_listed(alone, "u", "near", version=2))["valid"]
    document = (await alone.get("/api/workflows/u", params={"project": "near"})).json()
    assert [edge["id"] for edge in document["edges"]] == ["e"]
    # The near one goes: its users get the one of `default`.
    assert (await alone.delete("/api/projects/near/workflows/g")).status_code == 204
    await until_listed(alone, "u", "near", version=3)


async def test_what_runs_take_counts_whoever_publishes_deletes_or_restores(alone: httpx.AsyncClient) -> None:
    await made(alone, group("g", "a", "b"))
    await made(alone, user("u", "g"))
    await alone.post("/api/workflows/g/publish", headers=ANY)
    assert (await put(alone, group("g", "b")))["updates"] == []  # runs take version 1
    await settled(alone)
    assert (await listed(alone, "u"))["version"] == 1
    await alone.post("/api/workflows/g/publish", headers=ANY)
    await until_listed(alone, "u", version=2, valid=True)
    assert (await alone.delete("/api/workflows/g", headers=ANY)).status_code == 204
    gone = await until_listed(alone, "u", valid=False)
    assert gone["version"] == 2
    assert "'g', which does not exist" in gone["reason"]
    # Another one under its id: nothing was lost while there was none.
    await made(alone, group("g"))
    assert "reason" not in await until_listed(alone, "u", version=3, valid=True)
    assert (await versions(alone, "u"))[0]["note"].count("edge 'in'") == 1


async def test_drafts_are_judged_anew_when_their_group_comes(alone: httpx.AsyncClient) -> None:
    draft = await made(alone, user("u", "g"))
    assert not draft["valid"]
    document = group("g", "a", "b")
    document["nodes"].append({"id": "odd", "type": "no:Such"})
    await made(alone, document)
    assert not (await listed(alone, "u"))["valid"]
    saved = await put(alone, group("g", "a", "b"))
    assert saved["valid"]
    assert (await until_listed(alone, "u", valid=True))["version"] == 1


async def test_published_version_that_a_group_breaks_is_told(alone: httpx.AsyncClient) -> None:
    """Its pointer stays, and runs take it: so the workflow is not valid, though its newest version is."""
    needs = group("g", "a", "b")
    await made(alone, needs)
    await made(alone, user("u", "g"))
    assert (await alone.post("/api/workflows/u/publish", headers=ANY)).json()["valid"]
    plain = user("u", "g")
    plain["nodes"][1]["inputValues"]["c"] = "set"
    await put(alone, plain)
    needs["interfaceInputs"]["c"] = {"key": "c", "dataFlowType": "STRING", "required": True}
    await put(alone, needs)
    told = await until_listed(alone, "u", valid=False)
    assert (told["published"], told["version"]) == (1, 2)
    assert told["reason"].startswith("version 1: ")
    assert "'c'" in told["reason"]
    assert (await alone.post("/api/workflows/u/publish", json={"version": 2}, headers=ANY)).status_code == 200
    assert "reason" not in await until_listed(alone, "u", valid=True, published=2)


async def test_workflow_files_are_followed(stack: Stack) -> None:
    folder = stack.data / "shared" / "library" / "workflows"
    folder.mkdir(parents=True)
    (folder / "g.json").write_text(json.dumps(group("g", "a", "b")))
    async with stack.gateway(), stack.http() as http:
        await made(http, user("u", "g"))
        (folder / "g.json").write_text(json.dumps(group("g", "b")))
        await until_listed(http, "u", version=2, valid=True)


# --- others at the same time ------------------------------------------------------------------------------------------


async def test_nobody_s_save_is_lost_beside_the_group_s(alone: httpx.AsyncClient) -> None:
    """A writer saves without pause while its group changes: all it wrote is there, and the last version fits."""
    await made(alone, group("g", "a", "b"))
    await made(alone, {**user("u", "g"), "done": []})

    async def write() -> None:
        for number in range(40):
            while True:
                seen = await alone.get("/api/workflows/u")
                document = {**seen.json(), "done": [*seen.json()["done"], number]}
                match = {"If-Match": seen.headers["etag"]}
                if (await alone.put("/api/workflows/u", json=document, headers=match)).status_code == 200:
                    break

    async def change() -> None:
        for number in range(10):
            await put(alone, group("g", *(("b",) if number % 2 else ("a", "b"))))
            await asyncio.sleep(0.02)

    await asyncio.gather(write(), change())
    await settled(alone)
    document = (await alone.get("/api/workflows/u")).json()
    assert document["done"] == list(range(40))
    assert document["nodes"][1]["inputValues"] == {}
    assert (await listed(alone, "u"))["valid"]


async def test_who_saves_before_it_has_followed_is_brought_up_all_the_same(
    alone: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor that was open saves what it has: with the group as it was."""
    await made(alone, group("g", "a", "b"))
    await made(alone, user("u", "g"))
    await settled(alone)
    look_at, gate = group_sync.GroupSync._look_at, asyncio.Event()

    async def look_later(self: group_sync.GroupSync, number: int, **about: bool) -> None:
        await gate.wait()
        await look_at(self, number, **about)

    monkeypatch.setattr(group_sync.GroupSync, "_look_at", look_later)
    await put(alone, group("g", "b"))
    await put(alone, user("u", "g", description="mine"))
    gate.set()
    await until_listed(alone, "u", version=3, valid=True, description="mine")
    assert (await alone.get("/api/workflows/u")).json()["nodes"][1]["inputValues"] == {}


async def test_what_a_crash_leaves_undone_is_done_at_the_next_start(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*args: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        async with stack.gateway(), stack.http() as http:
            await made(http, group("g", "a", "b"))
            await made(http, user("u", "g"))
            await settled(http)
        patch.setattr(group_sync.GroupSync, "_follow", never)
        async with stack.gateway(), stack.http() as http:
            assert (await put(http, group("g", "b")))["updateCount"] == 1
            await asyncio.sleep(0.3)
            assert (await listed(http, "u"))["version"] == 1
    async with stack.gateway(), stack.http() as http:
        await until_listed(http, "u", version=2, valid=True)


async def test_one_that_cannot_be_read_keeps_nobody_from_following(
    alone: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(alone, group("g", "a", "b"))
    for name in ("bad", "good"):
        await made(alone, user(name, "g"))
    follow = group_sync.follow_groups

    def fail(document: Json, *args: Any) -> Any:
        if document["id"] == "bad":
            raise RuntimeError("odd")
        return follow(document, *args)

    monkeypatch.setattr(group_sync, "follow_groups", fail)
    await put(alone, group("g", "b"))
    await until_listed(alone, "good", version=2)
    assert (await listed(alone, "bad"))["version"] == 1


async def test_run_that_began_before_ends_as_it_began(shared: Stack, http: httpx.AsyncClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    await made(http, group("sync-g", "a", "b"))
    document = user("sync-u", "sync-g")
    document["nodes"][0] = {"id": "say", "type": "toys:Hold", "inputValues": {"gate": str(gate)}}
    await made(http, document)
    run = (await http.post("/api/prompt", json={"workflowId": "sync-u"})).json()["promptId"]
    await put(http, group("sync-g", "b"))
    await until_listed(http, "sync-u", version=2, valid=True)
    after = (await http.post("/api/prompt", json={"workflowId": "sync-u"})).json()["promptId"]
    gate.touch()
    ended = {}
    for name in (run, after):
        await until(http, name, "complete")
        ended[name] = (await http.get(f"/api/prompt/{name}")).json()
    assert ended[run]["outputs"] == {"line": "typed"}
    assert ended[after]["outputs"]["line"] not in ("typed", "none")
    assert [ended[name]["workflowVersion"] for name in (run, after)] == [1, 2]
    for name in ("sync-u", "sync-g"):
        with contextlib.suppress(AssertionError):
            await http.delete(f"/api/workflows/{name}", headers=ANY)
