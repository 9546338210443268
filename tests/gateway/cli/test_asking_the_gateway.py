"""`validate` and `nodes` ask the gateway that runs: it has plugins and workflows that are not installed here."""

from __future__ import annotations

import json
from pathlib import Path

from tests.gateway.cli.conftest import Innkeeper


async def test_node_types_are_those_of_the_gateway(innkeeper: Innkeeper) -> None:
    code, out, _ = await innkeeper("nodes", "toys:Say")
    assert (code, b"toys:Say" in out) == (0, True)
    code, out, _ = await innkeeper("nodes", "--json")
    assert "toys:Say" in {node["fullType"] for node in json.loads(out)}
    code, _, said = await innkeeper("nodes", "toys:Say", "--offline")
    assert (code, "there is no node type 'toys:Say' here" in said) == (2, True)


async def test_workflows_are_checked_by_the_gateway(innkeeper: Innkeeper) -> None:
    Path("g.json").write_text(json.dumps({"nodes": [{"id": "a", "type": "toys:Say"}]}))
    code, out, _ = await innkeeper("validate", "g.json")
    assert (code, b"is valid (1 nodes)" in out) == (0, True)
    code, out, _ = await innkeeper("validate", "g.json", "--offline")
    assert (code, b"unknown_node_type" in out) == (2, True)
    Path("g.json").write_text(json.dumps({"nodes": [{"id": "a", "type": "toys:Sai"}]}))
    code, out, _ = await innkeeper("validate", "g.json", "--json")
    assert (code, json.loads(out)["problems"][0]["code"]) == (2, "unknown_node_type")
