"""Runs that take over what an earlier run has finished: read the request, look at the base, record what is taken."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from innkeeper.gateway.errors import BadRequest, shown
from innkeeper.gateway.events.links import without_links
from innkeeper.gateway.runs.admission import Admission, Checked, Source
from innkeeper.gateway.runs.documents import RunDocuments
from innkeeper.gateway.runs.live_preview import is_live_preview, with_plain_inputs
from innkeeper.gateway.runs.outcome import fact_of
from innkeeper.gateway.runs.run_callbacks import RunCallback, callbacks_of
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.view import JsonObject
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import RunStore, json_of, stored_result
from innkeeper.gateway.usage.budgets import RunBudget, kept_budget
from innkeeper.nodes.catalogue.live import LiveCatalogue
from innkeeper.nodes.errors import InvalidWorkflow, Problem, ResourceError, RunError, RunNotFound
from innkeeper.nodes.services.blobs import FolderBlobs, hashes_in
from innkeeper.nodes.services.results import blobs_in
from innkeeper.workflows.compiler.rerun import Base, NodeDisposition, RerunRequest, ReusePlan, plan_reuse
from innkeeper.workflows.engine.state import RunState
from innkeeper.workflows.plan import NodeId, PlannedNode, RunPlan

MAX_LISTED = 1_000
"""Node ids of one kind in an answer."""
MAX_ID_CHARS = 64
FACTS_AT_ONCE = 500

Fact = tuple[str, str, JsonObject]


class BaseUnusable(RunError):
    """The run that another one wants to start from cannot be one."""

    code = "base_unusable"


@dataclass(frozen=True)
class Asked:
    """What a submission asks beside its graph and inputs."""

    base: str | None = None
    request: RerunRequest = field(default_factory=RerunRequest)
    no_cache: bool = False

    @property
    def is_plain(self) -> bool:
        return self == Asked()


@dataclass(frozen=True)
class Admitted:
    """A run that may start. `document` is the blob of what it runs. `rerun` is what the store keeps of where it comes
    from; None for a plain run.

    Its keys: `baseRun`, `reused`, `stale`, `leftOut`, `runs` (node ids, at most 1,000 each), `counts` of them, `seeds`
    (references of the node table it begins with), `preview`, `noCache`; those that say nothing are absent.
    """

    checked: Checked
    rerun: JsonObject | None = None
    document: str | None = None


@dataclass(frozen=True)
class _Decided:
    """What a submission would run. `row` is the base, if there is one, `entries` what is known of its nodes."""

    checked: Checked
    taken: ReusePlan
    row: RunRow | None
    entries: Mapping[str, JsonObject]


class Reruns:
    """Makes runs out of runs."""

    def __init__(
        self, store: RunStore, run_log: RunLog, admission: Admission, *, catalogue: LiveCatalogue, blobs: FolderBlobs
    ) -> None:
        self._store = store
        self._run_log = run_log
        self._admission = admission
        self._catalogue = catalogue
        self._blobs = blobs
        self._documents = RunDocuments(blobs)

    async def admit(self, body: JsonObject, user: str) -> Admitted:
        """Compile what was sent, or take the base's own plan, and decide what the new run does itself.

        Raises:
            InvalidWorkflow: Problems of the graph, or unknown nodes in the request.
            BadRequest: Keys that are not understood together.
            RunNotFound: There is no run `baseRun`.
            BaseUnusable: It cannot be taken as a base.
        """
        asked, body = _read(body)
        if asked.is_plain:
            checked = await self._admission.admit(body, user)
            return Admitted(checked, document=await self._document(checked, None))
        decided = await self._decided(asked, body, user, keeps=True)
        document = await self._document(decided.checked, decided.row)
        seeds = await self._store_seeds(decided.taken, decided.entries)
        return Admitted(decided.checked, _written(asked, decided.taken, seeds), document)

    async def try_out(self, body: JsonObject, user: str) -> JsonObject:
        """What a submission would run and take over: `warnings`, and the lists of `answer_of`. Nothing is kept.

        Raises: As `admit`.
        """
        asked, body = _read(body)
        decided = await self._decided(asked, body, user, keeps=False)
        warnings = [problem.to_json() for problem in decided.checked.warnings]
        return {"warnings": warnings, "stale": [], **_told(_written(asked, decided.taken, []))}

    async def _document(self, checked: Checked, base: RunRow | None) -> str | None:
        if checked.document is not None:
            return await self._documents.keep(await checked.document())
        return await self._documents.keep_again(base.document if base is not None else None)

    async def _decided(self, asked: Asked, body: JsonObject, user: str, *, keeps: bool) -> _Decided:
        row = await self._row(asked.base, user) if asked.base else None
        before = await self._plan(row) if row else None
        if before is None or "nodes" in body or isinstance(body.get("workflowId"), str):
            checked = await (self._admission.admit if keeps else self._admission.try_out)(body, user)
        else:
            of_plan = self._admission.admit_plan if keeps else self._admission.try_out_plan
            checked = await of_plan(
                before, body, user, callbacks=_callbacks_of_workflow(row), budget=_budget_of_workflow(row)
            )
            checked = replace(checked, source=_source_of(row)) if row else checked
        plan = checked.compiled.plan
        entries = await self._entries(row, before) if row and before else {}
        base = Base(before, entries) if before else None
        request = asked.request
        if request.preview:
            checked = _with_asked_callbacks_only(checked)
        if request.preview and base is None:
            request = replace(request, from_nodes=tuple(plan.by_id))  # there is nothing to be changed: show all of it
        taken = await asyncio.to_thread(plan_reuse, plan, base, request, self._is_unsafe(plan))
        # A document was held against the catalogue when it was compiled.
        if not asked.is_plain and (
            problems := missing_types(plan, taken.of(NodeDisposition.RUNS), self._catalogue.absence)
        ):
            raise InvalidWorkflow(problems)
        return _Decided(checked, taken, row, entries)

    async def keep_plan(self, encoded: bytes) -> str:
        """Keep a run's plan, so that it can be a base. Gives its hash."""
        return await self._blobs.put(encoded)

    # --- the base -------------------------------------------------------------------------------------------------

    async def _row(self, run: str, user: str) -> RunRow:
        row = await self._store.get(run)
        if row is None or row.user_id != user:
            raise RunNotFound(f"there is no run {shown(run)} to start from: 'innkeeper runs' lists them")
        return row

    async def _plan(self, row: RunRow) -> RunPlan:
        if row.plan_hash is None:
            raise BaseUnusable(
                f"run {row.id!r} was refused, is from a version that did not keep what it ran, or was restored after "
                "damage: nothing can be taken over; run the workflow anew"
            )
        try:
            plan = RunPlan.decode(await self._blobs.get(row.plan_hash))
            # The values that it was given are those of the new run, too, even if this one is deleted meanwhile.
            await asyncio.to_thread(lambda: [self._blobs.keep(sha) for sha in hashes_in(orjson.dumps(plan.pack()))])
            return plan
        except ResourceError as error:
            raise BaseUnusable(f"what run {row.id!r} ran is not kept any more ({error.message}); run it anew") from None

    async def _entries(self, row: RunRow, plan: RunPlan) -> dict[str, JsonObject]:
        """What is known of the base's nodes: its result, or, while it runs, its log so far. Entries whose values have
        gone come without output."""
        result = await stored_result(row)
        if result is None:
            nodes: Mapping[str, JsonObject] = (await self._run_log.view(row.id)).nodes
        else:
            nodes = result["nodeStatus"]
            if _wants_lists(plan):
                nodes = _with_lists(nodes, (await self._run_log.view(row.id)).nodes)
        return await asyncio.to_thread(lambda: {path: self._entry(entry) for path, entry in nodes.items()})

    def _entry(self, shown: JsonObject) -> JsonObject:
        entry = dict(shown)
        if entry.get("status") == "skipped" and entry.pop("reason", None) == "bypassed":
            entry["status"] = "bypassed"
        elif "reason" in shown:
            entry["reason"] = shown["reason"]
        if "output" in entry:
            output = without_links(entry.pop("output") or {})
            if all(self._blobs.keep(sha) for sha in blobs_in(output)):
                entry["output"] = output
        elif entry.get("status") in ("complete", "bypassed"):
            entry["output"] = {}  # results leave out what is empty
        return entry

    # --- previews -------------------------------------------------------------------------------------------------

    def _is_unsafe(self, plan: RunPlan) -> Callable[[PlannedNode], bool]:
        """Does a node, or one of the graph it runs, do something outside?"""
        groups: dict[str, bool] = {}

        def type_is(kind: str) -> bool:
            definition = self._catalogue.get_node(kind)
            return definition is None or definition.runs_not_in_preview

        def group_is(group: str) -> bool:
            if group not in groups:
                inner = plan.groups[group].get("nodes", ())
                groups[group] = False  # a group never holds itself
                groups[group] = any(
                    node.get("bypass") is None
                    and (type_is(node["type"]) or bool(node.get("group") and group_is(node["group"])))
                    for node in inner
                )
            return groups[group]

        return lambda node: type_is(node.type) or bool(node.group and group_is(node.group))

    # --- what the run begins with ---------------------------------------------------------------------------------

    async def _store_seeds(self, taken: ReusePlan, entries: Mapping[str, JsonObject]) -> list[JsonObject]:
        """Store the node table that the run begins with; gives references."""
        below = _below(entries, set(taken.origins.values()))
        table: dict[NodeId, dict[str, Any]] = {}
        for node, seed in taken.seeds.items():
            inner = below.get(taken.origins.get(node, NodeId("")), {})
            table[node] = {**seed, "below": [await self._store_below(node, inner)]} if inner else dict(seed)
        return [await self._put(piece) for piece in RunState(table).pieces()]

    async def _store_below(self, node: str, inner: Mapping[str, JsonObject]) -> JsonObject:
        rows = {f"{node}/{path}": _inner_row(entry) for path, entry in inner.items()}
        counts = Counter(str(row["status"]) for row in rows.values())
        return {"nodes": None, "refs": [await self._put(rows)], "counts": dict(counts)}

    async def _put(self, value: Any) -> JsonObject:
        data = orjson.dumps(value)
        return {"$blob": await self._blobs.put(data), "size": len(data), "mime": "application/json", "preview": ""}

    async def announce(self, row: RunRow) -> None:
        """Tell the log what the run has not to do any more. It drops what it was told already."""
        for ref in seeds_of(row):
            table: dict[str, JsonObject] = orjson.loads(await self._blobs.get(ref["$blob"]))
            facts = [fact async for fact in self._facts(table)]
            for start in range(0, len(facts), FACTS_AT_ONCE):
                await self._run_log.complete_missing(row.id, facts[start : start + FACTS_AT_ONCE], None)

    async def _facts(self, table: Mapping[str, JsonObject]) -> AsyncIterator[Fact]:
        for node, entry in table.items():
            for below in entry.get("below", ()):
                for ref in below["refs"]:
                    rows: dict[str, JsonObject] = orjson.loads(await self._blobs.get(ref["$blob"]))
                    for path, row in rows.items():
                        yield path, *fact_of(row)
            yield node, *fact_of(entry)


