"""From what a client sends to a plan that can run: the gate every run passes once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.errors import BadRequest
from gateway.workflow_files import WorkflowFiles
from nodes.errors import Problem
from nodes.plugins import Catalogue
from nodes.services.blobs import FolderBlobs
from nodes.services.secrets import SecretStore
from workflows.compiler import Compiled, compile_document
from workflows.document import WorkflowDocument, load_json, parse_document, with_inputs

JsonObject = dict[str, Any]
ENVELOPE = ("inputs", "wait", "requestId")
"""Keys beside a document that are about the submission, not the graph."""


@dataclass(frozen=True)
class Checked:
    """A compiled document with every warning, those of its reading included."""

    compiled: Compiled
    warnings: tuple[Problem, ...]


class Gate:
    """Reads, compiles and admits documents."""

    def __init__(
        self, catalogue: Catalogue, workflows: WorkflowFiles, blobs: FolderBlobs, secrets: SecretStore
    ) -> None:
        self._catalogue = catalogue
        self._workflows = workflows
        self._blobs = blobs
        self._secrets = secrets

    async def check(self, body: JsonObject, user: str) -> Checked:
        """Compile without keeping anything.

        Raises:
            InvalidWorkflow: With every problem.
            NotFound: `{workflowId}` names no stored workflow.
        """
        return await self._compiled(body, user, lambda value: hashlib.sha256(value.encode()).hexdigest())

    async def admit(self, body: JsonObject, user: str) -> Checked:
        """Compile, and keep the secrets and large values that the plan only refers to."""
        checked = await self._compiled(body, user, lambda value: self._secrets.ref_for(value, user).id)
        for secret in checked.compiled.secrets:
            await asyncio.to_thread(self._secrets.put, secret.value, secret.owner)
        for data in checked.compiled.blobs.values():
            await self._blobs.put(data)
        return checked

    async def _compiled(self, body: JsonObject, user: str, secret_id: Callable[[str], str]) -> Checked:
        # Thousands of nodes take a while: other clients must not wait for them.
        return await asyncio.to_thread(self._compile, body, user, secret_id)

    def _compile(self, body: JsonObject, user: str, secret_id: Callable[[str], str]) -> Checked:
        document, warnings = self._document(body)
        compiled = compile_document(document, self._catalogue, secret_id=secret_id, owner=user)
        return Checked(compiled, (*warnings, *compiled.warnings))

    def _document(self, body: JsonObject) -> tuple[WorkflowDocument, tuple[Problem, ...]]:
        raw: Any = {key: value for key, value in body.items() if key not in ENVELOPE}
        if "nodes" not in raw and isinstance(raw.get("workflowId"), str):
            raw = load_json(self._workflows.read(raw["workflowId"]))
        inputs = body.get("inputs")
        document = parse_document(raw)
        if inputs is None:
            return document, ()
        if not isinstance(inputs, Mapping):
            raise BadRequest("'inputs' must be an object of interface input to value")
        return with_inputs(document, inputs)


def read_body(data: bytes) -> JsonObject:
    """The JSON object a client sent.

    Raises:
        InvalidWorkflow: Not JSON (with the position), or over the limits.
    """
    body = load_json(data)
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object: a workflow, a payload, or {workflowId, inputs}")
    return body


def body_hash(body: Mapping[str, Any]) -> str:
    """Equal for bodies that ask for the same run, however their JSON is written."""
    asked = {key: value for key, value in body.items() if key not in ("wait", "requestId")}
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


def key_hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def interface_of(checked: Checked) -> JsonObject:
    """What the gateway keeps of a plan to log and close its run (`RunRow.interface`)."""
    plan = checked.compiled.plan
    outputs = {
        key: {
            "node": source.node,
            "slot": source.slot,
            "stream": source.stream,
            "streamed": (found := plan.by_id[source.node].outputs.get(source.slot)) is not None and found.stream,
            "displayName": source.display_name,
        }
        for key, source in plan.interface_outputs.items()
    }
    return {"outputs": outputs, "keptStreams": list(plan.kept_streams)}


def log_meta(interface: Mapping[str, Any]) -> JsonObject:
    """What the event log must know of a run: whose chunks are also chunks of an output, and whose nobody may drop."""
    streams: dict[str, list[list[str | None]]] = {}
    for key, source in interface.get("outputs", {}).items():
        if source["stream"]:
            streams.setdefault(source["node"], []).append([key, source["displayName"]])
    return {"interface_streams": streams, "kept_streams": interface.get("keptStreams", [])}
