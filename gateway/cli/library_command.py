"""`innkeeper workflows`: what its commands ask a gateway, and what they say."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innkeeper.gateway.cli.run_command import UsageError, read_document, version_of
from innkeeper.gateway.client import ANY_VERSION, GatewayClient, GatewayRefused, LibraryConflict
from innkeeper.nodes.errors import Problem

DEFAULT_PROJECT = "default"
MAX_VERSIONS_SHOWN = 20
NOT_THERE = "workflow_not_found"


def with_own_id(document: dict[str, Any], file: Path) -> dict[str, Any]:
    """A document that names no id has the name of its file as its id: saved twice, it is one workflow.

    Raises:
        UsageError: It came on stdin, and has no name.
    """
    if document.get("id") is not None:
        return document
    if str(file) == "-":
        raise UsageError('a workflow on stdin needs an "id" inside: without one it would be a new one each time')
    return {"id": file.stem, **document}


# --- saving -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SaveOptions:
    """How a file is saved. `overwrite`: also when somebody saves in the same moment."""

    project: str | None = None
    note: str = ""
    overwrite: bool = False


@dataclass(frozen=True)
class SavedFile:
    """What became of a file. `changes`: the answer of `diff` to the version before, if there was one."""

    answer: Mapping[str, Any]
    changes: Mapping[str, Any] | None = None


async def save_file(client: GatewayClient, file: Path, options: SaveOptions) -> SavedFile:
    """Store a file as a new workflow, or as the next version of the one with its id.

    Raises:
        InvalidWorkflow: It is no JSON object.
        VersionMismatch: Somebody saved in the same moment.
        LibraryConflict, GatewayRefused.
    """
    document = with_own_id(read_document(file), file)
    project, note = options.project, options.note
    try:
        seen = await client.workflows.get(str(document["id"]), project=project)
    except GatewayRefused as error:
        if error.code != NOT_THERE:
            raise
        return SavedFile(await client.workflows.create(document, project=project, note=note))
    etag = ANY_VERSION if options.overwrite else seen.etag
    answer = await client.workflows.save(document, etag=etag, project=project, note=note)
    if not answer["isNewVersion"]:
        return SavedFile(answer)
    number = answer["version"]
    return SavedFile(answer, await client.workflows.diff(answer["id"], number - 1, number, project=project))


def saved_line(answer: Mapping[str, Any]) -> str:
    """What was saved, in a sentence."""
    name, version = repr(answer["id"]), answer["version"]
    if not answer["isNewVersion"]:
        return f"{name} is what version {version} says already: no version was made"
    if version == 1:
        return f"made {name} as version 1 in the project {answer['projectId']}"
    published = answer.get("published")
    runs = f"; runs by id take version {published}, which is published" if published else ""
    return f"saved {name} as version {version}; version {version - 1} stays{runs}"


def problems_of(answer: Mapping[str, Any]) -> list[Problem]:
    return [Problem(**problem) for problem in answer.get("problems") or ()]


# --- looking ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A workflow in a list, its newest versions, and what is wrong with the newest."""

    workflow: Mapping[str, Any]
    versions: Sequence[Mapping[str, Any]]
    problems: Sequence[Problem] = ()

    def to_json(self) -> dict[str, Any]:
        problems = [problem.to_json() for problem in self.problems]
        return {**self.workflow, "versions": list(self.versions), "problems": problems}


async def shown_workflow(client: GatewayClient, workflow_id: str, project: str | None) -> Shown:
    """A stored workflow with its newest versions."""
    found = await found_workflow(client, workflow_id, project)
    home = str(found["projectId"])
    versions = await client.workflows.versions(workflow_id, project=home, limit=MAX_VERSIONS_SHOWN)
    if found["valid"]:
        return Shown(found, versions)
    asked = {"workflowId": workflow_id, "projectId": home, "version": found["version"]}
    return Shown(found, versions, problems_of(await client.validate(asked)))


async def found_workflow(client: GatewayClient, workflow_id: str, project: str | None) -> Mapping[str, Any]:
    """What lists tell of a workflow: that of the project, else of `default`, else the only one.

    Raises:
        GatewayRefused: There is none.
        LibraryConflict: Several projects have one.
    """
    listed = [item for item in await client.workflows.find(project=project) if item["id"] == workflow_id]
    chosen = [item for item in listed if item["projectId"] == DEFAULT_PROJECT] or listed
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        where = f" in the project {project!r}" if project else ""
        message = f"there is no stored workflow {workflow_id!r}{where}: 'innkeeper workflows list' lists them"
        raise GatewayRefused(message, code=NOT_THERE)
    names = ", ".join(sorted(str(item["projectId"]) for item in chosen))
    message = f"several projects have a workflow {workflow_id!r} ({names}): name one with --project"
    raise LibraryConflict(message, code="duplicate_workflow_id")


def head_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What a stored workflow is, a line each."""
    yield f"{found['id']}: {found['name']}"
    if found.get("description"):
        yield str(found["description"])
    tags = f", tags {', '.join(found['tags'])}" if found.get("tags") else ""
    yield f"project {found['projectId']}{tags}"
    for side in ("inputs", "outputs"):
        if slots := found.get("interface", {}).get(side):
            yield f"{side}: {', '.join(f'{key} ({_type_of(slot)})' for key, slot in slots.items())}"
    published = found.get("published")
    runs = f"version {published}, which is published" if published else "the newest version that compiles"
    yield f"runs by id take {runs}"


def _type_of(slot: Mapping[str, Any]) -> str:
    return str(slot.get("dataFlowType", "ANY"))


async def difference(
    client: GatewayClient, workflow_id: str, *, before: str | None, after: str, project: str | None
) -> dict[str, Any]:
    """What differs between two versions; without `before` from the published one, else from the one before the
    newest."""
    if before is not None:
        return await client.workflows.diff(workflow_id, version_of(before), version_of(after), project=project)
    try:
        return await client.workflows.diff(workflow_id, "published", version_of(after), project=project)
    except GatewayRefused as error:
        # It has also this code when there is no version `after`; that is told by the next question.
        if error.code != "version_not_found":
            raise
    newest = await client.workflows.versions(workflow_id, project=project, limit=2)
    return await client.workflows.diff(workflow_id, newest[-1]["version"], version_of(after), project=project)


# --- changing -----------------------------------------------------------------------------------------------------


async def publish_version(
    client: GatewayClient, workflow_id: str, version: int | None, project: str | None
) -> dict[str, Any]:
    """Publish a version; without one the newest, as it is in this moment."""
    if version is not None:
        return await client.workflows.publish(workflow_id, version, etag=ANY_VERSION, project=project)
    seen = await client.workflows.get(workflow_id, project=project)
    return await client.workflows.publish(workflow_id, etag=seen.etag, project=project)


async def delete_workflow(client: GatewayClient, found: Mapping[str, Any]) -> None:
    """Move a workflow to the bin, in the version in which somebody was asked about it."""
    await client.workflows.delete(str(found["id"]), etag=str(found["etag"]), project=str(found["projectId"]))


def check_can_ask(question: str = "whether to delete it") -> None:
    """Raises UsageError: nobody sits there who could say yes."""
    if not sys.stdin.isatty():
        raise UsageError(f"nobody can be asked here {question}: say --yes")
