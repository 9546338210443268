"""What the commands for pausing, approvals and events ask and say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from innkeeper.gateway.cli.live_view import approval_lines, clean
from innkeeper.gateway.cli.run_command import UsageError, content_of, value_of_argument
from innkeeper.gateway.cli.run_tree import approve_command, deadline_words, fold, next_steps
from innkeeper.gateway.client import Approvals
from innkeeper.nodes.json_values import InvalidJson, read_json

MAX_HINTS = 5


@dataclass(frozen=True)
class Answer:
    """What `innkeeper approve` was told. `values` are `name=value`."""

    run: str
    node: str | None
    approved: bool
    values: Sequence[str] = ()
    comment: str | None = None
    by: str | None = None


async def answer(approvals: Approvals, given: Answer) -> str:
    """Answer an approval; gives a sentence. Raises UsageError when it is not clear which."""
    asked = [item for item in await approvals.find(given.run) if item.get("status") == "open"]
    chosen = _chosen(asked, given)
    values = field_values(given.values, chosen.get("form") or [])
    approval = str(chosen["approvalId"])
    await approvals.answer(given.run, approval, given.approved, values=values, comment=given.comment, by=given.by)
    return f"{approval} of run {given.run} is {'approved' if given.approved else 'rejected'}"


def _chosen(asked: Sequence[Mapping[str, Any]], given: Answer) -> Mapping[str, Any]:
    names = [str(item["approvalId"]) for item in asked]
    if given.node is not None:
        # What the log does not show as open, the gateway refuses with the reason.
        return next((item for item in asked if item["approvalId"] == given.node), {"approvalId": given.node})
    if not asked:
        raise UsageError(f"run {given.run} waits for no approval now; innkeeper approvals lists what does")
    if len(asked) > 1:
        listed = ", ".join(names[:MAX_HINTS]) + (", ..." if len(names) > MAX_HINTS else "")
        raise UsageError(f"run {given.run} waits for {len(asked)} approvals; name one of them: {listed}")
    return asked[0]


def field_values(pairs: Iterable[str], form: Sequence[Any]) -> dict[str, Any]:
    """`name=value` options as values for a form: plain words where a field takes text, else JSON.

    Raises:
        UsageError: No `=`, or a name that is no field of the form.
    """
    fields = {str(item.get("key")): item for item in form if isinstance(item, Mapping)}
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {pair!r} is not understood: write --set name=value")
        if fields and name not in fields:
            known = ", ".join(map(repr, fields))
            raise UsageError(f"the form has no field {name!r}: its fields are {known}")
        values[name] = value_of_argument(content_of(name, text), fields.get(name))
    return values


def approval_blocks(found: Iterable[Mapping[str, Any]], *, whole: bool = False) -> RenderableType:
    """Approvals, as the gateway lists them: what is to be approved, what may be changed, and the command for it.

    Args:
        whole: Show all of the data: who may change a text must see its end.
    """
    blocks: list[Text] = []
    for item in found:
        run, node = str(item.get("promptId")), str(item.get("approvalId"))
        blocks += [Text("")] if blocks else []
        blocks.append(Text(clean(node), "bold") + Text(clean(f"  {_state_of(item)}  run {run}")))
        blocks += [Text(f"  {line}") for line in approval_lines(item, whole=whole)]
        if item.get("status") == "open":
            blocks.append(Text(clean(f"  {approve_command(run, item)}"), "yellow"))
    return Group(*blocks)


def _state_of(item: Mapping[str, Any]) -> str:
    given = item.get("answer")
    if isinstance(given, Mapping):
        verdict = "approved" if given.get("approved") else "rejected"
        return f"{verdict} by {given['by']}" if given.get("by") else verdict
    words = deadline_words(item) if item.get("status") == "open" else ""
    return f"{item.get('status')}{f', {words}' if words else ''}"


def wanted_event(run: str | None, name: str | None, data: str, *, to_all: bool) -> tuple[str | None, str, Any]:
    """The run (None: all), the name and the data of an event, from what was typed. Raises UsageError."""
    target, event = (None, run) if to_all else (run, name)
    if to_all and name is not None:
        raise UsageError("with --all name only the event: innkeeper event --all NAME")
    if event is None or (target is None and not to_all):
        raise UsageError("name a run and an event: innkeeper event RUN NAME; or, for all runs, --all NAME")
    try:
        return target, event, read_json(data)
    except InvalidJson:
        return target, event, data


def told(answer: Mapping[str, Any]) -> str:
    """A sentence on who got an event."""
    name = answer.get("name")
    if "runs" in answer:
        missed = answer.get("missed")
        more = f"; {len(missed)} could not be told: try again" if missed else ""
        who = "1 run that waits" if answer["runs"] == 1 else f"{answer['runs']} runs that wait"
        return f"told {who} for {name!r}{_started(answer)}{more}"
    if not answer.get("waiting"):
        return f"run {answer.get('promptId')} was told, but no node of it is known to wait for {name!r} now"
    return f"run {answer.get('promptId')} was told: {answer['waiting']} of its nodes wait for {name!r}"


def _started(answer: Mapping[str, Any]) -> str:
    count = sum("runId" in trigger for trigger in answer.get("triggers", ()))
    if not count:
        return ""
    return "; a trigger starts 1 run" if count == 1 else f"; triggers start {count} runs"


def shown_nodes(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The nodes of a run for a table: of thousands of items only what waits or failed, and how many there were."""
    outside, repetitions = fold(nodes, nodes)
    shown: dict[str, Mapping[str, Any]] = {}
    for path in outside:
        shown[path] = nodes[path]
        if (found := repetitions.get(path)) is not None:
            said = ", ".join(filter(None, (f"{len(found.begun)} begun", found.words())))
            shown[path] = {**nodes[path], "reason": said}
            shown |= {inner: nodes[inner] for inner in found.notable}
    return shown


