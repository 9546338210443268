"""Which runs a list shows, as conditions on their rows."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, or_

from innkeeper.gateway.store.models import RunRow

_ENDED = frozenset({"complete", "error", "interrupted"})


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs of a user: all of them but previews, unless something is said.

    Attributes:
        statuses: As clients see them; of `running` and `waiting` the rows of both are found.
        text: A part of the name, of the workflow's id or of the run's, in any case.
        since, until: When they were submitted, in milliseconds since 1970; `until` is the first moment behind.
    """

    user_id: str
    statuses: frozenset[str] = frozenset()
    workflow_id: str | None = None
    text: str = ""
    since: int | None = None
    until: int | None = None
    previews: bool = False

    def conditions(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [RunRow.user_id == self.user_id]
        if self.statuses:
            found.append(or_(*map(_of_status, sorted(self.statuses))))
        if self.workflow_id is not None:
            found.append(RunRow.workflow_id == self.workflow_id)
        if self.text:
            names = (RunRow.workflow_name, RunRow.workflow_id, RunRow.id)
            found.append(or_(*(name.icontains(self.text, autoescape=True) for name in names)))
        if self.since is not None:
            found.append(RunRow.submitted_at >= self.since)
        if self.until is not None:
            found.append(RunRow.submitted_at < self.until)
        return found if self.previews else [*found, RunRow.preview.is_(False)]


def _of_status(shown: str) -> ColumnElement[bool]:
    if shown in _ENDED:
        return RunRow.status == shown
    is_open = RunRow.status.in_(("queued", "running"))
    if shown == "interrupting":
        return and_(is_open, RunRow.interrupt_requested.is_(True))
    goes_on = (RunRow.interrupt_requested.is_(False), RunRow.paused.is_(shown == "paused"))
    if shown == "paused":
        return and_(is_open, *goes_on)
    return and_(RunRow.status == ("queued" if shown == "queued" else "running"), *goes_on)
