"""What lists and statuses do not tell of a run: its document, and the inputs of its nodes."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Collection
from typing import Any

from innkeeper.gateway.errors import NotFound, shown
from innkeeper.gateway.runs.documents import RunDocuments, node_of
from innkeeper.gateway.runs.node_inputs import InputReader, PlacedNode, placed_node
from innkeeper.gateway.runs.service import Runs
from innkeeper.gateway.runs.view import JsonObject
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import RunStore
from innkeeper.nodes.catalogue.live import LiveCatalogue
from innkeeper.nodes.errors import ResourceError, RunNotFound
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.workflows.plan import RunPlan


class RunDetails:
    """Looks into the runs of one user."""

    def __init__(
        self, store: RunStore, runs: Runs, blobs: FolderBlobs, *, catalogue: LiveCatalogue, user_id: str
    ) -> None:
        self._store = store
        self._runs = runs
        self._blobs = blobs
        self._documents = RunDocuments(blobs)
        self._catalogue = catalogue
        self._user_id = user_id

    async def document(self, run: str, path: str) -> JsonObject:
        """What was submitted, without secrets, or the document of a group in it.

        Raises:
            RunNotFound
            NotFound: `document_not_kept`, `node_not_found`.
        """
        row = await self._row(run)
        document = await self._documents.find(row.document, path, self._is_repeated)
        return {"promptId": run, "path": path, "document": document}

    async def inputs(self, run: str, path: str) -> JsonObject:
        """The inputs of a node, as far as they are known, without secrets. Raises as `document`, and RunDamaged."""
        row = await self._row(run)
        placed = await self._placed(row, path)
        states: dict[str, JsonObject] = (await self._runs.status(run))["nodeStatus"]
        reader = InputReader(run, states, self._catalogue.get_node)
        inputs = reader.inputs(placed, await self._typed(row, path))
        return {"promptId": run, "path": path, "inputs": inputs}

    async def input_value(self, run: str, path: str, slot: str) -> Any:
        """The value of one input: JSON, or a reference. Raises as `inputs`; NotFound (`input_not_found`): it has none,
        or it is secret."""
        found = (await self.inputs(run, path))["inputs"].get(slot, {})
        if "value" not in found:
            raise NotFound(f"node {shown(path)} has no value for {shown(slot)} to show", code="input_not_found")
        return found["value"]

    async def _row(self, run: str) -> RunRow:
        row = await self._store.get(run)
        if row is None or row.user_id != self._user_id:
            raise RunNotFound(f"there is no run {shown(run)}: 'innkeeper runs' or GET /api/runs lists them")
        return row

    async def _placed(self, row: RunRow, path: str) -> PlacedNode:
        plan = await self._plan(row)
        found = await asyncio.to_thread(placed_node, plan, path, self._is_repeated)
        if found is None:
            raise NotFound(f"the run has no node {shown(path)}", code="node_not_found")
        return found

    async def _plan(self, row: RunRow) -> RunPlan:
        with contextlib.suppress(ResourceError, zlib.error, ValueError, TypeError, LookupError, AttributeError):
            if isinstance(row.plan_hash, str):  # the row may be damaged
                return await asyncio.to_thread(RunPlan.decode, await self._blobs.get(row.plan_hash))
        message = "the plan of this run is not kept: it was refused, or its values were lost"
        raise NotFound(message, code="plan_not_kept")

    async def _typed(self, row: RunRow, path: str) -> Collection[str] | None:
        """The slots for which the document has a value; None when it is not kept."""
        outer, _, node_id = path.rpartition("/")
        try:
            document = await self._documents.find(row.document, outer, self._is_repeated)
        except NotFound:
            return None
        node = await asyncio.to_thread(node_of, document, node_id)
        return None if node is None else node.inputs.keys()

    def _is_repeated(self, node_type: str) -> bool:
        definition = self._catalogue.get_node(node_type)
        return definition is not None and definition.runs_workflow in ("each", "loop")
