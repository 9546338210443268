"""From what a client sends to a plan that can run: the one way in for every run."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from innkeeper.gateway.errors import BadRequest
from innkeeper.gateway.library.documents import MAX_ID_CHARS
from innkeeper.gateway.library.lookup import Which, WorkflowLookup, WorkflowReader, run_reading
from innkeeper.gateway.runs.compile_cache import CompileCache, cache_key
from innkeeper.gateway.runs.documents import RunDocument
from innkeeper.gateway.runs.run_callbacks import (
    CallbackSource,
    RunCallback,
    SealedCallback,
    keep_secrets,
    seal_callback,
    submitted_callback,
)
from innkeeper.gateway.store.models import WorkflowRow
from innkeeper.gateway.usage.budgets import RunBudget, submitted_budget
from innkeeper.nodes.catalogue.live import LiveCatalogue
from innkeeper.nodes.catalogue.plugins import Catalogue
from innkeeper.nodes.errors import InvalidWorkflow, Problem, ResourceError
from innkeeper.nodes.hosts import same_host
from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.services.blobs import FolderBlobs, hashes_in
from innkeeper.nodes.services.secrets import SecretStore
from innkeeper.workflows.compiler.adapt import AdaptedWorkflows, adapt_slots
from innkeeper.workflows.compiler.compile import Compiled, compile_document
from innkeeper.workflows.compiler.literals import Literals, SecretUse
from innkeeper.workflows.compiler.new_inputs import with_new_inputs
from innkeeper.workflows.compiler.resolve import REFERENCE
from innkeeper.workflows.compiler.run_limit import waits_beyond
from innkeeper.workflows.compiler.seal import Sealed, seal_document
from innkeeper.workflows.document.budget import BUDGET
from innkeeper.workflows.document.callback import CALLBACK, Callback
from innkeeper.workflows.document.model import load_json, parse_document, with_inputs
from innkeeper.workflows.plan import RunPlan

JsonObject = dict[str, Any]
LARGE_BYTES = 256_000
"""What is larger is read and packed in a thread."""
DRY_RUN = "dryRun"
ENVELOPE = (
    "inputs", "wait", "requestId", "baseRun", "fromNode", "targets", "preview", "changed", "noCache", "callback",
    "budget", DRY_RUN,
)  # fmt: skip
"""Keys beside a document that are about the submission, not the graph."""


@dataclass(frozen=True)
class Source:
    """Which stored workflows a run takes.

    Attributes:
        project: Where ids are looked up first.
        version: Of the workflow that it runs, if that was named by its id.
        versions: Id to version of the workflows that its groups name.
    """

    project: str | None = None
    version: int | None = None
    versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Checked:
    """A compiled document with every warning, those of its reading included.

    Attributes:
        callback: That of the stored workflow.
        callbacks: All of the run, those of the submission first.
        budget: What the run may spend; None: as much as it takes.
        plan_hash: The blob of its plan; None: nothing is kept, for it was only checked.
        document: Gives what was submitted, without secrets: these are stored. None: it is that of an earlier run.
    """

    compiled: Compiled
    warnings: tuple[Problem, ...]
    source: Source = field(default_factory=Source)
    callback: Callback | None = None
    callbacks: tuple[SealedCallback, ...] = ()
    budget: RunBudget | None = None
    plan_hash: str | None = None
    document: Callable[[], Awaitable[RunDocument]] | None = None


class Admission:
    """Reads, compiles and admits documents.

    Args:
        run_timeout_s: Seconds that a run may take; None: as long as it likes.
    """

    def __init__(
        self,
        catalogue: LiveCatalogue,
        workflows: WorkflowLookup,
        blobs: FolderBlobs,
        secrets: SecretStore,
        *,
        run_timeout_s: float | None = None,
    ) -> None:
        self._run_timeout_s = run_timeout_s
        self._catalogue = catalogue
        self._workflows = workflows
        self._blobs = blobs
        self._secrets = secrets
        self._recent = CompileCache[Checked]()

    async def check(self, body: JsonObject, user: str) -> Checked:
        """Compile without keeping anything.

        Raises:
            InvalidWorkflow: With every problem.
            NotFound: `{workflowId}` names no stored workflow.
        """
        return await self._compiled(body, user, _name_of_secret)

    async def try_out(self, body: JsonObject, user: str) -> Checked:
        """Compile as `admit` does, and keep nothing: the plan is the same, so reruns find the same nodes again."""
        return await self._compiled(body, user, self._secret_ids(user))

    async def problems_of(
        self, document: JsonObject, user: str, project: str | None, beside: Mapping[str, bytes] | None = None
    ) -> Sequence[Problem]:
        """Every problem of a document that is to be stored (`library.DocumentChecker`)."""
        return await run_reading(self._problems, document, self._workflows.reader(user, project, beside=beside))

    async def sealed_and_checked(
        self, document: JsonObject, user: str, project: str | None, beside: Mapping[str, bytes] | None = None
    ) -> tuple[JsonObject, Sequence[Problem]]:
        """A document that is to be stored, with references for its secrets, and its problems
        (`library.DocumentChecker`).

        Raises:
            ResourceError: A secret is too long, or cannot be stored.
        """
        # Both look at the same workflows: what one has read the other need not read again.
        return await run_reading(self._seal_and_check, document, self._workflows.reader(user, project, beside=beside))

    def _seal_and_check(self, document: JsonObject, reader: WorkflowReader) -> tuple[JsonObject, Sequence[Problem]]:
        sealed = self._seal(document, reader).document
        return sealed, self._problems(sealed, reader)

    def _problems(self, document: JsonObject, reader: WorkflowReader) -> Sequence[Problem]:
        own = {key: value for key, value in document.items() if key not in ENVELOPE or key in (CALLBACK, BUDGET)}
        try:
            checked = self._compile(_with_optional_inputs(own), {}, reader, _name_of_secret)
        except InvalidWorkflow as error:
            return error.problems
        try:
            self._sealed_callbacks({"workflow": checked.callback}, reader.user)
        except InvalidWorkflow as error:
            return (*checked.warnings, *error.problems)
        return checked.warnings

    def _seal(self, document: JsonObject, reader: WorkflowReader) -> Sealed:
        """Blocking. What the document refers to is stored, or counts as young, before the document is: a collection
        that goes on meanwhile takes nothing away."""
        found = seal_document(
            document,
            self._catalogue.current,
            reader.load,
            secret_id=lambda value: self._secrets.ref_for(value, reader.user).id,
            owner=reader.user,
        )
        for secret in found.secrets:
            self._secrets.put(secret.value, secret.owner, secret.hosts)
        self._keep_known(found.references)
        return found

    async def admit(self, body: JsonObject, user: str) -> Checked:
        """Compile, and keep the plan with the secrets and large values that it only refers to."""
        return await self._keep(await self._compiled(body, user, self._secret_ids(user)))

    async def _compiled(self, body: JsonObject, user: str, secret_id: Callable[[str], str]) -> Checked:
        """Compile what was sent, or the stored workflow that it names."""
        asked, budget = submitted_callback(body), submitted_budget(body)
        checked = await self._compiled_graph(body, user, secret_id)
        return await self._with_callbacks(replace(checked, budget=budget or checked.budget), asked, user)

    async def _with_callbacks(self, checked: Checked, asked: Callback | None, user: str) -> Checked:
        found: dict[CallbackSource, Callback | None] = {"submission": asked, "workflow": checked.callback}
        if not any(found.values()):
            return checked
        sealed = await asyncio.to_thread(self._sealed_callbacks, found, user)
        return replace(checked, callbacks=sealed)

    def _sealed_callbacks(
        self, callbacks: Mapping[CallbackSource, Callback | None], user: str
    ) -> tuple[SealedCallback, ...]:
        """Blocking. Raises InvalidWorkflow: the secret of one cannot be used."""
        return tuple(
            seal_callback(callback, source, user, self._secrets)
            for source, callback in callbacks.items()
            if callback is not None
        )

    async def _compiled_graph(self, body: JsonObject, user: str, secret_id: Callable[[str], str]) -> Checked:
        project, inputs = _project_of(body), _inputs_of(body)
        if "nodes" not in body and isinstance(body.get("workflowId"), str):
            await self._workflows.refresh()
            row = await self._workflows.row(user, body["workflowId"], project)
            return await self._compile_stored(row, _version_of(body), inputs, secret_id)
        _check_own_version(body)
        raw = {key: value for key, value in body.items() if key not in ENVELOPE}
        if _names_workflows(raw):
            await self._workflows.refresh()
        reader = self._workflows.reader(user, project)
        return await run_reading(self._compile, raw, inputs, reader, secret_id)

    def _submitted(self, raw: JsonObject, reader: WorkflowReader) -> Callable[[], Awaitable[RunDocument]]:
        """Seals what was submitted when a run is about to keep it. Without secrets that is done once: each run has to
        store those that there are."""
        plain: RunDocument | None = None

        async def document() -> RunDocument:
            nonlocal plain
            if plain is not None:
                return plain
            sealed = await run_reading(self._seal, raw, reader)
            found = RunDocument(sealed.document, reader.documents)
            if not sealed.references:
                plain = found
            return found

        return document

    def _secret_ids(self, user: str) -> Callable[[str], str]:
        return lambda value: self._secrets.ref_for(value, user).id

    async def _compile_stored(
        self, row: WorkflowRow, which: Which, inputs: Mapping[str, Any], secret_id: Callable[[str], str]
    ) -> Checked:
        """Without a version the published one, else the newest that compiles."""
        if which is None and row.published is None and not row.valid:
            # It did not when it was saved; a group or a plugin that it lacked may have come.
            try:
                return await self._compile_stored(row, "latest", inputs, secret_id)
            except InvalidWorkflow:
                if (await self._workflows.version(row)).version.version == row.version:
                    raise
        stored = await self._workflows.version(row, which)
        reader = self._workflows.reader(row.user_id, row.project_id)
        document = await asyncio.to_thread(load_json, stored.data)
        checked = await run_reading(self._compile, document, inputs, reader, secret_id)

        async def sealed() -> RunDocument:
            return RunDocument(stored.document, reader.documents)  # its secrets were stored with it

        source = replace(checked.source, version=stored.version.version)
        return replace(checked, source=source, document=sealed)

    async def try_out_plan(
        self,
        plan: RunPlan,
        body: JsonObject,
        user: str,
        *,
        callbacks: Iterable[RunCallback] = (),
        budget: RunBudget | None = None,
    ) -> Checked:
        """The plan of an earlier run again, with other values for its interface inputs. Nothing is kept.

        Args:
            body: The submission.
            callbacks, budget: Those of the earlier run's workflow.
        """
        asked, own_budget = submitted_callback(body), submitted_budget(body)
        literals = Literals(self._secret_ids(user), user)
        plan, warnings = with_new_inputs(plan, _inputs_of(body), literals)
        if literals.problems:
            raise InvalidWorkflow([*warnings, *literals.problems])
        warnings = (*warnings, *self._check_waits(plan, warnings))
        await asyncio.to_thread(self._check_references, literals.references, user, warnings)
        compiled = Compiled(plan, tuple(literals.secrets.values()), literals.blobs, warnings, plan.encode())
        checked = Checked(compiled, warnings, budget=own_budget or budget)
        checked = await self._with_callbacks(checked, asked, user)
        return replace(checked, callbacks=(*checked.callbacks, *map(SealedCallback, callbacks)))

    async def admit_plan(
        self,
        plan: RunPlan,
        body: JsonObject,
        user: str,
        *,
        callbacks: Iterable[RunCallback] = (),
        budget: RunBudget | None = None,
    ) -> Checked:
        """As `try_out_plan`, and keep secrets and large values as `admit` does."""
        checked = await self.try_out_plan(plan, body, user, callbacks=callbacks, budget=budget)
        await asyncio.to_thread(self._keep_known, hashes_in(orjson.dumps(checked.compiled.plan.pack())))
        return await self._keep(checked)

    async def _keep(self, checked: Checked) -> Checked:
        return replace(checked, plan_hash=await asyncio.to_thread(self._keep_parts, checked))

    def _keep_parts(self, checked: Checked) -> str:
        """Blocking, in one turn of a thread. Gives the hash of the plan."""
        compiled = checked.compiled
        keep_secrets(checked.callbacks, self._secrets)
        for secret in compiled.secrets:
            self._secrets.put(secret.value, secret.owner, secret.hosts)
        self._keep_known(use.id for use in compiled.references)
        for data in compiled.blobs.values():
            self._blobs.put_sync(data)
        return self._blobs.put_sync(compiled.encoded)

    def _keep_known(self, secrets: Iterable[str]) -> None:
        """A new run refers to secrets that are stored already, maybe for a run that is deleted in this moment."""
        for secret in secrets:
            self._secrets.keep(secret)

    def _compile(
        self, raw: JsonObject, inputs: Mapping[str, Any], reader: WorkflowReader, secret_id: Callable[[str], str]
    ) -> Checked:
        """Blocking: thousands of nodes take a while, and other clients must not wait for them."""
        # One catalogue for all of it: another one may come at any moment.
        catalogue = self._catalogue.current
        key = cache_key(raw, inputs, reader.user)
        checked = None if key is None else self._recent.get(catalogue, key)
        if checked is None:
            checked = _compile_anew(raw, inputs, reader, catalogue=catalogue, secret_id=secret_id)
            checked = replace(checked, document=self._submitted(raw, reader))
            if key is not None and _is_pure(checked) and not reader.was_asked:
                self._recent.put(catalogue, key, checked, len(checked.compiled.plan.nodes))
        self._check_references(checked.compiled.references, reader.user, checked.warnings)
        warnings = (*checked.warnings, *self._check_waits(checked.compiled.plan, checked.warnings))
        return replace(checked, warnings=warnings, source=Source(reader.project, None, reader.versions))

    def _check_waits(self, plan: RunPlan, warnings: Iterable[Problem]) -> list[Problem]:
        """Warnings for waits that go on when a run must have ended.

        Raises:
            InvalidWorkflow: One of them cannot end before.
        """
        if self._run_timeout_s is None:
            return []
        found = waits_beyond(plan, self._run_timeout_s, time.time())
        if any(problem.level == "error" for problem in found):
            raise InvalidWorkflow([*warnings, *found])
        return found

    def _check_references(self, references: Iterable[SecretUse], user: str, warnings: Iterable[Problem]) -> None:
        """Blocking. A reference in a document counts only for the secret's owner and its hosts.

        Raises:
            InvalidWorkflow: With every one that does not.
        """
        problems = [problem for use in references if (problem := self._reference_problem(use, user)) is not None]
        if problems:
            raise InvalidWorkflow([*warnings, *problems])

    def _reference_problem(self, use: SecretUse, user: str) -> Problem | None:
        place = use.place
        where = f"node {place.node!r}: {place.slot!r}" if place.node else f"the workflow's input {place.slot!r}"
        if use.id.startswith("env:"):
            # The operator says where it may go, and whoever spends it asks for that.
            return None
        try:
            record = self._secrets.load(SecretRef(use.id))
        except ResourceError:
            record = None
        if record is None or record.owner != user:
            # The same words for both: nobody learns what others have.
            message = f"{where} refers to a stored secret that is not known; type the key itself in its place"
            return Problem("unknown_secret", message, node=place.node, slot=place.slot)
        if place.host and record.hosts and not any(same_host(place.host, host) for host in record.hosts):
            message = (
                f"{where} refers to a stored secret that is not for {place.host}, the host of the address beside it; "
                "type the key itself if it is meant to go there"
            )
            return Problem("secret_refused", message, node=place.node, slot=place.slot)
        return None


def _compile_anew(
    raw: JsonObject,
    inputs: Mapping[str, Any],
    reader: WorkflowReader,
    *,
    catalogue: Catalogue,
    secret_id: Callable[[str], str],
) -> Checked:
    load = AdaptedWorkflows(catalogue, reader.load)
    document, odd = adapt_slots(parse_document(raw), catalogue, load)
    document, unknown = with_inputs(document, inputs)
    compiled = compile_document(document, catalogue, load, secret_id=secret_id, owner=reader.user)
    budget = None if document.budget is None else RunBudget(document.budget, "workflow")
    return Checked(compiled, (*odd, *unknown, *compiled.warnings), callback=document.callback, budget=budget)


def _is_pure(checked: Checked) -> bool:
    """Does nothing in it hang on secrets? What is large is not kept either."""
    compiled = checked.compiled
    return not (compiled.secrets or compiled.references or compiled.blobs or checked.callback)


def _name_of_secret(value: str) -> str:
    """As long as a stored one's, and of nothing that is stored."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def _with_optional_inputs(raw: JsonObject) -> JsonObject:
    """A stored workflow that asks for inputs is sound: whoever runs it gives them."""
    slots = raw.get("interfaceInputs")
    if not isinstance(slots, dict):
        return raw
    asked = {key for key, slot in slots.items() if isinstance(slot, dict) and slot.get("required") is True}
    return {
        **raw,
        "interfaceInputs": {key: {**slot, "required": False} if key in asked else slot for key, slot in slots.items()},
    }


