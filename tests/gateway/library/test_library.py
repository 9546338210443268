"""The library over HTTP: nothing that was saved is lost, and what runs stays what it was."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.effort import LONG
from tests.gateway.api.test_control import until
from tests.gateway.conftest import Stack

Json = dict[str, Any]
RECORDED = Path(__file__).parents[2] / "vectors" / "data"
SAVES = 200 if LONG else 80
FILES = 1_000 if LONG else 250


def greeter(identity: str, word: str, kind: str = "toys:Say", **more: Any) -> Json:
    return {
        "id": identity,
        "name": identity,
        "nodes": [
            {"id": "say", "type": kind, "inputValues": {"text": word, **more}},
            {"id": "out", "type": "core:GroupOutput"},
        ],
        "edges": [{"id": "e", "source": "say", "sourceHandle": "text", "target": "out", "targetHandle": "line"}],
        "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "STRING"}},
    }


def around(identity: str, group: str, gate: Path) -> Json:
    """Waits for a file, then runs a group."""
    return {
        **greeter(identity, ""),
        "nodes": [
            {"id": "hold", "type": "toys:Hold", "inputValues": {"gate": str(gate)}},
            {"id": "group", "type": "core:NodeGroup", "configValues": {"referencedWorkflowId": group}},
            {"id": "merge", "type": "core:TextMerge", "inputValues": {"separator": "+"}},
            {"id": "out", "type": "core:GroupOutput"},
        ],
        "edges": [
            {"id": "a", "source": "hold", "sourceHandle": "text", "target": "merge", "targetHandle": "text_inputs__0"},
            {"id": "b", "source": "group", "sourceHandle": "line", "target": "merge", "targetHandle": "text_inputs__1"},
            {"id": "c", "source": "merge", "sourceHandle": "merged_text", "target": "out", "targetHandle": "line"},
        ],
    }


async def saved(http: httpx.AsyncClient, document: Json, **params: str) -> str:
    """Store a new workflow; gives its ETag."""
    response = await http.post("/api/workflows", json=document, params=params)
    assert response.status_code == 201, response.text
    assert response.json()["valid"], response.json()["problems"]
    return str(response.headers["etag"])


async def test_of_two_writers_none_loses_an_update(http: httpx.AsyncClient) -> None:
    await saved(http, {**greeter("counted", "0"), "done": []})
    refused = 0

    async def write(name: str) -> None:
        nonlocal refused
        for number in range(SAVES // 2):
            while True:
                seen = await http.get("/api/workflows/counted")
                document = seen.json()
                document["done"].append(f"{name}{number}")
                answer = await http.put(
                    "/api/workflows/counted", json=document, headers={"If-Match": seen.headers["etag"]}
                )
                if answer.status_code == 200:
                    break
                assert answer.status_code == 412
                refused += 1

    await asyncio.gather(write("a"), write("b"))
    newest = await http.get("/api/workflows/counted")
    assert sorted(newest.json()["done"]) == sorted(f"{name}{number}" for name in "ab" for number in range(SAVES // 2))
    versions = (await http.get("/api/workflows/counted/versions?limit=1000")).json()
    assert [version["version"] for version in versions] == list(range(SAVES + 1, 0, -1))
    for number in (1, 2, SAVES + 1):
        document = (await http.get(f"/api/workflows/counted/versions/{number}")).json()
        assert len(document["done"]) == number - 1
    assert refused > 0, "the writers never met"


async def test_writers_who_take_any_version_are_never_told_of_another_one(http: httpx.AsyncClient) -> None:
    await saved(http, greeter("busy", "0"))
    answers = await asyncio.gather(
        *(
            http.put("/api/workflows/busy", json=greeter("busy", str(number)), headers={"If-Match": "*"})
            for number in range(1, 9)
        )
    )
    assert [answer.status_code for answer in answers] == [200] * 8, [answer.text for answer in answers]
    versions = (await http.get("/api/workflows/busy/versions")).json()
    assert [version["version"] for version in versions] == list(range(9, 0, -1))


async def test_run_ends_as_it_began_whatever_becomes_of_its_workflow_and_group(
    shared: Stack, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    await saved(http, greeter("inner", "first"))
    await saved(http, around("outer", "inner", gate))
    ask = {"workflowId": "outer"}
    run = (await http.post("/api/prompt", json=ask)).json()["promptId"]
    await _replace(http, "inner", greeter("inner", "second"))
    await _replace(http, "outer", {**around("outer", "inner", gate), "name": "changed"})
    published = await http.post("/api/workflows/inner/publish", headers={"If-Match": "*"})
    assert published.json()["published"] == 2
    after = (await http.post("/api/prompt", json=ask)).json()["promptId"]
    for name in ("inner", "outer"):
        assert (await http.delete(f"/api/workflows/{name}", headers={"If-Match": "*"})).status_code == 204
    gate.touch()
    ended = {}
    for name in (run, after):
        await until(http, name, "complete")
        ended[name] = (await http.get(f"/api/prompt/{name}")).json()
    assert [ended[name]["outputs"]["line"].partition("+")[2] for name in (run, after)] == ["first", "second"]
    assert [ended[name]["workflowVersion"] for name in (run, after)] == [1, 2]
    assert [ended[name]["workflowVersions"] for name in (run, after)] == [{"inner": 1}, {"inner": 2}]
    assert (await http.post("/api/prompt", json=ask)).json()["code"] == "workflow_not_found"


async def _replace(http: httpx.AsyncClient, name: str, document: Json) -> None:
    answer = await http.put(f"/api/workflows/{name}", json=document, headers={"If-Match": "*"})
    assert answer.status_code == 200, answer.text


async def test_run_by_id_takes_the_published_version_else_the_newest_that_compiles(http: httpx.AsyncClient) -> None:
    async def line(**ask: Any) -> str:
        answer = (await http.post("/api/prompt", json={"workflowId": "chosen", "wait": 20, **ask})).json()
        return str(answer.get("code") or answer["outputs"]["line"])

    await saved(http, greeter("chosen", "one"))
    await _replace(http, "chosen", greeter("chosen", "two"))
    assert await line() == "two"
    await _replace(http, "chosen", greeter("chosen", "three", "no:Such"))
    assert await line() == "two"
    assert await line(version="latest") == "invalid_workflow"
    assert await line(version=1) == "one"
    assert await line(version="published") == "version_not_found"
    assert (await http.post("/api/prompt", json={"workflowId": "chosen", "version": 0})).status_code == 400
    await http.post("/api/workflows/chosen/publish", json={"version": 1}, headers={"If-Match": "*"})
    assert await line() == "one"
    await _replace(http, "chosen", greeter("chosen", "four"))
    assert (await line(), await line(version="latest")) == ("one", "four")


async def test_draft_runs_once_the_group_that_it_lacked_is_there(http: httpx.AsyncClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    document = around("early", "late", gate)
    made = (await http.post("/api/workflows", json=document)).json()
    assert (made["valid"], made["problems"][0]["code"]) == (False, "group_not_found")
    await saved(http, greeter("late", "there"))
    ended = (await http.post("/api/prompt", json={"workflowId": "early", "wait": 20})).json()
    assert ended["outputs"]["line"].endswith("+there")


async def test_workflow_that_asks_for_inputs_is_valid_and_can_be_published(http: httpx.AsyncClient) -> None:
    document = {
        **greeter("asks-for-more", "said"),
        "interfaceInputs": {"who": {"key": "who", "dataFlowType": "STRING", "required": True}},
    }
    await saved(http, document)
    published = await http.post("/api/workflows/asks-for-more/publish", headers={"If-Match": "*"})
    assert (published.status_code, published.json()["valid"]) == (200, True)
    ask = {"workflowId": "asks-for-more", "wait": 20}
    assert (await http.post("/api/prompt", json=ask)).json()["code"] == "invalid_workflow"
    ended = (await http.post("/api/prompt", json={**ask, "inputs": {"who": "Ada"}})).json()
    assert ended["outputs"] == {"line": "said"}


async def test_many_who_run_a_large_group_at_once_wait_for_nobody(http: httpx.AsyncClient) -> None:
    """Each compilation waits for the group in a thread: what reads it needs another one."""
    words = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(2_000)]
    await saved(http, greeter("large", " ".join(words)))
    group = {"id": "g", "type": "core:NodeGroup", "configValues": {"referencedWorkflowId": "large"}}
    names = [f"many-{number}" for number in range(20)]
    documents = [{"id": name, "name": name, "nodes": [group], "edges": []} for name in names]
    asked = [http.post(url, json=document) for document in documents for url in ("/api/workflows", "/api/validate")]
    answers = await asyncio.gather(*asked)
    assert all(answer.json()["valid"] for answer in answers)


async def test_one_id_in_several_projects_means_the_one_of_the_run_s_project(http: httpx.AsyncClient) -> None:
    for project in ("north", "south"):
        assert (await http.post("/api/projects", json={"name": project})).status_code == 201
        await saved(http, greeter("here", project), project=project)
    ambiguous = await http.post("/api/prompt", json={"workflowId": "here"})
    assert (ambiguous.status_code, ambiguous.json()["code"]) == (409, "duplicate_workflow_id")
    assert "north, south" in ambiguous.json()["error"]
    ask = {"workflowId": "here", "projectId": "south", "wait": 20}
    assert (await http.post("/api/prompt", json=ask)).json()["outputs"] == {"line": "south"}
    group = {"id": "g", "fullType": "core:NodeGroup", "configValues": {"referencedWorkflowId": "here"}}
    body = {
        "nodes": [group],
        "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "STRING"}},
        "outputInterfaceMappings": {"line": {"sourceNodeId": "g", "sourceSlotKey": "line"}},
        "metadata": {"projectId": "north"},
        "wait": 20,
    }
    assert (await http.post("/api/prompt", json=body)).json()["outputs"] == {"line": "north"}
    assert (await http.delete("/api/projects/north")).status_code == 204
    assert (await http.post("/api/prompt", json={**ask, "projectId": None})).json()["outputs"] == {"line": "south"}
    assert (await http.post("/api/workflows/here/restore", params={"project": "north"})).status_code == 200
    assert "north" in [project["id"] for project in (await http.get("/api/projects")).json()]


async def test_id_that_is_only_in_other_projects_is_told_as_such(http: httpx.AsyncClient) -> None:
    assert (await http.post("/api/projects", json={"name": "attic"})).status_code == 201
    await saved(http, greeter("stowed", "x"), project="attic")
    answer = await http.post("/api/prompt", json={"workflowId": "stowed", "projectId": "cellar"})
    assert (answer.status_code, answer.json()["code"]) == (404, "workflow_not_found")
    assert "neither the project 'cellar' nor 'default' has a workflow 'stowed'" in answer.json()["error"]


async def test_etag_whose_quotes_the_shell_took_is_told_as_such(http: httpx.AsyncClient) -> None:
    tag = await saved(http, greeter("quoted", "x"))
    said = []
    for sent in (tag.strip('"'), tag.replace(".1", ".9")):
        answer = await http.put("/api/workflows/quoted", json=greeter("quoted", "y"), headers={"If-Match": sent})
        assert answer.status_code == 412
        said.append(answer.json()["error"])
    assert ["with its quotes" in text for text in said] == [True, False]


@pytest.mark.parametrize("identity", ["a/b", "/", ".", ".."])
async def test_id_that_no_address_can_hold_is_refused(http: httpx.AsyncClient, identity: str) -> None:
    for path in ("/api/workflows", "/api/projects/default/workflows"):
        answer = await http.post(path, json={**greeter(identity, "x"), "name": f"named {identity}"})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), answer.text
        assert "'id' of a workflow" in answer.json()["error"]


# --- recorded documents ---------------------------------------------------------------------------------------------


def _recorded() -> Iterator[tuple[str, Json]]:
    for file in sorted(RECORDED.glob("*.json")):
        content = json.loads(file.read_text())
        for name, document in [(file.stem, content.get("storage")), *(content.get("groups") or {}).items()]:
            if isinstance(document, dict) and document.get("nodes"):
                yield f"{file.stem}-{name}", document


async def test_recorded_documents_come_back_as_they_were_saved(http: httpx.AsyncClient) -> None:
    """Equal to the last byte of their JSON, order of keys included, by the library and by the editor's routes."""
    count = 0
    assert (await http.post("/api/projects", json={"name": "recorded"})).status_code == 201
    for name, document in _recorded():
        whole = {"id": name, **document, "name": name}
        made = await http.post("/api/projects/recorded/workflows", json=whole)
        assert made.status_code == 201, made.text
        back = (await http.get(f"/api/workflows/{name}")).json()
        assert json.dumps(_unsealed(back, whole)) == json.dumps(whole)
        shown = (await http.get(f"/api/projects/recorded/workflows/{name}")).json()
        assert json.dumps({key: _unsealed(shown[key], whole[key]) for key in whole}) == json.dumps(whole)
        count += 1
    assert count > 70


