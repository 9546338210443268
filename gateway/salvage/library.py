"""Stored workflows from what can be read of them: what is left fits together again, and what is lost is told.

Indexes are read, too. They stand on other pages than the rows, and so still say which workflow a version is of whose
row is gone, and which versions there were.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from innkeeper.gateway.library.documents import content_hash, glance, with_id
from innkeeper.gateway.salvage.sqlite_pages import Record, Value
from innkeeper.gateway.salvage.store_tables import PROJECTS, WORKFLOWS
from innkeeper.gateway.salvage.tables import LATEST_MS, Row, unpacked_object
from innkeeper.nodes.json_values import encode_json

DEFAULT_PROJECT = "default"
MAX_NAMED = 20
"""Workflows, and versions of one, that one sentence names."""


class Identity(NamedTuple):
    """Whose a workflow is, and where."""

    user: str
    project: str
    id: str
    deleted_at: int


class Version(NamedTuple):
    """What decides between the versions of a workflow."""

    version: int
    valid: bool
    saved_at: int


@dataclass
class Indexed:
    """What indexes say of workflows and versions, by the number of the workflow."""

    identities: dict[int, Identity] = field(default_factory=dict)
    versions: dict[int, set[int]] = field(default_factory=dict)

    def note(self, record: Record) -> None:
        match record:
            case (None, (str(user), str(project), str(identity), int(deleted_at), int(number))):
                known = self.identities.get(number)
                # Of two copies the one that lives: nothing is lost by that.
                if 0 <= deleted_at <= LATEST_MS and (known is None or known.deleted_at):
                    self.identities[number] = Identity(user, project, identity, deleted_at)
            case (None, (int(workflow), int(version), int())):
                self.versions.setdefault(workflow, set()).add(version)


@dataclass
class SalvagedLibrary:
    """What became of the stored workflows.

    Attributes:
        workflows, versions: How many are there.
        lost: Workflows of which no version is left.
        lost_versions: Workflow to its versions that are lost.
        remade: Workflows that were made anew from their newest version.
        renamed: Old id to new one: another workflow has the old one.
        published: Workflow to the version that is published in place of one that is lost.
    """

    workflows: int = 0
    versions: int = 0
    lost: list[str] = field(default_factory=list)
    lost_versions: dict[str, list[int]] = field(default_factory=dict)
    remade: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    published: dict[str, int | None] = field(default_factory=dict)

    def sentence(self) -> str:
        """Empty where no workflow was stored."""
        if not self.workflows and not self.lost:
            return ""
        said = [
            f"of the library {_count(self.workflows, 'workflow')} with {_count(self.versions, 'version')} "
            f"{'was' if self.workflows == 1 else 'were'} saved"
        ]
        if self.lost:
            said.append(f"lost {_are(self.lost, 'workflow')} {_listed(map(repr, self.lost))}")
        if self.lost_versions:
            said.append(f"lost are {_listed(_versions(name, gone) for name, gone in self.lost_versions.items())}")
        if self.remade:
            names = _listed(map(repr, self.remade))
            said.append(f"made anew from the newest version {_are(self.remade, 'workflow')} {names}; publish again")
        if self.renamed:
            pairs = (f"{old!r} as {new!r}" for old, new in self.renamed.items())
            said.append(f"saved under another id, because theirs is taken, are {_listed(pairs)}")
        if self.published:
            said.append("published is now " + _listed(_pointer(*item) for item in self.published.items()))
        return "; ".join(said)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _are(names: Sequence[str], noun: str) -> str:
    return f"is the {noun}" if len(names) == 1 else f"are the {noun}s"


def _versions(name: str, gone: Sequence[int]) -> str:
    return f"version{'' if len(gone) == 1 else 's'} {_listed(map(str, gone))} of {name!r}"


def _pointer(name: str, version: int | None) -> str:
    return f"no version of {name!r}" if version is None else f"version {version} of {name!r}"


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return ", ".join(found[:MAX_NAMED]) + more


def salvage_library(
    db: sqlite3.Connection, indexed: Indexed, workflows: Sequence[Row], projects: Sequence[Row], user: str
) -> SalvagedLibrary:
    """Write workflows and projects down beside the versions, which are there already.

    Args:
        workflows, projects: Rows that could be read, each of them once.
        user: Owns workflows of which nothing says whose they are.
    """
    told = SalvagedLibrary()
    rows = {row["number"]: row for row in workflows}
    kept = _kept_versions(db)
    settled = []
    numbers = kept.keys() | {number for number in rows if isinstance(number, int)}
    # Of two that claim one id the newer one keeps it, and one whose row is there before one that is made anew.
    for number in sorted(numbers, key=lambda number: (number not in rows, -number)):
        row = rows.get(number)
        if number not in kept:
            told.lost.extend([str(row["id"])] if row is not None else [])
            continue
        before = row or _remade(db, number, kept[number], indexed.identities.get(number), user)
        after = _settled(db, before, kept[number])
        _tell(told, before, after, kept[number], indexed.versions.get(number, set()))
        told.remade.extend([] if row is not None else [str(after["id"])])
        settled.append(after)
    told.lost.extend(identity.id for number, identity in indexed.identities.items() if number not in {*rows, *kept})
    told.lost.sort()
    settled = _placed(db, told, settled)
    WORKFLOWS.insert(db, settled)
    PROJECTS.insert(db, _projects(projects, settled))
    told.workflows, told.versions = len(settled), sum(map(len, kept.values()))
    return told


def _kept_versions(db: sqlite3.Connection) -> dict[int, list[Version]]:
    """The versions that are left by the number of their workflow, the oldest first."""
    kept: dict[int, list[Version]] = {}
    query = "SELECT workflow, version, valid, saved_at FROM workflow_versions ORDER BY workflow, version"
    for workflow, version, valid, saved_at in db.execute(query):
        kept.setdefault(workflow, []).append(Version(version, bool(valid), saved_at))
    return kept


def _document(db: sqlite3.Connection, workflow: Value, version: int) -> dict[str, object]:
    query = "SELECT document FROM workflow_versions WHERE workflow=? AND version=?"
    (packed,) = db.execute(query, (workflow, version)).fetchone()
    return unpacked_object(packed) or {}


def _shown(document: Mapping[str, object], workflow_id: str) -> Row:
    """What lists show of a document."""
    seen = glance(document, workflow_id).columns()
    return {"refers_to" if name == "references" else name: value for name, value in seen.items()}


def _remade(db: sqlite3.Connection, number: int, kept: Sequence[Version], identity: Identity | None, user: str) -> Row:
    """The row of a workflow whose own is lost. Runs take its newest version that compiles: nothing is published."""
    document = _document(db, number, kept[-1].version)
    own = document.get("id")
    known = identity or Identity(user, DEFAULT_PROJECT, own if isinstance(own, str) and own else f"saved-{number}", 0)
    return WORKFLOWS.sound(
        {
            **_shown(document, known.id),
            **{"number": number, "user_id": known.user, "project_id": known.project, "id": known.id},
            **{"version": kept[-1].version, "valid": int(kept[-1].valid), "deleted_at": known.deleted_at},
            **{"created_at": kept[0].saved_at, "updated_at": kept[-1].saved_at},
        }
    )


def _settled(db: sqlite3.Connection, row: Row, kept: Sequence[Version]) -> Row:
    """The row with its newest version, and what is published, among those that are left."""
    newest = kept[-1]
    if row["version"] != newest.version:
        shown = _shown(_document(db, row["number"], newest.version), str(row["id"]))
        moment = max(number for number in (row["updated_at"], newest.saved_at) if isinstance(number, int))
        row = {**row, **shown, "version": newest.version, "valid": int(newest.valid), "updated_at": moment}
    return {**row, "published": _published(row["published"], kept)}


def _published(before: Value, kept: Sequence[Version]) -> int | None:
    """An older version in place of the published one: nobody has published a newer one yet."""
    if not isinstance(before, int):
        return None
    candidates = [item.version for item in kept if item.version == before or (item.valid and item.version < before)]
    return max(candidates, default=None)


def _tell(told: SalvagedLibrary, before: Row, after: Row, kept: Sequence[Version], indexed: set[int]) -> None:
    name = str(after["id"])
    named = {before["version"], before["published"]} | set(indexed)
    numbers = {number for number in named if isinstance(number, int)}
    if lost := sorted(numbers - {item.version for item in kept}):
        told.lost_versions[name] = lost
    if before["published"] != after["published"]:
        published = after["published"]
        told.published[name] = published if isinstance(published, int) else None


# --- what must be unique --------------------------------------------------------------------------------------------


def _place(row: Row) -> tuple[Value, ...]:
    return row["user_id"], row.get("project_id"), row["id"], row["deleted_at"]


def _placed(db: sqlite3.Connection, told: SalvagedLibrary, rows: Sequence[Row]) -> list[Row]:
    """Each at a place of its own; the first one keeps it."""
    taken: set[tuple[Value, ...]] = set()
    placed = []
    for row in rows:
        placed.append(_with_free_id(db, told, row, taken))
        taken.add(_place(placed[-1]))
    return placed


def _with_free_id(db: sqlite3.Connection, told: SalvagedLibrary, row: Row, taken: set[tuple[Value, ...]]) -> Row:
    """The row at a place that is not taken: in the bin that takes another moment, outside of it another id."""
    if _number(row["deleted_at"]):
        row = _at_free_moment(row, taken)
    elif _place(row) in taken:
        old, count = str(row["id"]), 2
        while _place(row) in taken:
            row, count = {**row, "id": f"{old[:180]}-{count}"}, count + 1
        told.renamed[old] = str(row["id"])
        _rename_documents(db, row)
    return row


def _at_free_moment(row: Row, taken: set[tuple[Value, ...]]) -> Row:
    while _place(row) in taken:
        row = {**row, "deleted_at": _number(row["deleted_at"]) + 1}
    return row


def _rename_documents(db: sqlite3.Connection, row: Row) -> None:
    """The id stands inside each document, too: an editor sends it back."""
    query = "SELECT version FROM workflow_versions WHERE workflow=?"
    for (version,) in db.execute(query, (row["number"],)).fetchall():
        document = with_id(_document(db, row["number"], version), str(row["id"]))
        changed = (zlib.compress(encode_json(document).data, 6), content_hash(document), row["number"], version)
        db.execute("UPDATE workflow_versions SET document=?, hash=? WHERE workflow=? AND version=?", changed)


def _number(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _projects(found: Sequence[Row], workflows: Sequence[Row]) -> list[Row]:
    """Projects, each place once, and those anew whose rows are lost and which have workflows."""
    newest_first = sorted(found, key=lambda row: (-_number(row["updated_at"]), -_number(row["number"])))
    taken: set[tuple[Value, ...]] = set()
    projects = []
    for row in newest_first:
        moved = _at_free_moment(row, taken) if _number(row["deleted_at"]) else row
        if _place(moved) not in taken:
            taken.add(_place(moved))
            projects.append(moved)
    for workflow in sorted(workflows, key=lambda row: row["deleted_at"] != 0):
        _give_home(workflow, projects)
    return projects


def _give_home(workflow: Row, projects: list[Row]) -> None:
    """A workflow that lives has a project that lives; one in the bin has one at all, to come back to."""
    home = (workflow["user_id"], workflow["project_id"])
    places = [place for place, row in enumerate(projects) if (row["user_id"], row["id"]) == home]
    if any(projects[place]["deleted_at"] == 0 for place in places) or (places and workflow["deleted_at"] != 0):
        return
    if places:
        projects[places[0]] = {**projects[places[0]], "deleted_at": 0}
        return
    moments = dict.fromkeys(("created_at", "updated_at"), workflow["created_at"])
    row = {"user_id": home[0], "id": home[1], "name": home[1], "more": "{}", "deleted_at": 0, **moments}
    projects.append(PROJECTS.sound(row))