def _names_workflows(document: Mapping[str, Any]) -> bool:
    """Does a node name a workflow that it runs? Asked of what nobody has checked yet."""
    nodes = document.get("nodes")
    settings = [node.get("configValues") for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []
    return any(isinstance(found, dict) and REFERENCE in found for found in settings)


def _project_of(body: JsonObject) -> str | None:
    """The project whose workflows a submission means: `projectId`, which editors put into `metadata`.

    Raises:
        BadRequest: Its own `projectId` is no text.
    """
    project = body.get("projectId")
    if project is not None and (not isinstance(project, str) or not 0 < len(project) <= MAX_ID_CHARS):
        raise BadRequest(f"'projectId' is a text of 1 to {MAX_ID_CHARS} characters, or left out")
    metadata = body.get("metadata")
    named = metadata.get("projectId") if project is None and isinstance(metadata, Mapping) else project
    return named if isinstance(named, str) and 0 < len(named) <= MAX_ID_CHARS else None


def _version_of(body: JsonObject) -> Which:
    """Which version of a stored workflow is meant. Raises BadRequest: none that there can be."""
    version = body.get("version")
    if version == "published":
        return "published"
    if version == "latest":
        return "latest"
    if version is None or (type(version) is int and 0 < version < 2**31):
        return version
    raise BadRequest("'version' of a stored workflow is a number from 1, 'published' or 'latest'")


def _check_own_version(body: JsonObject) -> None:
    """The version of a document is its editor's word for it, which may be any."""
    if not isinstance(body.get("version"), str | int | float | None):
        raise BadRequest("'version' of a document is a text or a number")


def _inputs_of(body: JsonObject) -> Mapping[str, Any]:
    inputs = body.get("inputs")
    if inputs is not None and not isinstance(inputs, Mapping):
        raise BadRequest("'inputs' must be an object of interface input to value")
    return inputs or {}


WORKFLOW = "a workflow, a payload, or {workflowId, inputs}"


async def read_body(data: bytes, what: str = WORKFLOW) -> JsonObject:
    """The JSON object a client sent.

    Args:
        what: What it should be, for the message; without it, a workflow.

    Raises:
        InvalidWorkflow: Not JSON (with the position), or over the limits; of a workflow.
        BadRequest: The same of anything else. Or it is no object.
    """
    try:
        # Reading holds the event loop, and with it everybody else.
        body = await asyncio.to_thread(load_json, data) if len(data) > LARGE_BYTES else load_json(data)
    except InvalidWorkflow as error:
        if what == WORKFLOW:
            raise
        (problem,) = error.problems
        raise BadRequest(problem.message, code=problem.code) from None
    if not isinstance(body, dict):
        raise BadRequest(f"the body must be a JSON object: {what}")
    return body


def body_hash(body: Mapping[str, Any]) -> str:
    """Equal for bodies that ask for the same run, however their JSON is written."""
    asked = {key: value for key, value in body.items() if key not in ("wait", "requestId")}
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


def key_hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def interface_of(checked: Checked) -> JsonObject:
    """What the gateway keeps of a plan to log and close its run (`RunRow.interface`)."""
    plan = checked.compiled.plan
    outputs = {
        key: {
            "node": source.node,
            "producer": source.producer,
            "slot": source.slot,
            "stream": source.stream,
            "streamed": (found := plan.by_id[source.node].outputs.get(source.slot)) is not None and found.stream,
            "displayName": source.display_name,
        }
        for key, source in plan.interface_outputs.items()
    }
    return {"outputs": outputs, "keptStreams": list(plan.kept_streams)}


def log_meta(interface: Mapping[str, Any]) -> JsonObject:
    """What the event log must know of a run: whose chunks are also chunks of an output, and whose nobody may drop."""
    streams: dict[str, list[list[str | None]]] = {}
    for key, source in interface.get("outputs", {}).items():
        if source["stream"]:
            streams.setdefault(source.get("producer", source["node"]), []).append([key, source["displayName"]])
    return {"interface_streams": streams, "kept_streams": interface.get("keptStreams", [])}