def missing_types(plan: RunPlan, runs: Iterable[str], absence: Callable[[str], str | None]) -> list[Problem]:
    """A problem for each node of a plan that is to run, itself or as a group, what is disabled or could not be loaded.

    Documents are held against the catalogue when they are compiled; an earlier run's plan is not.
    """
    groups: dict[str, str | None] = {}

    def of_group(name: str) -> str | None:
        if name not in groups:
            groups[name] = None  # a group never holds itself
            nodes = [node for node in plan.groups[name].get("nodes", ()) if node.get("bypass") is None]
            found = (reason_of(node["type"], node.get("group")) for node in nodes)
            groups[name] = next(filter(None, found), None)
        return groups[name]

    def reason_of(kind: str, group: str | None) -> str | None:
        reason = absence(kind)
        missing = f"the type {kind!r}, which is not there: {reason}" if reason is not None else None
        return missing or (of_group(group) if group else None)

    reasons = {node: reason_of(plan.by_id[NodeId(node)].type, plan.by_id[NodeId(node)].group) for node in runs}
    return [
        Problem("unknown_node_type", f"node {node!r} runs {reason}", node=node)
        for node, reason in reasons.items()
        if reason is not None
    ]


# --- reading the request ------------------------------------------------------------------------------------------


def _source_of(row: RunRow) -> Source:
    """What the base ran is what a run of its plan runs."""
    return Source(row.project_id, row.workflow_version, json_of(row.versions))


