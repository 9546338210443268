"""`innkeeper workflows export | import`: many workflows between files and a gateway."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from innkeeper.gateway.cli.file_command import FileTrouble
from innkeeper.gateway.cli.library_command import DEFAULT_PROJECT, with_own_id
from innkeeper.gateway.cli.run_command import UsageError, read_document, version_of
from innkeeper.gateway.client import GatewayClient, GatewayRefused, InvalidAddress
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.document.pretty import pretty

AT_ONCE = 8
"""Requests under way. Each of them compiles a workflow: more would only wait for each other."""
MAX_NAME_BYTES = 180
"""Of a file, without its ending."""
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%]|^\.|[. ]$')
Progress = Callable[[int, int], None]
"""Is told how many of how many are done."""


async def _together(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run steps side by side; the first error of one ends all of them, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors


# --- import -------------------------------------------------------------------------------------------------------


@dataclass
class Imported:
    """What became of files, each by its path. `broken`: stored, but it cannot run as it is."""

    made: list[str] = field(default_factory=list)
    new_versions: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        told = {"made": self.made, "newVersions": self.new_versions, "unchanged": self.unchanged}
        refused = [{"file": file, "reason": reason} for file, reason in self.refused.items()]
        return {**told, "cannotRun": self.broken, "refused": refused}

    def line(self) -> str:
        """The result in one line."""
        counts = (("made", self.made), ("new versions", self.new_versions), ("unchanged", self.unchanged))
        told = [f"{what} {len(files)}" for what, files in counts]
        broken = f"; {len(self.broken)} cannot run yet" if self.broken else ""
        return f"{', '.join(told)}, refused {len(self.refused)}{broken}"


def files_of(places: Iterable[Path]) -> list[Path]:
    """The files that are named, and the `*.json` files of the folders that are; not those of folders inside.

    Raises:
        UsageError: A folder has none.
    """
    found: dict[Path, None] = {}
    for place in places:
        below = sorted(path for path in place.glob("*.json") if path.is_file()) if place.is_dir() else [place]
        if not below:
            raise UsageError(f"the folder {str(place)!r} has no *.json files (folders inside it are not looked into)")
        found |= dict.fromkeys(below)
    return list(found)


async def import_files(
    client: GatewayClient, places: Sequence[Path], project: str | None, progress: Progress
) -> Imported:
    """Store files as workflows of a project, `default` without one: a new id makes a workflow, a known one a version.

    Raises:
        GatewayRefused: There is no such project.
        UsageError: There are no files.
        GatewayAway: After this, the files can be imported again: what is stored already is unchanged then.
    """
    files = await asyncio.to_thread(files_of, places)
    home = project or DEFAULT_PROJECT
    await _check_project(client, home)
    etags = {str(item["id"]): str(item["etag"]) for item in await client.workflows.find(project=home)}
    done = Imported()
    documents = await asyncio.to_thread(_read_all, files, done)
    needs = {workflow_id: references(document) for workflow_id, (_, document) in documents.items()}
    count = len(done.refused)

    async def store(workflow_id: str) -> None:
        nonlocal count
        file, document = documents[workflow_id]
        try:
            async with at_once:
                _note_down(done, file, await _store(client, document, etags.get(workflow_id), home, file.name))
        except (GatewayRefused, InvalidAddress, InvalidWorkflow) as error:
            done.refused[str(file)] = error.message
        count += 1
        progress(count, len(files))

    at_once = asyncio.Semaphore(AT_ONCE)
    # What runs as a group of others is stored before them: else they would be told that it is missing.
    for some in in_rounds(needs):
        await _together(store(workflow_id) for workflow_id in some)
    return done


async def _check_project(client: GatewayClient, project: str) -> None:
    known = [str(item["id"]) for item in await client.projects.find()]
    if project not in known:
        message = f"there is no project {project!r}: the projects are {', '.join(map(repr, known))}"
        raise GatewayRefused(message, code="project_not_found")


def _read_all(files: Iterable[Path], done: Imported) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Blocking. Id to file and document; what cannot be read is refused in `done`."""
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for file in files:
        try:
            document = with_own_id(read_document(file), file)
        except (InvalidWorkflow, UsageError) as error:
            done.refused[str(file)] = error.message
            continue
        workflow_id = str(document["id"])
        if workflow_id in found:
            done.refused[str(file)] = f"it has the id {workflow_id!r}, as {str(found[workflow_id][0])!r} has"
            continue
        found[workflow_id] = (file, document)
    return found


async def _store(
    client: GatewayClient, document: Mapping[str, Any], etag: str | None, project: str, note: str
) -> dict[str, Any]:
    if etag is None:
        return await client.workflows.create(document, project=project, note=note)
    return await client.workflows.save(document, etag=etag, project=project, note=note)


def _note_down(done: Imported, file: Path, answer: Mapping[str, Any]) -> None:
    target = (
        done.unchanged if not answer["isNewVersion"] else done.made if answer["version"] == 1 else done.new_versions
    )
    target.append(str(file))
    if not answer["valid"] and answer["isNewVersion"]:
        done.broken.append(str(file))