def _unsealed(back: Any, typed: Any) -> Any:
    """What came back, with what was typed in place of references to secrets. It differs nowhere else."""
    if isinstance(back, dict) and isinstance(typed, dict):
        return {key: _unsealed(value, typed.get(key)) for key, value in back.items()}
    if isinstance(back, list) and isinstance(typed, list) and len(back) == len(typed):
        return [_unsealed(*pair) for pair in zip(back, typed, strict=True)]
    return typed if isinstance(back, str) and back.startswith("$secret:") else back


# --- files ------------------------------------------------------------------------------------------------------------


async def test_files_of_the_library_folder_are_versions(stack: Stack) -> None:
    folder = stack.data / "shared" / "library" / "workflows"
    folder.mkdir(parents=True)
    for number in range(FILES):
        (folder / f"{number}.json").write_text(json.dumps(greeter(f"file-{number}", str(number))))
    # Before what it runs, in the order of names.
    (folder / "0000.json").write_text(json.dumps(around("of-files", f"file-{FILES - 1}", folder)))
    async with stack.gateway(), stack.http() as http:
        started = time.monotonic()
        listed = (await http.get("/api/workflows", params={"limit": 5000}, timeout=120)).json()
        assert time.monotonic() - started < 60
        assert len(listed) == FILES + 1
        assert all(item["valid"] and item["version"] == 1 for item in listed)
        (folder / "7.json").write_text(json.dumps(greeter("file-7", "seven")))
        assert (await http.get("/api/workflows/file-7")).json() == greeter("file-7", "seven")
        versions = (await http.get("/api/workflows/file-7/versions")).json()
        assert [(item["author"], item["note"]) for item in versions] == [("file", "7.json")] * 2
        deleted = await http.delete("/api/workflows/file-8", headers={"If-Match": "*"})
        assert deleted.status_code == 204
    async with stack.gateway(), stack.http() as http:
        assert (await http.get("/api/workflows/file-8")).status_code == 404
        (folder / "8.json").write_text((folder / "8.json").read_text())
        assert (await http.get("/api/workflows/file-8")).json() == greeter("file-8", "8"), "it was put there anew"
        assert (await http.get("/api/workflows/file-9")).json() == greeter("file-9", "9")
        (folder / "9.json").unlink()
        assert (await http.get("/api/workflows/file-9")).json() == greeter("file-9", "9")


