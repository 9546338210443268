"""What clients should not send to the library, and what several send at once."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import httpx
import pytest

from tests.gateway.conftest import Stack
from tests.gateway.library.test_library import greeter


@pytest.mark.parametrize("identity", ["a/b", "/", ".", "..", "x/versions", "a\r\nb", "\x00", "a\u202eb"])
async def test_an_id_that_no_address_can_say_is_refused(http: httpx.AsyncClient, identity: str) -> None:
    for path in ("/api/workflows", "/api/projects/default/workflows"):
        response = await http.post(path, json=greeter(identity, "hi"))
        assert response.status_code == 400
        assert "'id'" in response.json()["error"]


@pytest.mark.parametrize("identity", ["a?b#c", 'q"uote', " lead", "a%2Fb", "😀", "a\\b", "...", "versions", "é" * 100])
async def test_any_other_id_can_be_read_and_deleted(http: httpx.AsyncClient, identity: str) -> None:
    assert (await http.post("/api/workflows", json=greeter(identity, "hi"))).status_code == 201
    address = f"/api/workflows/{quote(identity, safe='')}"
    assert (await http.get(address)).json()["id"] == identity
    assert (await http.delete(address, headers={"If-Match": "*"})).status_code == 204


async def test_changes_of_a_project_at_the_same_moment_all_stay(http: httpx.AsyncClient) -> None:
    await http.post("/api/projects", json={"name": "busy"})
    changes = (http.put("/api/projects/busy", json={f"field{n}": n}) for n in range(10))
    assert [answer.status_code for answer in await asyncio.gather(*changes)] == [200] * 10
    found = (await http.get("/api/projects/busy/metadata")).json()
    assert [found.get(f"field{n}") for n in range(10)] == list(range(10))


async def test_of_projects_that_take_one_name_at_the_same_moment_one_gets_it(http: httpx.AsyncClient) -> None:
    for n in range(6):
        await http.post("/api/projects", json={"name": f"before{n}"})
    renamings = (http.put(f"/api/projects/before{n}", json={"name": "one name"}) for n in range(6))
    answers = await asyncio.gather(*renamings)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5


@pytest.mark.parametrize("field", ["version", "schemaVersion"])
async def test_a_project_holds_no_version_that_its_editor_could_not_read(http: httpx.AsyncClient, field: str) -> None:
    """One such project keeps the editor from reading the list of all of them."""
    assert (await http.post("/api/projects", json={"name": "odd", field: 12})).status_code == 400
    await http.post("/api/projects", json={"name": f"even {field}"})
    assert (await http.put(f"/api/projects/even_{field}", json={field: {"a": 1}})).status_code == 400
    assert (await http.put(f"/api/projects/even_{field}", json={field: "2"})).json()[field] == "2"


@pytest.mark.parametrize("depth", [150, 198, 205, 250, 600])
async def test_a_deep_file_keeps_nobody_from_others(http: httpx.AsyncClient, shared: Stack, depth: int) -> None:
    folder = shared.data / "shared" / "library" / "workflows"
    folder.mkdir(parents=True, exist_ok=True)
    await http.post("/api/workflows", json=greeter("beside", "hi"))
    deep = "[" * depth + "]" * depth
    node = f'{{"id": "n", "type": "toys:Say", "inputValues": {{"text": {deep}}}}}'
    file = folder / f"deep{depth}.json"
    file.write_text(f'{{"id": "deep{depth}", "nodes": [{node}], "edges": []}}')
    assert (await http.get("/api/workflows")).status_code == 200
    assert (await http.get("/api/workflows/beside")).status_code == 200
    answer = await http.post("/api/prompt", json={"workflowId": f"deep{depth}"})
    assert answer.status_code == (422 if depth < 190 else 404)
    file.unlink()
