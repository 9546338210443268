"""What documents may say about stored secrets."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.library.lookup import WorkflowLookup
from innkeeper.gateway.runs.admission import Admission, JsonObject
from innkeeper.gateway.store.engine import ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.workflows import WorkflowStore
from innkeeper.gateway.store.write_batcher import WriteBatcher
from innkeeper.nodes.catalogue.live import LiveCatalogue
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.nodes.services.secrets import SecretStore

KEY = "sk-canary-5512"
HERE = "http://here.example:8000/v1"
ELSEWHERE = "http://evil.example/v1"


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    return SecretStore(tmp_path / "secrets", b"k" * 40)


@pytest.fixture
async def admission(tmp_path: Path, store: SecretStore) -> AsyncIterator[Admission]:
    engine = open_engine(sqlite_url(tmp_path / "gateway.db"))
    await ensure_schema(engine)
    lookup = WorkflowLookup(WorkflowStore(engine, WriteBatcher(engine)))
    yield Admission(LiveCatalogue(load_catalogue(())), lookup, FolderBlobs(tmp_path / "blobs"), store)
    await engine.dispose()


def asking(api_key: Any, base_url: str, **inputs: Any) -> JsonObject:
    settings = {"api_key": api_key, "base_url": base_url}
    return {"nodes": [{"id": "n", "fullType": "core:OpenAI", "inputs": {"prompt": "x", "api_settings": settings}}]}


async def problems_of(admission: Admission, body: JsonObject, user: str = "ann") -> list[Problem]:
    found = []
    for what in (admission.check, admission.admit):
        try:
            await what(body, user)
            found.append([])
        except InvalidWorkflow as invalid:
            found.append([problem for problem in invalid.problems if problem.level == "error"])
    assert found[0] == found[1]
    assert not any(KEY in problem.message for problem in found[0])
    return found[0]


async def test_a_typed_key_is_stored_for_the_host_beside_it(admission: Admission, store: SecretStore) -> None:
    checked = await admission.admit(asking(KEY, HERE), "ann")
    (secret,) = checked.compiled.secrets
    record = store.load(SecretRef(secret.id))
    assert (record.value, record.owner, record.hosts) == (KEY, "ann", ("here.example:8000",))


async def test_a_reference_counts_for_its_owner_and_host_only(admission: Admission, store: SecretStore) -> None:
    reference = store.put(KEY, "ann", ["here.example:8000"]).to_json()
    assert await problems_of(admission, asking(reference, HERE)) == []
    (elsewhere,) = await problems_of(admission, asking(reference, ELSEWHERE))
    assert (elsewhere.code, elsewhere.node, elsewhere.slot) == ("secret_refused", "n", "api_settings")
    assert "type the key itself" in elsewhere.message
    (foreign,) = await problems_of(admission, asking(reference, HERE), "bob")
    (missing,) = await problems_of(admission, asking({"$secret": "0" * 64}, HERE))
    assert foreign.code == "unknown_secret"
    assert foreign.message == missing.message
    for typed in ({"$secret": KEY}, f"$secret:{KEY}"):
        (malformed,) = await problems_of(admission, asking(typed, HERE))
        assert malformed.code == "invalid_secret_reference"


async def test_a_text_reference_counts_as_the_object_does(admission: Admission, store: SecretStore) -> None:
    text = f"$secret:{store.put(KEY, 'ann', ['here.example:8000']).id}"
    assert await problems_of(admission, asking(text, HERE)) == []
    for body, user, code in (
        (asking(text, ELSEWHERE), "ann", "secret_refused"),
        (asking(text, HERE), "bob", "unknown_secret"),
    ):
        assert [problem.code for problem in await problems_of(admission, body, user)] == [code]
    plans = [
        (await admission.admit(asking(typed, HERE), "ann")).compiled.encoded
        for typed in ({"$secret": "env:OPENAI_API_KEY"}, "$secret:env:OPENAI_API_KEY")
    ]
    assert plans[0] == plans[1]


async def test_a_reference_to_a_key_that_was_stored_without_a_host_is_taken(
    admission: Admission, store: SecretStore
) -> None:
    reference = store.put(KEY, "ann").to_json()
    assert await problems_of(admission, asking(reference, ELSEWHERE)) == []


async def test_new_inputs_of_an_old_plan_are_checked_too(admission: Admission, store: SecretStore) -> None:
    edge = {"id": "e", "sourceNodeId": "in", "sourceHandle": "key", "targetNodeId": "s", "targetHandle": "api_key"}
    nodes = [{"id": "in", "fullType": "core:GroupInput"}, {"id": "s", "fullType": "core:APISettings"}]
    interface = {"key": {"key": "key", "dataFlowType": "STRING", "config": {"default": ""}}}
    body = {"nodes": nodes, "edges": [edge], "interfaceInputs": interface}
    plan = (await admission.admit(body, "ann")).compiled.plan
    mine, foreign = store.put(KEY, "ann").to_json(), store.put(KEY, "bob").to_json()
    for given in (mine, f"$secret:{mine['$secret']}"):
        assert (await admission.admit_plan(plan, {"inputs": {"key": given}}, "ann")).compiled.plan.interface_inputs == {
            "key": mine
        }
        checked = await admission.admit({**body, "inputs": {"key": given}}, "ann")
        assert checked.compiled.plan.interface_inputs == {"key": mine}
    for refused, code in (
        (foreign, "unknown_secret"),
        (f"$secret:{foreign['$secret']}", "unknown_secret"),
        ({"$secret": KEY}, "invalid_secret_reference"),
        (f"$secret:{KEY}", "invalid_secret_reference"),
    ):
        with pytest.raises(InvalidWorkflow) as caught:
            await admission.admit_plan(plan, {"inputs": {"key": refused}}, "ann")
        assert [problem.code for problem in caught.value.problems] == [code]


async def test_a_secret_that_a_new_run_refers_to_counts_as_written_now(
    admission: Admission, store: SecretStore, tmp_path: Path
) -> None:
    reference = store.put(KEY, "ann").to_json()
    file = tmp_path / "secrets" / reference["$secret"]
    plan = (await admission.admit(asking(KEY, HERE), "ann")).compiled.plan
    for admit in (
        lambda: admission.admit(asking(KEY, HERE), "ann"),
        lambda: admission.admit(asking(reference, HERE), "ann"),
        lambda: admission.admit_plan(plan, {}, "ann"),
    ):
        os.utime(file, (1000, 1000))
        await admit()
        assert file.stat().st_mtime > 1000
    os.utime(file, (1000, 1000))
    await admission.check(asking(reference, HERE), "ann")
    assert file.stat().st_mtime == 1000