def _read(body: JsonObject) -> tuple[Asked, JsonObject]:
    """What a submission asks, and the submission as it is compiled. Raises as `read_request`."""
    return read_request(body), with_plain_inputs(body) if is_live_preview(body) else body


def read_request(body: Mapping[str, Any]) -> Asked:
    """The keys of a submission that are about what it takes over.

    Raises:
        BadRequest: One has the wrong type, or they do not go together.
    """
    base = body.get("baseRun")
    if base is not None and not (isinstance(base, str) and 0 < len(base) <= MAX_ID_CHARS):
        raise BadRequest("'baseRun' must be the id of a run")
    preview, no_cache = _flag(body, "preview"), _flag(body, "noCache")
    is_live = is_live_preview(body) and not base and not preview
    changed, start, targets = (_names(body, key) for key in ("changed", "fromNode", "targets"))
    if preview and not (base and changed):
        raise BadRequest("a preview needs 'baseRun', and in 'changed' the node that was changed")
    if preview and (start or targets):
        raise BadRequest("a preview runs what 'changed' affects: leave 'fromNode' and 'targets' away")
    if changed and not preview:
        raise BadRequest("'changed' is for previews: add \"preview\": true, or use 'fromNode'")
    if start and not base:
        raise BadRequest("'fromNode' needs 'baseRun': without a run to start from, everything runs anyway")
    return Asked(base, RerunRequest(changed or start, targets, preview or is_live), no_cache)


