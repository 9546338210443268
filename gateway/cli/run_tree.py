"""How the nodes of a run are arranged for people: groups as branches, repetitions folded, waits in words. Pure."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_STEPS = 5
MAX_INSIDE = 5
"""So many nodes inside a repetition are shown one by one: those that wait or failed."""
BAR_CELLS = 20


@dataclass
class Repetition:
    """What goes on below a node that runs a graph many times.

    Attributes:
        begun: Numbers of the items or rounds that have begun.
        running: How many nodes work.
        waiting, failed: Paths of nodes that wait, and that failed.
    """

    begun: set[str] = field(default_factory=set)
    running: int = 0
    waiting: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def notable(self) -> list[str]:
        """What is shown one by one."""
        return [*self.waiting, *self.failed][:MAX_INSIDE]

    def words(self) -> str:
        """What goes on, in counts."""
        counts = ((self.running, "running"), (len(self.waiting), "waiting"), (len(self.failed), "failed"))
        return ", ".join(f"{count} {name}" for count, name in counts if count)

    def add(self, path: str, number: str, status: str | None) -> None:
        self.begun.add(number)
        if status == "running":
            self.running += 1
        elif status == "waiting":
            self.waiting.append(path)
        elif status == "error":
            self.failed.append(path)


def repetition_of(path: str, known: Container[str]) -> tuple[str, str] | None:
    """The outermost repetition that a node runs in, as (its path, number of the item); None for any other node.

    Items have no events of their own: `each/3` is no node when `each/3/say` is one. A group may be called `3`, too.
    """
    parts = path.split("/")
    for place in range(1, len(parts) - 1):
        above = "/".join(parts[: place + 1])
        if parts[place].isdigit() and above not in known:
            return above.rpartition("/")[0], parts[place]
    return None


def fold(paths: Iterable[str], nodes: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, Repetition]]:
    """The nodes outside repetitions, in order, and what goes on in each repetition."""
    outside: list[str] = []
    repetitions: dict[str, Repetition] = {}
    for path in paths:
        found = repetition_of(path, nodes) if "/" in path else None
        if found is None:
            outside.append(path)
        else:
            repetition = repetitions.setdefault(found[0], Repetition())
            repetition.add(path, found[1], nodes.get(path, {}).get("status"))
    return outside, repetitions


def parent_of(path: str, shown: Container[str]) -> str:
    """The nearest shown node that a path lies below; `""` for none."""
    while path := path.rpartition("/")[0]:
        if path in shown:
            return path
    return ""


def bar(done: float, total: float, *, fancy: bool) -> str:
    """A progress bar with its counts."""
    filled = round(BAR_CELLS * min(max(done / total, 0.0), 1.0)) if total else 0
    full, empty = ("━", "─") if fancy else ("=", ".")
    return f"{full * filled}{empty * (BAR_CELLS - filled)} {done:g}/{total:g}"


def warning_lines(state: Mapping[str, Any]) -> list[str]:
    """What a node told its user, one line each."""
    warnings = state.get("warnings")
    return [
        f"warning: {' '.join(str(warning.get('message', '')).split())} ({warning.get('code')})"
        for warning in (warnings if isinstance(warnings, list) else [])
        if isinstance(warning, Mapping)
    ]


def error_lines(state: Mapping[str, Any], *, trace: bool = False) -> list[str]:
    """Where in its author's code a node has failed; with `trace` the way that led there, one line each."""
    error = state.get("error")
    details = error.get("details") if isinstance(error, Mapping) else None
    if not isinstance(details, Mapping):
        return []
    lines = [f"at {details['where']}"] if details.get("where") else []
    found = details.get("trace")
    return [*lines, *map(str, found)] if trace and isinstance(found, list) else lines


