"""Another user of the machine: reads no file of the data directory, and has nothing run through Temporal's port."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.process.data_dir import holder_of
from innkeeper.workflows.payload_converter import DATA_CONVERTER
from tests.e2e.test_up import Up, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

TEXT = "a story that is nobody else's business "
RUN = {
    "nodes": [
        # With limits of its own it is an activity; the second one is too large for the history.
        {"id": id, "fullType": "core:CreateMessage", "inputs": {"role": "user", "content": text}, "timeoutSeconds": 9}
        for id, text in (("small", TEXT), ("large", TEXT * 200))
    ],
    "edges": [],
}


def finished_run(up: Up) -> str:
    with httpx.Client(base_url=up.url, trust_env=False, timeout=30) as http:
        run: str = http.post("/api/prompt", json=RUN).json()["promptId"]
        until(lambda: http.get(f"/api/prompt/{run}").json()["status"] == "complete")
    return run


async def test_another_user_reads_no_file_and_has_nothing_run(attacked: Up) -> None:
    up = attacked
    run = finished_run(up)
    address = (holder_of(up.data) or {})["temporal"]
    client = await Client.connect(address, namespace="innkeeper", data_converter=DATA_CONVERTER)
    history = await client.get_workflow_handle(run).fetch_history()
    plan = history.events[0].workflow_execution_started_event_attributes.input.payloads[0].data
    calls = [event.activity_task_scheduled_event_attributes for event in history.events]
    call: Any = next(call for call in calls if call.activity_type.name)
    paths = [str(path) for path in up.data.rglob("*") if path.is_file() or path.is_socket()]
    known = {
        "address": address,
        "paths": [*paths, str(up.data / "secret.key"), str(up.data / "signing.json")],
        "plan": base64.b64encode(plan).decode(),
        "run": run,
        "forged": f"forged-{uuid.uuid4()}",
        "activity": call.activity_type.name,
        "arg": (await client.data_converter.decode(call.input.payloads))[0],
        "headers": {
            name: base64.b64encode(value.SerializeToString()).decode() for name, value in call.header.fields.items()
        },
    }
    # What is tried below could succeed: the text is in these files, and the call is signed.
    assert any(TEXT.encode() in Path(path).read_bytes() for path in paths)
    assert known["headers"]

    script = Path(__file__).with_name("other_user.py")
    tried = subprocess.run(
        [sys.executable, script], input=json.dumps(known), capture_output=True, text=True, timeout=100, check=False
    )
    assert tried.returncode == 0, tried.stderr
    answer = json.loads(tried.stdout)
    assert answer.pop("user") != 0
    assert answer.pop("events") > 0, "histories are open: docs/security.md says so"
    refused = {"start": "not_started_here", "activity": "not_signed", "activity_again": "not_signed"}
    assert answer == {"readable": [], **refused}
    forged = await client.get_workflow_handle(known["forged"]).fetch_history()
    assert not any(event.HasField("activity_task_scheduled_event_attributes") for event in forged.events)