def _callbacks_of_workflow(row: RunRow | None) -> list[RunCallback]:
    return [] if row is None else [found for found in callbacks_of(row) if found.source == "workflow"]


def _budget_of_workflow(row: RunRow | None) -> RunBudget | None:
    budget = None if row is None else kept_budget(json_of(row.budget))
    return budget if budget is not None and budget.scope == "workflow" else None


def _with_asked_callbacks_only(checked: Checked) -> Checked:
    """A preview does nothing outside but what its submission asks for."""
    asked = tuple(sealed for sealed in checked.callbacks if sealed.callback.source == "submission")
    return replace(checked, callbacks=asked)


def _flag(body: Mapping[str, Any], key: str) -> bool:
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"{key!r} must be true or false")
    return bool(value)


def _names(body: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A node id, or a list of them."""
    value = body.get(key)
    names = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BadRequest(f"{key!r} must be the id of a node, or a list of such ids")
    return tuple(names)


# --- what is kept of it ---------------------------------------------------------------------------------------------


def _written(asked: Asked, taken: ReusePlan, seeds: list[JsonObject]) -> JsonObject:
    lists = {
        "reused": taken.of(NodeDisposition.REUSED),
        "stale": taken.of(NodeDisposition.STALE),
        "leftOut": taken.of(NodeDisposition.LEFT_OUT),
        "runs": taken.of(NodeDisposition.RUNS),
    }
    shown = {key: nodes[:MAX_LISTED] for key, nodes in lists.items() if nodes or key in ("reused", "runs")}
    facts = {"baseRun": asked.base, "preview": asked.request.preview, "noCache": asked.no_cache, "seeds": seeds}
    counts = {key: len(nodes) for key, nodes in lists.items() if nodes}
    return {**shown, "counts": counts, **{key: value for key, value in facts.items() if value}}


def answer_of(row: RunRow) -> JsonObject:
    """What a submission is told of what is taken over."""
    return _told(_rerun(row))


def _told(rerun: JsonObject) -> JsonObject:
    return {key: rerun[key] for key in ("baseRun", "reused", "stale", "leftOut", "runs", "counts") if key in rerun}


def seeds_of(row: RunRow) -> Sequence[JsonObject]:
    seeds: list[JsonObject] = _rerun(row).get("seeds", [])
    return seeds


def is_uncached(row: RunRow) -> bool:
    return bool(_rerun(row).get("noCache"))


def _rerun(row: RunRow) -> JsonObject:
    return json_of(row.rerun)


# --- the base's table -----------------------------------------------------------------------------------------------


def _wants_lists(plan: RunPlan) -> bool:
    return any(node.collect_chunks or node.lists for node in plan.nodes)


def _with_lists(nodes: Mapping[str, JsonObject], logged: Mapping[str, JsonObject]) -> dict[str, JsonObject]:
    """A result's nodes with the chunk lists of their streams, which results leave out, as long as the log has them."""
    found = {}
    for path, entry in nodes.items():
        more = (logged.get(path) or {}).get("output") or {}
        lists = {
            slot: {**value, "items": more[slot]["items"]}
            for slot, value in (entry.get("output") or {}).items()
            if isinstance(value, Mapping) and "chunks" in value and _has_items(more.get(slot), value["chunks"])
        }
        found[path] = {**entry, "output": {**entry["output"], **lists}} if lists else entry
    return found


def _has_items(value: Any, chunks: Any) -> bool:
    return isinstance(value, Mapping) and "items" in value and value.get("chunks") == chunks


def _below(entries: Mapping[str, JsonObject], nodes: set[NodeId]) -> dict[NodeId, dict[str, JsonObject]]:
    """What ran below these nodes: node to paths below it."""
    found: dict[NodeId, dict[str, JsonObject]] = {}
    for path, entry in entries.items():
        top, slash, rest = path.partition("/")
        if slash and top in nodes:
            found.setdefault(NodeId(top), {})[rest] = entry
    return found


def _inner_row(entry: JsonObject) -> JsonObject:
    kept = {key: value for key, value in entry.items() if key not in ("startedAt", "endedAt", "progress")}
    return {**kept, "reused": True} if entry.get("status") in ("complete", "bypassed") else kept