async def test_key_for_a_group_that_comes_with_the_same_files_is_sealed(stack: Stack) -> None:
    """What its group does with an input tells that it is a secret, and the group is not stored yet."""
    key = "canary-for-a-group-7712"
    folder = stack.data / "shared" / "library" / "workflows"
    folder.mkdir(parents=True)
    settings = {"referencedWorkflowId": "counts"}
    user = {"id": "g", "type": "core:NodeGroup", "configValues": settings, "inputValues": {"words": key}}
    counts = {
        **greeter("counts", ""),
        "nodes": [{"id": "in", "type": "core:GroupInput"}, {"id": "count", "type": "toys:KeyLength"}],
        "edges": [{"id": "e", "source": "in", "sourceHandle": "words", "target": "count", "targetHandle": "api_key"}],
        "interfaceInputs": {"words": {"key": "words", "dataFlowType": "STRING"}},
        "interfaceOutputs": {},
    }
    (folder / "a.json").write_text(json.dumps({"id": "user", "name": "user", "nodes": [user], "edges": []}))
    (folder / "b.json").write_text(json.dumps(counts))
    async with stack.gateway(), stack.http() as http:
        stored = await http.get("/api/workflows/user")
        assert stored.json()["nodes"][0]["inputValues"]["words"].startswith("$secret:")
        assert key not in stored.text
