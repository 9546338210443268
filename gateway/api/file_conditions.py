"""Versions of files as ETags, and the conditions that a write may have: If-Match and If-None-Match."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers

from innkeeper.gateway.errors import BadRequest
from innkeeper.nodes.errors import ResourceError

# A tag may hold a comma; ours do not.
_TAGS = re.compile(r'(?:W/)?"[^",]*"(?:\s*,\s*(?:W/)?"[^",]*")*')


class PreconditionFailed(ResourceError):
    """`If-Match` names another version than the present one, whose ETag is in `details`; or there is no file."""

    code = "precondition_failed"


@dataclass(frozen=True)
class Condition:
    """What must be so for a write to happen.

    Attributes:
        must_be_new: There must be no file (`If-None-Match: *`).
        must_exist: There must be one (`If-Match: *`).
        versions: It must be one of these ETags (`If-Match`); None when any will do.
    """

    must_be_new: bool = False
    must_exist: bool = False
    versions: frozenset[str] | None = None

    @property
    def needs_version(self) -> bool:
        return self.must_exist or self.versions is not None

    def check(self, path: str, current: str | None) -> None:
        """Compare with the ETag of the present file, None when there is none.

        Raises:
            PreconditionFailed
        """
        if not self.needs_version:
            return
        if current is None:
            raise PreconditionFailed(f"there is no file {path!r}, so no version of it matches If-Match")
        if self.versions is not None and current not in self.versions:
            message = f"{path!r} is another version than If-Match names: read it again, then repeat the change"
            raise PreconditionFailed(message, details={"etag": current})


UNCONDITIONAL = Condition()


def condition_of_delete(headers: Headers) -> Condition:
    """What `If-Match` asks for.

    Raises:
        BadRequest: It cannot be understood.
    """
    found = headers.getlist("if-match")
    text = ", ".join(found).strip()
    if not found or text == "*":
        return Condition(must_exist=bool(found))
    if not _TAGS.fullmatch(text):
        raise BadRequest("If-Match holds '*', or ETags as they came: in quotes, separated by commas")
    # A weak tag matches nothing here (RFC 9110, 13.1.1): it may name several contents.
    return Condition(versions=frozenset(tag.strip() for tag in text.split(",")))


def condition_of_upload(headers: Headers) -> Condition:
    """What `If-Match` and `If-None-Match` ask for.

    Raises:
        BadRequest: They cannot be understood, or never hold together.
    """
    none_match, condition = headers.get("if-none-match"), condition_of_delete(headers)
    if none_match is None:
        return condition
    if none_match != "*":
        raise BadRequest("If-None-Match of an upload can only be '*': do not overwrite")
    if condition.needs_version:
        raise BadRequest("If-Match and If-None-Match never hold together: send one of them")
    return Condition(must_be_new=True)


def etag_of(found: os.stat_result) -> str:
    """The version of a file.

    The inode is part of it: each upload is a new one, also when two of one size fall into one tick of the clock.
    """
    return f'"{found.st_mtime_ns:x}-{found.st_ino:x}-{found.st_size:x}"'


def version_at(real: Path) -> str | None:
    """The ETag of a file; None when there is none."""
    try:
        found = os.stat(real)
    except OSError:
        return None
    return etag_of(found) if stat.S_ISREG(found.st_mode) else None
