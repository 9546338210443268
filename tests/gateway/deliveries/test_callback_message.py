"""What is told of a run."""

from __future__ import annotations

import json

from innkeeper.gateway.deliveries.callback_message import (
    MAX_BYTES,
    RunFacts,
    message_id,
    message_of,
    shown_event,
    wait_event,
    workflow_id,
)
from innkeeper.nodes.services.webhook_signing import unsigned_headers


def test_the_ids_of_a_message_are_known_from_run_callback_and_event() -> None:
    event = wait_event({"kind": "approval"}, "each/3/ask")
    assert shown_event(event) == "waiting"
    assert event != wait_event({"kind": "approval"}, "each/4/ask")
    again = [wait_event({"kind": "budget", "attempt": attempt}, "a") for attempt in (1, 2)]
    assert len({event, *again}) == 3  # a node may run out of budget again
    first = message_id("r1", 0, event)
    assert unsigned_headers(first, sent_at=0)["webhook-id"] == first
    assert workflow_id("r1", 0, event, 1) == first
    assert workflow_id("r1", 0, event, 2) != first


def test_an_end_has_no_key_without_a_value() -> None:
    body = json.loads(message_of(RunFacts("r1", "interrupted", 1_000)))
    assert body == {
        "type": "run.interrupted",
        "timestamp": "1970-01-01T00:00:01.000Z",
        "data": {"runId": "r1", "status": "interrupted", "labels": {}, "links": {"run": "/api/prompt/r1"}},
    }


def test_a_large_run_gives_a_small_message() -> None:
    facts = RunFacts(
        run="r" * 60,
        status="error",
        at=0,
        workflow_id="w" * 200,
        workflow_name="ü" * 10_000,
        labels={f"{number}" * 32: "é" * 200 for number in range(20)},
        error={"message": "m" * 100_000, "code": "c"},
        outputs=tuple(f"{number}" + "ö" * 200 for number in range(1_000)),
        wait={"kind": "event", "nodeId": "n" * 2_000, "name": "x" * 200, "data": "y" * 100_000},
    )
    body = message_of(facts)
    assert len(body) <= MAX_BYTES
    data = json.loads(body)["data"]
    assert (data["runId"], data["links"]["run"]) == ("r" * 60, f"/api/prompt/{'r' * 60}")
    assert len(data["error"]["message"]) == 1_000
