"""Recorded workflows with groups, in their stored form: what the outer nodes give must be what was recorded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.vectors.test_vectors import FOLDER, _load, _target, check_interface, check_outputs

FILES = sorted(FOLDER.glob("group_*.json"))
REFUSED = {
    "group_missing_reference": ("g", "group_not_found"),
    "group_required_input_missing": ("g", "missing_input"),
    "group_unflattened_in_engine": ("g", "group_not_found"),
    "group_without_reference": ("g", "missing_input"),
}
"""Files that name no workflow, or give it too little: refused at submit, with the node and the code."""


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
async def test_recorded_group(stack: Any, file: Any) -> None:
    vector = _load(file)
    library = stack.data / "shared/library/workflows"
    library.mkdir(parents=True, exist_ok=True)
    for name, group in (vector.get("groups") or {}).items():
        (library / f"{name}.json").write_text(json.dumps({**group, "id": name}))
    try:
        answer = await stack.submit(vector["storage"])
    finally:
        for name in vector.get("groups") or {}:
            (library / f"{name}.json").unlink()
            # The library keeps what it took in: the next vector must not find it.
            await stack.http.delete(f"/api/workflows/{name}", headers={"If-Match": "*"})
    if file.stem in REFUSED or answer.status_code == 422:
        found = [(problem["node"], problem["code"]) for problem in answer.json()["problems"]]
        assert REFUSED.get(file.stem) in found, found
        return
    run = answer.json()["promptId"]
    async with asyncio.timeout(60):
        events = await stack.events(run)
    await check_group_run(stack, vector, run, events)


async def check_group_run(stack: Any, vector: dict[str, Any], run: str, events: list[dict[str, Any]]) -> None:
    target, status = _target(vector), await stack.status(run)
    outer = {node["id"] for node in vector["storage"]["nodes"]}
    assert status["status"] == target["status"], status
    states = {node: entry["status"] for node, entry in status["nodeStatus"].items()}
    for node, state in target["nodeStates"].items():
        if node in outer and state is not None:
            assert states[node] == state, (node, status["nodeStatus"])
    for node, outputs in target["nodeOutputs"].items():
        if node in outer and outputs is not None:
            await check_outputs(stack, run, node, outputs, status, events)
    await check_interface(target, events)
