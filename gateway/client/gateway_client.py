"""The client itself: submit, watch, ask, steer."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from innkeeper.gateway.client.approvals import Approvals
from innkeeper.gateway.client.channels import Channels
from innkeeper.gateway.client.event_stream import ENDED, Events
from innkeeper.gateway.client.files import Files
from innkeeper.gateway.client.library import Projects, Version, Workflows, run_of_stored
from innkeeper.gateway.client.transport import Transport, path_segment, warnings_of
from innkeeper.gateway.client.triggers import Triggers
from innkeeper.nodes.errors import Problem, RunNotFound

_COLLECTION_S = 3600.0


class GatewayClient:
    """Use it as `async with GatewayClient("http://127.0.0.1:8090") as client`. Methods may run side by side.

    Args:
        url: The gateway's address, `http://` or `https://`.
        token: Access token, when the gateway asks for one.
        patience_s: How long the gateway may be away before a call gives up with GatewayAway.

    Attributes:
        files: Upload, download, list and delete files of workflows.
        approvals: List and answer what runs wait for.
        workflows: The workflow library: list, read, save, publish, compare, delete.
        projects: List and make projects.
        triggers: What starts runs by itself: list, make, change, test.
        channels: Where language models are: list, make, change, delete.

    Raises:
        InvalidAddress: The address or the token cannot be used.
    """

    def __init__(self, url: str, token: str | None = None, *, patience_s: float = 30.0) -> None:
        self._transport = Transport(url, token, patience_s)
        self.files = Files(self._transport)
        self.approvals = Approvals(self._transport)
        self.workflows = Workflows(self._transport)
        self.projects = Projects(self._transport)
        self.triggers = Triggers(self._transport)
        self.channels = Channels(self._transport)

    @property
    def url(self) -> str:
        return self._transport.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.aclose()

    async def submit(
        self,
        document: Mapping[str, Any] | None = None,
        *,
        workflow_id: str | None = None,
        version: Version | None = None,
        project: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Start a run and give its id. A submit that is repeated after an outage starts one run only.

        Args:
            document: A workflow, an execution payload, or `{"workflowId": ..., "inputs": {...}}`.
            workflow_id: Instead of a document, a stored workflow: of `project` or of `default`, in `version` or,
                without one, in the published version, else the newest that compiles. `inputs`: values for its inputs.
            idempotency_key: With a key of your own, also a later call with the same document gives the same run.

        Raises:
            InvalidWorkflow: With every problem of the document.
            GatewayAway, GatewayRefused.
            TypeError: Not one of `document` and `workflow_id`, or options of a stored workflow for a document.
        """
        if (document is None) == (workflow_id is None) or (document is not None and (version or project or inputs)):
            raise TypeError("submit takes a document, or workflow_id with version, project and inputs")
        if workflow_id is not None:
            document = run_of_stored(workflow_id, version=version, project=project, inputs=inputs)
        run_id, _ = await self.submit_with_warnings(document or {}, idempotency_key=idempotency_key)
        return run_id

    async def submit_with_warnings(
        self, document: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> tuple[str, list[Problem]]:
        """Like `submit`, with what the compiler found odd in a document that can run."""
        answer = await self.submit_for_answer(document, idempotency_key=idempotency_key)
        return str(answer["promptId"]), warnings_of(answer)

    async def submit_for_answer(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> dict[str, Any]:
        """Like `submit`, with all that the gateway answers: of a run with `baseRun` also what it takes over."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex, "Content-Type": "application/json"}
        answer: dict[str, Any] = await self._transport.call(
            "POST", "/api/prompt", headers=headers, content=json.dumps(body).encode()
        )
        return answer

    async def status(self, run_id: str) -> dict[str, Any]:
        """Status, outputs and nodes of a run, running or ended. Raises RunNotFound."""
        found: dict[str, Any] = await self._transport.call("GET", f"/api/prompt/{path_segment(run_id)}")
        return found

    async def cancel(self, run_id: str, *, force: bool = False) -> dict[str, Any]:
        """Interrupt a run; by force without waiting for its nodes, its worker or Temporal; gives `{"message", ...}`.

        Raises:
            RunNotFound, RunNotActive (it has ended already).
        """
        params = {"force": "true"} if force else None
        path = f"/api/interrupt/{path_segment(run_id)}"
        answer: dict[str, Any] = await self._transport.call("DELETE", path, params=params)
        return answer

    async def delete_run(self, run_id: str) -> None:
        """Delete a run that has ended: its result, its events, and in time the values that no other run has.

        Raises:
            RunNotFound: Also when this call was repeated after an outage, and had deleted it.
            GatewayRefused: It has not ended (`run_still_active`).
        """
        await self._transport.call("DELETE", f"/api/history/{path_segment(run_id)}")

    async def collect(self, *, dry_run: bool = False) -> dict[str, Any]:
        """Delete stored values that nothing refers to any more, or only count them; gives `deleted`, `deletedBytes`,
        `kept`, `keptBytes`, ..."""
        found: dict[str, Any] = await self._transport.call(
            "POST", "/api/gc", params={"dryRun": "true" if dry_run else "false"}, timeout=_COLLECTION_S
        )
        return found

    async def pause(self, run_id: str) -> dict[str, Any]:
        """Start no new node of a run; what runs goes on. Raises RunNotFound, RunNotActive (it has ended)."""
        answer: dict[str, Any] = await self._transport.call("POST", f"/api/prompt/{path_segment(run_id)}/pause")
        return answer

    async def resume(self, run_id: str) -> dict[str, Any]:
        """Let a paused run go on. Raises RunNotFound, RunNotActive (it has ended)."""
        answer: dict[str, Any] = await self._transport.call("POST", f"/api/prompt/{path_segment(run_id)}/resume")
        return answer

    async def post_event(
        self,
        name: str,
        data: Any = None,
        *,
        run_id: str | None = None,
        id: str | None = None,
        source: str | None = None,
    ) -> dict[str, Any]:
        """Tell a run, or triggers and every run that waits for it, that something happened; gives what that did.

        After an outage in the middle of the call an event for one run may have been told twice.

        Args:
            id: Of an event for all: posted again with it (and the same source), it does nothing again.
            source: Where it happened; for all.

        Raises:
            RunNotFound, RunNotActive, GatewayRefused.
        """
        event = {"name": name, "data": data}
        if run_id is None:
            # The call may be repeated after an outage; without an id that would be another event.
            path, event = "/api/events", {**event, "id": id or uuid.uuid4().hex, "source": source}
        else:
            path = f"/api/prompt/{path_segment(run_id)}/events"
        answer: dict[str, Any] = await self._transport.call("POST", path, json=event)
        return answer

    async def wait(self, run_id: str) -> dict[str, Any]:
        """Wait until a run has ended and give its status. Raises RunNotFound."""
        found = await self.status(run_id)
        if found.get("status") in ENDED:  # also of runs whose events are gone
            return found
        try:
            async for _ in self.events(run_id):
                pass
        except RunNotFound:
            # A delivery of a trigger was promised this run, and could not start it: it ended without events.
            found = await self.status(run_id)
            if found.get("status") not in ENDED:
                raise
            return found
        return await self.status(run_id)

    async def fetch(self, value: Any) -> Any:
        """The whole of an output that is stored apart (`{"$blob", ..., "url"}`); any other value as it is.

        Bytes of an image and the like come as `bytes`.
        """
        # A model may have written what looks like a reference: our token goes to nobody else's address.
        if isinstance(value, Mapping) and "$blob" in value and str(value.get("url")).startswith("/api/prompt/"):
            return await self._transport.call("GET", value["url"])
        return value

    async def active(self) -> list[dict[str, Any]]:
        """The runs that run or wait now."""
        found = await self._transport.call("GET", "/api/executions")
        return [*found["running"], *found["pending"]]

    async def whole_history(self) -> list[dict[str, Any]]:
        """All runs that have ended and are kept, newest first."""
        found: list[dict[str, Any]] = []
        params: dict[str, Any] = {"limit": 500}
        while True:
            page = await self._transport.call("GET", "/api/history", params=params)
            found += page["history"]
            if page.get("nextCursor") is None:
                return found
            params["cursor"] = page["nextCursor"]

    async def state(self) -> dict[str, Any]:
        """Is it ready, and how many runs are there? With `ready`, `checks` and `workers` of `/readyz`."""
        ready = await self._transport.http.get("/readyz")
        counts = await self._transport.call("GET", "/api/system_stats")
        told = ready.json() if ready.status_code in (200, 503) else {}
        return {**told, **counts}

    async def history(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest runs that have ended."""
        found = await self._transport.call("GET", "/api/history", params={"limit": limit})
        return list(found["history"])

    async def usage(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What requests to models took and cost: `GET /api/usage` with these parameters. Raises GatewayAway."""
        found: dict[str, Any] = await self._transport.call("GET", "/api/usage", params=dict(params))
        return found

    async def node_types(self) -> list[dict[str, Any]]:
        """The node types that workflows can use at this gateway, plugins included. Raises GatewayAway."""
        found: list[dict[str, Any]] = await self._transport.call("GET", "/api/nodes")
        return found

    async def plugins(self) -> list[dict[str, Any]]:
        """How loading each plugin of this gateway went. Raises GatewayAway."""
        found: list[dict[str, Any]] = await self._transport.call("GET", "/api/plugins")
        return found

    async def validate(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Check a document without running it: `{"valid", "problems"}`. Raises GatewayAway, GatewayRefused."""
        found: dict[str, Any] = await self._transport.call("POST", "/api/validate", json=dict(document))
        return found

    async def is_up(self) -> bool:
        """Does anything answer at the address, now?"""
        return await self._transport.is_up()

    def events(self, run_id: str, after: int = 0, *, log_id: str | None = None) -> Events:
        """The events of a run with `seq` above `after`, each once and in order, until its final status.

        Connects again by itself. A reader that is slow is waited for; one that is much too slow loses its connection
        and comes back where it was. Leaving early stops nothing but the reading.

        Args:
            after: The `seq` of the last event seen, to go on behind it.
            log_id: Where that was (`Events.log_id`); without it a log that was begun anew meanwhile goes unnoticed.

        Raises (while iterating):
            RunNotFound: There are no events of this run.
            GatewayRefused: With code `after_beyond_end`: the log has fewer events than `after`. Or a wrong token.
            GatewayAway: Nothing answered for `patience_s`.

        Example:
            events = client.events(run_id)
            async for event in events:
                ...
            # Later, in another process: client.events(run_id, events.after, log_id=events.log_id)
        """
        return Events(self._transport, run_id, after, log_id)