def references(document: Mapping[str, Any]) -> set[str]:
    """Ids of the workflows that a document runs as groups, as far as it can be read."""
    nodes = document.get("nodes")
    settings = [node.get("configValues") for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []
    named = [found.get("referencedWorkflowId") for found in settings if isinstance(found, dict)]
    return {name for name in named if isinstance(name, str)}


def in_rounds(needs: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Ids in an order in which what one needs comes in a round before; what needs itself in a circle comes last."""
    left = dict(needs)
    while left:
        ready = [name for name, wanted in left.items() if not (wanted & left.keys()) - {name}] or list(left)
        yield ready
        for name in ready:
            del left[name]


# --- export -------------------------------------------------------------------------------------------------------


@dataclass
class Exported:
    """What was written. `kept`: files with other content, which stay without `force`."""

    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        refused = [{"id": name, "reason": reason} for name, reason in self.refused.items()]
        return {"written": self.written, "unchanged": self.unchanged, "kept": self.kept, "refused": refused}

    def line(self) -> str:
        """The result in one line."""
        kept = f"; kept {len(self.kept)} that differ, --force replaces them" if self.kept else ""
        told = f"wrote {len(self.written)}, unchanged {len(self.unchanged)}, refused {len(self.refused)}"
        return f"{told}{kept}"


async def export_all(
    client: GatewayClient, folder: Path, *, project: str | None, force: bool, progress: Progress
) -> Exported:
    """Write the newest versions of a project's workflows into a folder; without a project those of all, each project
    but `default` in a folder of its own inside."""
    listed = await client.workflows.find(project=project)
    places = file_names([(_folder_of(item, project), str(item["id"])) for item in listed])
    at_once, done = asyncio.Semaphore(AT_ONCE), Exported()
    count = 0

    async def write(item: Mapping[str, Any], place: str) -> None:
        nonlocal count
        workflow_id, home = str(item["id"]), str(item["projectId"])
        try:
            async with at_once:
                found = await client.workflows.get(workflow_id, project=home)
                await asyncio.to_thread(_write_one, folder / place, pretty(found.document), force, done)
        except (GatewayRefused, InvalidAddress) as error:
            done.refused[workflow_id] = error.message
        count += 1
        progress(count, len(listed))

    await _together(write(item, place) for item, place in zip(listed, places, strict=True))
    return done


async def export_one(client: GatewayClient, workflow_id: str, version: str, project: str | None) -> str:
    """A version of a workflow as text."""
    return pretty((await client.workflows.get(workflow_id, version_of(version), project=project)).document)


def write_export(file: Path, text: str, *, force: bool) -> None:
    """Write a workflow file.

    Raises:
        FileTrouble: There is one, and `force` is not given; or it cannot be written.
    """
    if file.exists() and not force:
        raise FileTrouble(f"there is a {str(file)!r} already: --force replaces it, or name another file")
    _write_whole(file, text)


def _folder_of(item: Mapping[str, Any], project: str | None) -> str:
    home = str(item["projectId"])
    return "" if project is not None or home == DEFAULT_PROJECT else home


def file_names(places: Iterable[tuple[str, str]]) -> list[str]:
    """A path for each project (`""`: none) and id: a name that every file system takes, no two of them equal where
    upper and lower case are one."""
    taken: set[str] = set()
    found = []
    for project, workflow_id in places:
        folder = f"{_name(project)}/" if project else ""
        name = f"{folder}{_name(workflow_id)}.json"
        if name.casefold() in taken:
            name = f"{folder}{_name(workflow_id, unique=True)}.json"
        taken.add(name.casefold())
        found.append(name)
    return found


def _name(text: str, *, unique: bool = False) -> str:
    name = _NOT_IN_NAMES.sub(lambda found: f"%{ord(found[0]):02x}", text)
    data = name.encode("utf-8", "replace")
    if len(data) <= MAX_NAME_BYTES and not unique:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    return f"{data[:MAX_NAME_BYTES].decode('utf-8', 'ignore')}-{digest}"


def _write_one(file: Path, text: str, force: bool, done: Exported) -> None:
    """Blocking."""
    there = _text_of(file)
    if there == text:
        done.unchanged.append(str(file))
    elif there is not None and not force:
        done.kept.append(str(file))
    else:
        _write_whole(file, text)
        done.written.append(str(file))


def _text_of(file: Path) -> str | None:
    try:
        return file.read_text("utf-8", "replace")
    except FileNotFoundError:
        return None


def _write_whole(file: Path, text: str) -> None:
    """Write a file so that what breaks off in the middle replaces nothing.

    Raises:
        FileTrouble: It cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".innkeeper-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
            os.replace(name, file)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
    except OSError as error:
        raise FileTrouble(f"{str(file)!r} cannot be written ({error.strerror}): check rights and free space") from error
