"""How a run ended: the engine's word, compared with the log's. Pure but for asking the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.exceptions import TimeoutError as WorkflowTimeout

from innkeeper.gateway.events.links import without_links
from innkeeper.gateway.runs.view import JsonObject, RunView, is_stream_value, marks
from innkeeper.workflows.sdk_errors import worded

STREAM_PLACEHOLDER = {
    "type": "stream_placeholder",
    "message": "this output was streamed as WORKFLOW_INTERFACE_YIELD; the run's result holds it whole",
}
MAX_FAILED_LISTED = 100
MAX_LISTED_CHARS = 1_000
"""Of a message in the list of failed nodes, which every client gets; the node's own entry has it whole."""
ENDED_WELL = frozenset({"complete", "skipped", "bypassed"})
UNFINISHED = frozenset({"running", "waiting"})
STATUS_PAGE = 200
# What a query may take before the log alone has to do: without a worker nobody answers it.
QUERY_TIMEOUT = timedelta(seconds=5)


@dataclass(frozen=True)
class RunOutcome:
    """What the engine says of a run that ended.

    Attributes:
        outputs: Interface outputs; None when the engine could not tell.
        nodes: The node table; empty when the engine could not tell.
        error: Why the run as a whole failed, apart from its nodes.
        is_refused: It could not even begin: no worker knows of it, and it has no outputs.
        is_whole: `nodes` has all nodes that ever began, those of groups and repetitions too, and each of them ended by
            itself.
    """

    status: str
    outputs: JsonObject | None = None
    nodes: dict[str, JsonObject] = field(default_factory=dict)
    error: JsonObject | None = None
    is_refused: bool = False
    is_whole: bool = False


LOST = RunOutcome(
    "error",
    error={
        "message": "Temporal does not know this run any more: its database was lost or damaged, or the run ended too "
        "long ago; 'innkeeper rerun RUN' goes on with what its nodes had finished",
        "code": "run_lost",
    },
)


FORCED = RunOutcome(
    "interrupted",
    error={
        "message": "the run was ended by force: what its nodes were doing is lost, and its last events may be missing",
        "code": "interrupted_by_force",
    },
)


def outcome_of_result(result: Mapping[str, Any], nodes: Mapping[str, JsonObject]) -> RunOutcome:
    """The end of a workflow that returned, with its node table.

    A table may lack nodes that the result has counted: a long repetition keeps a part of them, and a table that could
    not be stored is empty. Of a child workflow that failed it has none, and they are not counted either.
    """
    ended_well = result["status"] == "complete" and all(node["status"] in ENDED_WELL for node in nodes.values())
    counted = sum((result.get("counts") or {}).values())
    return RunOutcome(
        result["status"],
        result.get("outputs") or {},
        dict(nodes),
        result.get("error"),
        is_whole=ended_well and counted == len(nodes),
    )


async def outcome_of_failure(
    handle: WorkflowHandle[Any, Any], failure: WorkflowFailureError, *, interrupted: bool
) -> RunOutcome:
    """The end of a workflow that did not return: terminated, timed out, cancelled, or failed by a bug of ours."""
    status, error = _failure(failure.cause, interrupted)
    return RunOutcome(status, None, await _table(handle), error)


def _failure(cause: BaseException | None, interrupted: bool) -> tuple[str, JsonObject | None]:
    if isinstance(cause, CancelledError) or (interrupted and isinstance(cause, TerminatedError)):
        return "interrupted", None
    if isinstance(cause, TerminatedError):
        return "error", {
            "message": f"the run was terminated in Temporal ({worded(cause.message, '')[0]})",
            "code": "terminated",
        }
    if isinstance(cause, WorkflowTimeout):
        message = "the run took longer than a run may take (INNKEEPER_RUN_TIMEOUT_S)"
        return "error", {"message": message, "code": "run_timeout"}
    if isinstance(cause, ApplicationError):
        message, code = worded(cause.message, cause.type or "internal_error")
        return "error", {"message": message, "code": code}
    return "error", {"message": "the run failed inside the engine", "code": "internal_error"}


async def _table(handle: WorkflowHandle[Any, Any]) -> dict[str, JsonObject]:
    nodes: dict[str, JsonObject] = {}
    try:
        while True:
            page = await handle.query("status", args=[len(nodes), STATUS_PAGE], rpc_timeout=QUERY_TIMEOUT)
            nodes.update(page["nodes"])
            if len(page["nodes"]) < STATUS_PAGE:
                return nodes
    except Exception:  # whatever the reason: then the log alone tells
        return nodes


def late_nodes(outcome: RunOutcome, view: RunView) -> list[str]:
    """Nodes that completed although the log does not know: their worker still holds the events, or died with them."""
    return [path for path, entry in outcome.nodes.items() if entry["status"] == "complete" and path not in view.ended]


def is_all_logged(outcome: RunOutcome, view: RunView) -> bool:
    """Has the log the end of every node? Then it takes nothing more that a worker may still hold: of a node that has
    ended it takes no event (see `fence`), and of others no worker holds any."""
    return outcome.is_whole and not any(missing_facts(outcome, view))


def missing_facts(outcome: RunOutcome, view: RunView) -> Iterator[tuple[str, str, JsonObject]]:
    """Terminal events `(path, type, payload)` that the log lacks."""
    for path, entry in outcome.nodes.items():
        if path not in view.ended:
            yield path, *fact_of(entry)
    for path, node in view.nodes.items():
        if path not in view.ended and path not in outcome.nodes and node.get("status") in UNFINISHED:
            yield path, "NODE_INTERRUPTED", {}