def retry_words(state: Mapping[str, Any]) -> str:
    """When and why a node is tried again, or until when and why it waits; `""` when neither."""
    error = state.get("lastError")
    if not state.get("retryAt") or not isinstance(error, Mapping):
        return ""
    try:
        moment = f"{datetime.datetime.fromisoformat(str(state['retryAt'])).astimezone():%H:%M:%S}"
    except ValueError:
        moment = str(state["retryAt"])
    if state.get("status") == "waiting":
        return f"waits until {moment}: {' '.join(str(state.get('reason') or error.get('message')).split())}"
    return f"tries again at {moment}: {' '.join(str(error.get('message')).split())} ({error.get('code')})"


# --- waits in words -----------------------------------------------------------------------------------------------


def wait_words(wait: Mapping[str, Any], now: datetime.datetime | None = None) -> str:
    """What a node waits for."""
    words = {
        "approval": "for an approval",
        "budget": f"for more budget: {budget_words(wait)}",
        "event": f"for event {str(wait.get('name'))!r}",
    }
    what = words.get(str(wait.get("kind")))
    return ", ".join(part for part in (what, deadline_words(wait, now)) if part)


def budget_words(asked: Mapping[str, Any]) -> str:
    """What of a budget is used, and what the request that waits for more may take at most."""
    limit, used = asked.get("limit"), asked.get("used")
    limit, used = limit if isinstance(limit, Mapping) else {}, used if isinstance(used, Mapping) else {}
    parts = [f"{_number(used.get(key, 0))} of {_number(most)} {key}" for key, most in limit.items() if most is not None]
    needed = asked.get("needed")
    more = [f"{_number(amount)} {key}" for key, amount in needed.items()] if isinstance(needed, Mapping) else []
    request = f"; the next request may take {' and '.join(more)}" if more else ""
    return f"{', '.join(parts) or 'all'} used (budget of the {asked.get('scope', 'run')}){request}"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def deadline_words(wait: Mapping[str, Any], now: datetime.datetime | None = None) -> str:
    """Until when something waits, on the clock of this machine; `""` for ever."""
    if not wait.get("until"):
        return ""
    try:
        until = datetime.datetime.fromisoformat(str(wait["until"])).astimezone()
    except ValueError:
        return ""
    left = (until - (now or datetime.datetime.now(datetime.UTC))).total_seconds()
    if left < 0:
        return f"until {until:%Y-%m-%d %H:%M:%S}"
    return f"until {until:%H:%M:%S}, {left:.0f} s left" if left < 3600 else f"until {until:%Y-%m-%d %H:%M:%S}"


def approve_command(run: str, asked: Mapping[str, Any]) -> str:
    """The command that answers a question. `asked`: the payload of its event."""
    command = f"innkeeper approve {run} {shlex.quote(str(asked.get('approvalId')))}"
    if asked.get("kind") != "budget":
        return command
    limit = asked.get("limit")
    limits = [str(key) for key in limit] if isinstance(limit, Mapping) and limit else ["tokens"]
    return f"{command} {' '.join(f'--value {key}=...' for key in limits)} (or --reject)"


def next_steps(run: str, status: str | None, nodes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What somebody must do before a run goes on."""
    if status == "interrupting":
        yield f"it is being interrupted; should it not end: innkeeper cancel {run} --force"
        return
    if status == "paused":
        yield f"it is paused: innkeeper resume {run}"
    waits = [wait for node in nodes.values() if isinstance(wait := node.get("wait"), Mapping)]
    asked = [wait for wait in waits if wait.get("kind") in ("approval", "budget")]
    for wait in asked[:MAX_STEPS]:
        yield f"to approve: {approve_command(run, wait)}"
    if len(asked) > MAX_STEPS:
        yield f"{len(asked) - MAX_STEPS} more approvals: innkeeper approvals {run}"
    for name in sorted({str(wait.get("name")) for wait in waits if wait.get("kind") == "event"})[:MAX_STEPS]:
        yield f"it waits for an event: innkeeper event {run} {shlex.quote(name)}"
