"""Which interface of its groups each stored workflow has been brought up to, and whose turn it is next."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from innkeeper.gateway.library.documents import JsonObject
from innkeeper.gateway.library.group_update import Interface, slot_to_json
from innkeeper.gateway.library.lookup import DEFAULT_PROJECT, WorkflowLookup, WorkflowReader, run_reading
from innkeeper.gateway.store.models import WorkflowRow
from innkeeper.gateway.store.runs import json_of
from innkeeper.gateway.store.workflows import WorkflowStore
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.compiler.adapt import AdaptedWorkflows
from innkeeper.workflows.compiler.resolve import Catalogue
from innkeeper.workflows.document.model import InterfaceSlot, WorkflowDocument

MAX_TOLD = 20
"""Workflows that a save names of those which follow it."""
_RECORDED = ("dataFlowType", "isStream", "multi", "matchCategories", "required")
"""What of a slot decides which edges and values fit it, and whether there must be one."""

Record = JsonObject
"""`inputs` and `outputs` of a group, by their keys, with nothing but what decides what fits them."""


@dataclass(frozen=True)
class Updates:
    """The workflows that follow a save. `first`: at most `MAX_TOLD` of them."""

    count: int = 0
    first: Sequence[WorkflowRow] = ()


class GroupInterfaces:
    """Reads the interfaces of stored workflows as groups show them: of the version that runs take now."""

    def __init__(self, catalogue: Catalogue, lookup: WorkflowLookup) -> None:
        self._catalogue = catalogue
        self._lookup = lookup

    async def of(
        self, user: str, project: str, ids: Iterable[str], beside: Mapping[str, bytes] | None = None
    ) -> dict[str, Interface | None]:
        """By id; None for a workflow that is not there or cannot be read. `project`: where ids are looked up first."""
        wanted = list(ids)
        if not wanted:
            return {}
        reader = self._lookup.reader(user, project, beside=beside)
        return await run_reading(self._read, wanted, reader)

    def _read(self, ids: Sequence[str], reader: WorkflowReader) -> dict[str, Interface | None]:
        load = AdaptedWorkflows(self._catalogue, reader.load)
        return {workflow_id: _interface(load, workflow_id) for workflow_id in ids}


class GroupWatch:
    """Keeps the records of interfaces, and the queue of workflows that changed.

    The queue is only in memory: what is in the records and what is stored tell after a restart whose turn it is.
    """

    def __init__(self, store: WorkflowStore, interfaces: GroupInterfaces) -> None:
        self._store = store
        self._interfaces = interfaces
        self._changed: dict[int, None] = {}
        self._is_due = asyncio.Event()
        self._holders = 0

    async def record(
        self,
        references: Iterable[str],
        user: str,
        project: str,
        *,
        known: str | None = None,
        beside: Mapping[str, bytes] | None = None,
    ) -> str:
        """The column `groups` of a workflow that is saved.

        What it has a record of keeps that one: whoever saves while a group's change is on its way may have seen the
        group as it was.

        Args:
            known: The column as it is.
            beside: Workflows that are about to be stored, by id.
        """
        records = {name: record for name, record in json_of(known).items() if isinstance(record, dict)}
        fresh = await self._interfaces.of(user, project, [name for name in references if name not in records], beside)
        return write_records({**records, **{name: recorded(found) for name, found in fresh.items()}})

    async def updates(self, row: WorkflowRow) -> Updates:
        """The workflows that know another interface of this one than it has now."""
        users = [user for user in await self.users_of(row) if user.number != row.number]
        if not users:
            return Updates()
        now = recorded((await self._interfaces.of(row.user_id, row.project_id, [row.id]))[row.id])
        nearer = {other.project_id for other in await self._store.find(row.user_id, row.id)} - {row.project_id}
        found = [
            user
            for user in users
            if user.project_id not in nearer and row.id in names_of(user) and json_of(user.groups).get(row.id) != now
        ]
        return Updates(len(found), found[:MAX_TOLD])

    async def users_of(self, row: WorkflowRow) -> Sequence[WorkflowRow]:
        """The workflows that may run this one as a group: ids are looked up in a workflow's own project first, then in
        `default`."""
        project = None if row.project_id == DEFAULT_PROJECT else row.project_id
        return await self._store.users_of(row.user_id, row.id, project)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Nobody's turn comes meanwhile: a workflow must not be judged before its groups are stored, too."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            self._is_due.set()

    def note(self, row: WorkflowRow) -> None:
        """This workflow may show another interface by now, or run other groups."""
        self._changed[row.number] = None
        self._is_due.set()

    async def next(self) -> int:
        """The number of a workflow that changed; each is told once, however often it changed."""
        while self._holders or not self._changed:
            self._is_due.clear()
            await self._is_due.wait()
        number = next(iter(self._changed))
        del self._changed[number]
        return number


def names_of(row: WorkflowRow) -> list[str]:
    """The ids of workflows that the newest version, or the published one, runs as groups."""
    with contextlib.suppress(ValueError):
        listed = orjson.loads(row.references)
        texts = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
        return list(dict.fromkeys((*texts, *json_of(row.groups))))
    return list(json_of(row.groups))


def recorded(interface: Interface | None) -> Record | None:
    """What is kept of an interface."""
    if interface is None:
        return None
    return {"inputs": _slots(interface.interface_inputs), "outputs": _slots(interface.interface_outputs)}


def interface_of(record: Record) -> Interface:
    """An interface with what was kept of it."""
    inputs, outputs = (
        {
            key: InterfaceSlot(
                key,
                slot["dataFlowType"],
                required=slot.get("required", False),
                is_stream=slot.get("isStream", False),
                multi=slot.get("multi", False),
                match_categories=tuple(slot.get("matchCategories", ())),
            )
            for key, slot in record[side].items()
        }
        for side in ("inputs", "outputs")
    )
    return WorkflowDocument(nodes=(), interface_inputs=inputs, interface_outputs=outputs)


def write_records(records: Mapping[str, Record | None]) -> str:
    return orjson.dumps(records).decode()


def _slots(slots: Mapping[str, InterfaceSlot]) -> JsonObject:
    shown = {key: slot_to_json(_as_needed(slot)) for key, slot in slots.items() if not slot.is_hollow}
    return {key: {name: slot[name] for name in _RECORDED if name in slot} for key, slot in shown.items()}


def _as_needed(slot: InterfaceSlot) -> InterfaceSlot:
    """Nobody must give a value to an input that has one."""
    return replace(slot, required=slot.required and "default" not in slot.config)


def _interface(load: AdaptedWorkflows, workflow_id: str) -> Interface | None:
    try:
        found = load(workflow_id)
    except InvalidWorkflow:
        return None
    if found is None:
        return None
    inputs, outputs = found.interface_inputs, found.interface_outputs
    return WorkflowDocument(nodes=(), interface_inputs=inputs, interface_outputs=outputs)
