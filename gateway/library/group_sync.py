"""Workflows follow the interfaces of the groups that they run: in the background, each change as a version."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass

from innkeeper.gateway.library.documents import JsonObject, glance
from innkeeper.gateway.library.group_update import Followed, Interface, InterfaceChange, follow_groups
from innkeeper.gateway.library.group_watch import (
    GroupInterfaces,
    GroupWatch,
    Record,
    interface_of,
    names_of,
    recorded,
    write_records,
)
from innkeeper.gateway.library.library import Conflict, DocumentChecker, Library, Saved, SaveOptions
from innkeeper.gateway.library.lookup import WorkflowLookup
from innkeeper.gateway.store.models import WorkflowRow
from innkeeper.gateway.store.runs import json_of
from innkeeper.gateway.store.workflows import Change, WorkflowStore
from innkeeper.nodes.errors import InnkeeperError, Problem
from innkeeper.workflows.compiler.resolve import Catalogue
from innkeeper.workflows.document.model import load_json

logger = logging.getLogger("innkeeper.gateway.library")

AUTHOR = "innkeeper"
ATTEMPTS = 20
"""How often somebody else may save a workflow while it is brought up to its groups."""
MAX_NOTE_CHARS = 1_000
MAX_REASON_CHARS = 500
PAGE = 200
"""Workflows that are looked at together after a start."""


@dataclass(frozen=True)
class LibraryParts:
    """What `GroupSync` reads and writes with."""

    library: Library
    lookup: WorkflowLookup
    store: WorkflowStore
    checker: DocumentChecker
    catalogue: Catalogue


@dataclass(frozen=True)
class _Look:
    """What is found at one look at a workflow.

    Attributes:
        interfaces: Of its groups, as they are now.
        records: What its row will say of them.
        changes: The groups whose interface is not the one that it was brought up to.
        is_news: Something about its groups is not as its row says.
    """

    interfaces: Mapping[str, Interface | None]
    records: Mapping[str, Record | None]
    changes: Mapping[str, InterfaceChange]
    is_news: bool


class GroupSync:
    """The one task that brings workflows up to their groups, one after the other.

    A look compares what is stored with what was recorded. So it does not matter how often or in which order
    workflows are looked at, and what a crash leaves undone is found at the next start. The chain ends by itself: who
    follows a group keeps the own interface, and then nobody has to follow in turn.
    """

    def __init__(self, parts: LibraryParts, watch: GroupWatch, interfaces: GroupInterfaces) -> None:
        self._library = parts.library
        self._lookup = parts.lookup
        self._store = parts.store
        self._checker = parts.checker
        self._catalogue = parts.catalogue
        self._watch = watch
        self._interfaces = interfaces

    async def keep_following(self) -> None:
        """First whatever was left undone before the start, then every change as it comes."""
        await self._guarded(self._catch_up())
        while True:
            await self._guarded(self._follow(await self._watch.next()))

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        """What a store that cannot be read now leaves undone is found at the next start, or the next change."""
        try:
            await work
        except Exception:
            logger.exception("workflows cannot follow their groups", extra={"event": "groups"})

    async def _catch_up(self) -> None:
        after = 0
        while rows := await self._store.with_groups(after, PAGE):
            for row in rows:
                await self._look_at(row.number, is_itself=True)
            after = rows[-1].number

    async def _follow(self, number: int) -> None:
        """A workflow has changed: its users may have to follow it, and it may run other groups than before."""
        row = await self._store.by_number(number)
        if row is None:
            return
        for user in await self._watch.users_of(row):
            await self._look_at(user.number)
        await self._look_at(number, is_itself=True)

    async def _look_at(self, number: int, *, is_itself: bool = False) -> None:
        """One workflow that cannot be brought up must not keep the others from it.

        Args:
            is_itself: It has changed, and not only a group of it.
        """
        try:
            for _ in range(ATTEMPTS):
                row = await self._store.by_number(number)
                if row is None or row.deleted_at or await self._bring_up(row, is_itself=is_itself):
                    return
            logger.warning("workflow %s is saved too often to follow its groups", number, extra={"event": "groups"})
        except (InnkeeperError, OSError) as error:
            logger.warning("workflow %s cannot follow its groups: %s", number, error, extra={"event": "groups"})
        except Exception:
            logger.exception("workflow %s cannot follow its groups", number, extra={"event": "groups"})

    async def _bring_up(self, row: WorkflowRow, *, is_itself: bool) -> bool:
        """False: somebody else saved it meanwhile."""
        look = await self._look(row)
        # A save says of the newest version whether it compiles, not of the published one.
        if not look.is_news and not (is_itself and row.published not in (None, row.version)):
            return True
        known: dict[int, Sequence[Problem]] = {}
        if look.changes:
            document, followed = await self._followed(row, look)
            if followed.document is not document:
                try:
                    saved = await self._save(row, look, followed)
                except Conflict as error:
                    if error.code == "version_changed":
                        return False
                    raise
                row = saved.row
                known[row.version] = saved.problems
        return await self._judge(row, look.records, known)

    # --- looking --------------------------------------------------------------------------------------------------

    async def _look(self, row: WorkflowRow) -> _Look:
        names = list(dict.fromkeys((*names_of(row), *await self._published_groups(row))))
        before = json_of(row.groups)
        now = await self._interfaces.of(row.user_id, row.project_id, names)
        records = {name: recorded(found) or before.get(name) for name, found in now.items()}
        changes = {
            name: InterfaceChange(interface_of(before[name]), found)
            for name, found in now.items()
            if found is not None and before.get(name) and before[name] != records[name]
        }
        # A group that is gone keeps its record: when it comes back, it may have another interface.
        is_odd = not row.valid or any(found is None for found in now.values())
        return _Look(now, records, changes, bool(names) and (records != before or is_odd))

    async def _published_groups(self, row: WorkflowRow) -> Sequence[str]:
        """Runs take the published version: what it needs counts, too."""
        if row.published in (None, row.version):
            return ()
        return glance(await self._document(row, row.published), row.id).references

    async def _document(self, row: WorkflowRow, version: int | None) -> JsonObject:
        stored = await self._lookup.version(row, version)
        document: JsonObject = await asyncio.to_thread(load_json, stored.data)
        return document

    async def _followed(self, row: WorkflowRow, look: _Look) -> tuple[JsonObject, Followed]:
        document = await self._document(row, row.version)
        return document, await asyncio.to_thread(
            follow_groups, document, look.changes, self._catalogue, look.interfaces
        )

    # --- writing --------------------------------------------------------------------------------------------------

    async def _save(self, row: WorkflowRow, look: _Look, followed: Followed) -> Saved:
        note, columns = note_of(list(look.changes), followed), {"groups": write_records(look.records)}
        options = SaveOptions(note, AUTHOR, unique_name=False, columns=columns)
        saved = await self._library.save(row, followed.document, options)
        logger.info(
            "workflow %r follows its groups with version %s; lost: %s",
            row.id,
            saved.row.version,
            len(followed.losses),
            extra={"event": "groups_followed"},
        )
        return saved

    async def _judge(
        self, row: WorkflowRow, records: Mapping[str, Record | None], known: Mapping[int, Sequence[Problem]]
    ) -> bool:
        """Say anew whether it compiles, and note the interfaces. False: somebody else saved it meanwhile.

        Args:
            known: Problems by version, as far as they have just been looked for.
        """
        reason = await self._reason(row, known)
        values = {"valid": reason is None, "reason": reason, "groups": write_records(records)}
        if all(getattr(row, name) == value for name, value in values.items()):
            return True
        return await self._store.change(Change(row.number, row.version, values))

    async def _reason(self, row: WorkflowRow, known: Mapping[int, Sequence[Problem]]) -> str | None:
        """Why the newest version, or the published one, does not compile; None when both do."""
        for version in dict.fromkeys((row.version, row.published)):
            if version is None:
                continue
            problems = known.get(version)
            if problems is None:
                document = await self._document(row, version)
                problems = await self._checker.problems_of(document, row.user_id, row.project_id)
            wrong = next((problem for problem in problems if problem.level == "error"), None)
            if wrong is not None:
                return f"version {version}: {wrong.message}"[:MAX_REASON_CHARS]
        return None


def note_of(groups: Sequence[str], followed: Followed) -> str:
    """What a version says of itself: whom it follows, and what was lost. At most `MAX_NOTE_CHARS`."""
    text = f"follows the interface of {', '.join(repr(name) for name in groups)}"
    losses = [loss.told() for loss in followed.losses]
    if losses:
        text += f"; lost: {', '.join(losses)}"
    if len(text) <= MAX_NOTE_CHARS:
        return text
    end = f" ... ({len(losses)} lost in all)"
    return text[: MAX_NOTE_CHARS - len(end)] + end
