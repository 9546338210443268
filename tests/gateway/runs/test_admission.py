"""What documents may say about stored secrets."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.library.lookup import WorkflowLookup
from innkeeper.gateway.runs.admission import Admission, Checked, JsonObject
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
def catalogue() -> LiveCatalogue:
    return LiveCatalogue(load_catalogue(()))


@pytest.fixture
async def admission(tmp_path: Path, store: SecretStore, catalogue: LiveCatalogue) -> AsyncIterator[Admission]:
    engine = open_engine(sqlite_url(tmp_path / "gateway.db"))
    await ensure_schema(engine)
    lookup = WorkflowLookup(WorkflowStore(engine, WriteBatcher(engine)))
    yield Admission(catalogue, lookup, FolderBlobs(tmp_path / "blobs"), store)
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


def joining(word: str = "{{name}}", **changes: Any) -> JsonObject:
    slots = {"name": {"key": "name", "dataFlowType": "STRING", "config": {"default": ""}}}
    node = {"id": "n", "fullType": "core:TextMerge", "inputs": {"text_inputs": [word]}}
    return {"nodes": [node], "edges": [], "interfaceInputs": slots, **changes}


async def test_the_same_document_is_compiled_once_and_anything_else_anew(admission: Admission) -> None:
    first = await admission.admit(joining(), "ann")
    assert (await admission.admit(joining(), "ann")).compiled is first.compiled
    assert (await admission.check(joining(), "ann")).compiled is first.compiled
    others = [
        await admission.admit(joining("other"), "ann"),
        await admission.admit(joining(inputs={"name": "Zoë"}), "ann"),
        await admission.admit(joining(), "bob"),
    ]
    assert first.compiled not in [other.compiled for other in others[:2]]
    assert others[2].compiled is not first.compiled
    assert others[1].compiled.plan.interface_inputs == {"name": "Zoë"}


async def test_a_new_catalogue_compiles_what_was_known_anew(
    admission: Admission, catalogue: LiveCatalogue, tmp_path: Path
) -> None:
    before = await admission.admit(joining(), "ann")
    catalogue.replace(load_catalogue(()))
    assert (await admission.admit(joining(), "ann")).compiled is not before.compiled


async def test_a_document_with_a_secret_is_looked_at_for_each_run(admission: Admission, store: SecretStore) -> None:
    reference = store.put(KEY, "ann", ["here.example:8000"]).to_json()
    assert await problems_of(admission, asking(reference, HERE)) == []
    assert store.delete(reference["$secret"], before=time.time() + 1)
    (missing,) = await problems_of(admission, asking(reference, HERE))
    assert missing.code == "unknown_secret"


async def sealed(checked: Checked) -> JsonObject:
    assert checked.document is not None
    return (await checked.document()).document


async def test_a_document_without_secrets_is_sealed_once(admission: Admission) -> None:
    first = await sealed(await admission.admit(joining(), "ann"))
    assert first == joining()
    assert await sealed(await admission.admit(joining(), "ann")) is first
    assert await sealed(await admission.admit(joining("other"), "ann")) == joining("other")


async def test_a_secret_that_no_node_reads_is_stored_for_each_run(admission: Admission, store: SecretStore) -> None:
    """The plan is without it, so it is compiled once; the document that is kept refers to it."""
    body = joining()
    body["nodes"][0]["inputs"]["api_key"] = KEY
    first = await admission.admit(body, "ann")
    reference = (await sealed(first))["nodes"][0]["inputs"]["api_key"].removeprefix("$secret:")
    assert store.delete(reference, before=time.time() + 1)
    again = await admission.admit(body, "ann")
    assert again.compiled is first.compiled
    await sealed(again)
    assert store.load(SecretRef(reference)).value == KEY


async def test_a_document_that_runs_another_one_follows_its_changes(admission: Admission) -> None:
    group = {"id": "g", "fullType": "core:NodeGroup", "configValues": {"referencedWorkflowId": "inner"}}
    body = {"nodes": [group], "edges": []}

    async def errors_with(*nodes: JsonObject) -> list[str]:
        inner = {"inner": json.dumps({"id": "inner", "nodes": nodes, "edges": []}).encode()}
        found = await admission.problems_of(body, "ann", None, inner)
        return [problem.code for problem in found if problem.level == "error"]

    assert await errors_with() == []
    assert await errors_with({"id": "x", "type": "core:Nothing"}) != []


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
