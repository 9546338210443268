"""Stored workflows that the tests of the page share."""

from __future__ import annotations

from typing import Any

from innkeeper.gateway.client import GatewayClient, GatewayRefused
from tests.graphs import node

Json = dict[str, Any]
ROLES = [{"value": "calm", "label": "Calm"}, {"value": "wild", "label": "Wild"}]

SAYS: Json = {
    "id": "says",
    "name": "Says",
    "nodes": [
        node("in", "GroupInput"),
        node("say", "Template", {"template": "{{ input }}"}),
        node("check", "HttpRequest", {"url": "http://10.0.0.1/"}),
        node("out", "GroupOutput"),
    ],
    "edges": [
        {"id": "a", "source": "in", "sourceHandle": "item", "target": "say", "targetHandle": "input"},
        {"id": "b", "source": "say", "sourceHandle": "text", "target": "out", "targetHandle": "text"},
    ],
    "interfaceInputs": {"item": {"key": "item", "dataFlowType": "INTEGER", "config": {"default": 0}}},
    "interfaceOutputs": {"text": {"key": "text", "dataFlowType": "STRING"}},
}
"""For an item of a repetition: a node that runs, and one that fails beside it."""

KINDS: dict[str, Json] = {
    "line": {"dataFlowType": "STRING", "required": True, "displayName": "A line", "config": {"placeholder": "Ada"}},
    "text": {"dataFlowType": "STRING", "displayName": "A text", "config": {"default": "as it was", "multiline": True}},
    "whole": {"dataFlowType": "INTEGER", "displayName": "A whole number", "config": {"default": 3, "max": 9}},
    "part": {"dataFlowType": "FLOAT", "displayName": "A number", "min": 0, "config": {"suggestions": [0.5, 1]}},
    "switch": {"dataFlowType": "BOOLEAN", "displayName": "A switch"},
    "mood": {
        "dataFlowType": "STRING",
        "displayName": "A choice",
        "matchCategories": ["ComboOption"],
        "config": {"default": "calm", "suggestions": ROLES},
    },
    "object": {"dataFlowType": "OBJECT", "displayName": "An object"},
    "list": {"dataFlowType": "ARRAY", "displayName": "A list", "config": {"default": [1]}},
    "chat": {"dataFlowType": "ARRAY", "displayName": "A chat", "matchCategories": ["ChatHistory"]},
    "file": {"dataFlowType": "STRING", "displayName": "A file", "matchCategories": ["FilePath"]},
    "picture": {"dataFlowType": "STRING", "displayName": "A picture", "matchCategories": ["ImageData"]},
    "any": {"dataFlowType": "WILDCARD", "displayName": "Anything"},
}
SECRET: Json = {"dataFlowType": "STRING", "displayName": "A key"}


def all_kinds() -> Json:
    """Gives each of its inputs back, but for `credential`, which goes where it is kept secret."""
    outputs = {key: {"dataFlowType": slot["dataFlowType"]} for key, slot in KINDS.items()}
    edges = [_edge("in", key, "out", key) for key in KINDS]
    settings = {"id": "settings", "type": "core:APISettings", "inputValues": {"base_url": "demo"}}
    return {
        "id": "kinds",
        "name": "Every kind",
        "interfaceInputs": {**KINDS, "credential": SECRET},
        "interfaceOutputs": outputs,
        "nodes": [{"id": "in", "type": "core:GroupInput"}, settings, {"id": "out", "type": "core:GroupOutput"}],
        "edges": [*edges, _edge("in", "credential", "settings", "api_key")],
    }


def _edge(source: str, slot: str, target: str, into: str) -> Json:
    return {"id": slot, "source": source, "sourceHandle": slot, "target": target, "targetHandle": into}


async def store_all_kinds(client: GatewayClient) -> None:
    """In two versions, unless they are there already."""
    await store_once(client, {**all_kinds(), "description": "For tests"}, all_kinds())


async def store_once(client: GatewayClient, first: Json, *others: Json) -> None:
    """Versions of one workflow, unless it is there already."""
    try:
        stored = await client.workflows.create(first)
    except GatewayRefused as error:
        if error.code == "id_taken":
            return
        raise
    for other in others:
        stored = await client.workflows.save(other, etag=stored["etag"])