def hints_of_runs(found: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What to do next about runs that do not go on by themselves."""
    found = list(found)
    if sum(run.get("openApprovals") or 0 for run in found):
        yield "some runs wait for an approval: innkeeper approvals"
    for run in [run for run in found if isinstance(run.get("stuck"), Mapping)][:MAX_HINTS]:
        yield clean(f"run {run.get('promptId')} is stuck: {run['stuck'].get('message')}")
    for run in [run for run in found if run.get("status") == "paused"][:MAX_HINTS]:
        yield f"run {run.get('promptId')} is paused: innkeeper resume {run.get('promptId')}"


def callback_lines(status: Mapping[str, Any]) -> Iterator[str]:
    """Whom a run tells how it goes, and what became of each message."""
    for callback in status.get("callbacks") or ():
        where = f"callback {callback.get('number')} to {callback.get('url')}"
        deliveries = callback.get("deliveries") or ()
        if not deliveries:
            yield clean(f"{where}: nothing told yet; it is told of {', '.join(callback.get('on') or ())}")
        for delivery in deliveries:
            yield clean(f"{where}: {_delivery_words(delivery)}")


def _delivery_words(delivery: Mapping[str, Any]) -> str:
    event, node = delivery.get("event"), delivery.get("nodeId")
    what = f"{event} of {node!r}" if node else f"{event}"
    attempts = delivery.get("attempts")
    words = f"{what} {delivery.get('status')}" + (f" after {attempts} attempts" if (attempts or 0) > 1 else "")
    retry = f", next attempt {delivery['nextAttemptAt']}" if delivery.get("nextAttemptAt") else ""
    reason = f": {delivery['lastError']}" if delivery.get("lastError") and delivery.get("status") != "delivered" else ""
    return words + retry + reason


def hints_of_run(status: Mapping[str, Any]) -> Iterator[str]:
    """What to do next about a run, from its full status."""
    if isinstance(stuck := status.get("stuck"), Mapping):
        yield clean(f"it is stuck: {stuck.get('message')}")
    for step in next_steps(str(status.get("promptId")), status.get("status"), status.get("nodeStatus") or {}):
        yield clean(step)