def fact_of(entry: Mapping[str, Any]) -> tuple[str, JsonObject]:
    """The terminal event, type and payload, of an ended node of the engine's table."""
    status = entry["status"]
    if status == "complete":
        given = {"output": entry.get("output") or {}, "attempt": entry.get("attempts", 1)}
        return "NODE_COMPLETE", {**given, **marks(entry)}
    if status == "error":
        return "NODE_ERROR", {"errorDetails": entry.get("error") or {}, "attempts": entry.get("attempts", 0)}
    if status == "skipped":
        return "NODE_SKIPPED", {"reason": entry.get("reason"), "causeNodeId": entry.get("cause")}
    if status == "bypassed":
        return "NODE_BYPASSED", {"pseudoOutputs": entry.get("output") or {}, **marks(entry)}
    return "NODE_INTERRUPTED", {}


def interface_outputs(interface: Mapping[str, Any], outcome: RunOutcome, view: RunView) -> JsonObject:
    """The values of the run's outputs, streams as `{text, chunks}` where the interface says stream, else as text."""
    found = {}
    for key, source in interface.items():
        if outcome.outputs is not None:
            present, value = key in outcome.outputs, outcome.outputs.get(key)
        else:
            output = without_links(view.nodes.get(source["node"], {}).get("output") or {})
            present, value = source["slot"] in output, output.get(source["slot"])
        if present:
            text_only = not source["stream"] and source["streamed"] and is_stream_value(value)
            found[key] = value["text"] if text_only and isinstance(value, Mapping) else value
    return found


def announced(
    interface: Mapping[str, Any], outputs: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]
) -> JsonObject:
    """The outputs as the event shows them: a stream was seen already, chunk by chunk, unless another run had it."""
    return {
        key: STREAM_PLACEHOLDER if _was_streamed(interface[key], value, nodes) else value
        for key, value in outputs.items()
    }


def _was_streamed(source: Mapping[str, Any], value: Any, nodes: Mapping[str, Mapping[str, Any]]) -> bool:
    return source["stream"] and is_stream_value(value) and not nodes.get(source["node"], {}).get("reused")


def merged_nodes(outcome: RunOutcome, view: RunView) -> tuple[dict[str, JsonObject], list[str]]:
    """The nodes of the result, and the paths where log and engine tell different stories (the engine's counts)."""
    nodes = {path: _clean(node) for path, node in view.nodes.items()}
    differs = []
    for path, entry in outcome.nodes.items():
        told = _told(entry)
        logged = nodes.get(path)
        if logged is None:
            nodes[path] = told
        elif entry["status"] not in UNFINISHED and _differ(logged, told):
            differs.append(path)
            nodes[path] = {**{key: logged[key] for key in ("startedAt", "endedAt") if key in logged}, **told}
    return nodes, differs


def _clean(node: Mapping[str, Any]) -> JsonObject:
    clean = {key: value for key, value in node.items() if value is not None and key not in ("progress", "wait")}
    return {**clean, "output": without_links(clean["output"])} if "output" in clean else clean


def _told(entry: Mapping[str, Any]) -> JsonObject:
    told = {key: value for key, value in entry.items() if key != "unlogged"}
    return {**told, "status": "skipped", "reason": "bypassed"} if entry["status"] == "bypassed" else told


def _differ(logged: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    if logged.get("status") != told["status"]:
        return True
    return bool((logged.get("output") or {}) != (told.get("output") or {}))


def error_info(outcome: RunOutcome, nodes: Mapping[str, JsonObject]) -> JsonObject | None:
    """What the final status says of an error: the run's own, else its failed nodes."""
    if outcome.status != "error":
        return outcome.error
    failed = [
        {"nodeId": path, "code": error.get("code"), "message": error.get("message")}
        for path, node in nodes.items()
        if node.get("status") == "error" and isinstance(error := node.get("error") or {}, Mapping)
    ]
    short = [{**node, "message": str(node["message"])[:MAX_LISTED_CHARS]} for node in failed[:MAX_FAILED_LISTED]]
    listed: JsonObject = {"nodes": short} if failed else {}
    if outcome.error is not None:
        return {**outcome.error, **listed}
    if not failed:
        return {"message": "the run failed", "code": "run_failed"}
    causes = _causes(failed, nodes)
    first = _sentence(causes[0]["nodeId"], str(causes[0]["message"]))
    message = first if len(causes) == 1 else f"{len(causes)} nodes failed; first: {first}"
    return {"message": message, "code": causes[0]["code"] or "node_failed", **listed}


def _sentence(path: str, message: str) -> str:
    """Some messages name their node themselves."""
    return message if message.startswith(f"node {path!r}") else f"node {path!r} failed: {message}"


def _causes(failed: list[JsonObject], nodes: Mapping[str, JsonObject]) -> list[JsonObject]:
    """The failed nodes that did not just hand on what failed inside them, or whose failure went no further."""
    paths = {node["nodeId"] for node in failed}
    blamed = {above for path in paths for above in _above(path) if above in paths}
    contained = {path for path in paths if any(above in nodes and above not in paths for above in _above(path))}
    return [node for node in failed if node["nodeId"] not in blamed | contained] or failed[:1]


def _above(path: str) -> Iterator[str]:
    """The paths of the groups a node is in, from the inside out."""
    while path := path.rpartition("/")[0]:
        yield path
