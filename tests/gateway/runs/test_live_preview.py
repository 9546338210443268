"""Previews as ComfyTavern's editor asks for them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from innkeeper.gateway.runs.live_preview import is_live_preview, with_plain_inputs
from tests.gateway.realtime.talking import Json, hear, hear_run, say, socket_to


def whole(value: Any) -> Json:
    return {"value": value, "dataFlowType": "STRING", "displayName": "x"}


def shout(text: Any, **metadata: Any) -> Json:
    node = {"id": "n", "fullType": "toys:Shout", "inputs": {"text": text}}
    return {"nodes": [node], "edges": [], "metadata": metadata, "clientId": "c"}


async def test_preview_of_the_editor_runs_with_values_of_slots_and_is_in_no_list(
    shared: Any, http: httpx.AsyncClient
) -> None:
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "PROMPT_REQUEST", **shout(whole("hi"), isPreviewRun=True))
        run = (await hear(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"]
        events = await hear_run(socket, run)
    outputs = [event["payload"]["output"] for event in events if event["type"] == "NODE_COMPLETE"]
    assert outputs[0] == {"text": "HI"}
    assert (await http.get(f"/api/prompt/{run}")).json()["isPreview"] is True
    assert run not in (await http.get("/api/history", params={"limit": 500})).text


async def test_preview_leaves_out_nodes_that_do_something_outside(shared: Any, http: httpx.AsyncClient) -> None:
    body = shout(whole("hi"), isPreviewRun=True)
    body["nodes"].append({"id": "f", "fullType": "core:SaveText", "inputs": {"path": "user://x.txt", "text": "x"}})
    found = (await http.post("/api/prompt", json={**body, "wait": 20})).json()
    assert found["nodeStatus"]["n"]["status"] == "complete"
    assert found["nodeStatus"]["f"]["status"] == "skipped"


async def test_run_that_is_no_preview_keeps_objects_that_look_like_slots(http: httpx.AsyncClient) -> None:
    body = {"nodes": [{"id": "n", "fullType": "toys:Say", "inputs": {"text": whole("hi")}}], "edges": []}
    found = (await http.post("/api/prompt", json={**body, "wait": 20})).json()
    assert "dataFlowType" in str(found["nodeStatus"]["n"]["output"]["text"])


@pytest.mark.parametrize("nodes", [None, 1, ["x"], [{}], [{"inputs": []}], [{"inputs": None}]])
def test_what_is_no_graph_is_left_for_the_reader_to_refuse(nodes: Any) -> None:
    assert with_plain_inputs({"nodes": nodes}) == {"nodes": nodes}


def test_slots_become_values_and_empty_ones_disappear() -> None:
    inputs = {"a": whole(0), "b": whole(None), "c": {"dataFlowType": "STRING"}, "d": {"value": 1}, "e": "x"}
    (node,) = with_plain_inputs({"nodes": [{"id": "n", "inputs": inputs}]})["nodes"]
    assert node == {"id": "n", "inputs": {"a": 0, "b": None, "d": {"value": 1}, "e": "x"}}


@pytest.mark.parametrize("metadata", [None, 1, {}, {"isPreviewRun": "yes"}, {"isPreviewRun": False}])
def test_only_the_editors_mark_counts(metadata: Any) -> None:
    assert not is_live_preview({"metadata": metadata})
