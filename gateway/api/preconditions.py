"""If-Match over stored workflows: who changes one says which version she saw, and nobody overwrites what she did not
see."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request

from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.library.documents import JsonObject
from innkeeper.gateway.library.library import Conflict
from innkeeper.gateway.library.lookup import StoredRow
from innkeeper.gateway.library.view import etag, version_to_json
from innkeeper.nodes.errors import InnkeeperError

T = TypeVar("T")
_TAG = re.compile(r'"(\d{1,18})\.(\d{1,9})"')
ANY_VERSION = "*"
CHANGE_ATTEMPTS = 20
"""How often somebody else may save a workflow while a change of it is on its way."""


class PreconditionRequired(InnkeeperError):
    """A change without If-Match."""

    code = "precondition_required"


class VersionMismatch(InnkeeperError):
    """The stored workflow is not the one that the client saw."""

    code = "version_mismatch"


async def check_match(request: Request, container: Container, row: StoredRow, *, required: bool = True) -> None:
    """Compare If-Match with the newest version.

    Raises:
        PreconditionRequired: It is missing.
        VersionMismatch: It names another one; both are told.
    """
    sent = request.headers.get("if-match")
    if sent is None and not required:
        return
    if sent is None:
        raise PreconditionRequired(
            "a stored workflow is changed with the header If-Match: the ETag that GET gave, or * for any version"
        )
    tags = [tag.strip().removeprefix("W/") for tag in sent.split(",")]
    if ANY_VERSION not in tags and etag(row) not in tags:
        raise await mismatch(container, row, tags[0])


async def mismatch(container: Container, row: StoredRow, sent: str) -> VersionMismatch:
    """The error for a client that saw another version than `row` has."""
    match = _TAG.fullmatch(sent)
    is_of_this = match is not None and int(match[1]) == row.number
    yours = await _told(container, row, int(match[2])) if match is not None and is_of_this else None
    current = await _told(container, row, row.version)
    seen = f"you saw version {yours['version']}" if yours else "you saw another one"
    advice = "read it again and repeat your change"
    if not sent.removeprefix("W/").startswith(('"', ANY_VERSION)):  # shells take quotes away
        seen, advice = "If-Match is no ETag", "send the one that GET gave, with its quotes"
    return VersionMismatch(
        f"the workflow {row.id!r} has version {row.version} by now, {seen}: {advice}",
        details={"yours": yours, "current": current},
    )


async def changed(
    request: Request,
    find: Callable[[], Awaitable[StoredRow]],
    change: Callable[[StoredRow], Awaitable[T]],
    *,
    required: bool = True,
) -> T:
    """What `change` makes of the version that the client saw.

    Args:
        find: Gives the row as it is now.
        required: If-Match must be there; else who sends none takes any version.

    Raises:
        VersionMismatch: There is another one by now, even if it came after our look. Who takes any version gets it
            only when that happens again and again.
        PreconditionRequired: See `check_match`. Else what `change` raises.
    """
    container = container_of(request)
    for _ in range(CHANGE_ATTEMPTS):
        row = await find()
        await check_match(request, container, row, required=required)
        try:
            return await change(row)
        except Conflict as error:
            last = error
            if error.code != "version_changed":
                break
    raise await _changed_meanwhile(request, container, row, last)


async def _changed_meanwhile(request: Request, container: Container, row: StoredRow, error: Conflict) -> InnkeeperError:
    """Somebody saved between our look at If-Match and our change: the same error as if she had been faster."""
    if error.code != "version_changed":
        return error
    now = await container.lookup.row_in(row.user_id, row.project_id, row.id)
    return await mismatch(container, now, request.headers.get("if-match", "").strip())


async def _told(container: Container, row: StoredRow, number: int) -> JsonObject | None:
    found = await container.library.versions(row, number + 1, 1)
    return version_to_json(found[0], row) if found and found[0].version == number else None
