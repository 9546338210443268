"""Walks over payloads are spared where they change nothing, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import temporalio.bridge.worker
from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion

from innkeeper.activities import payload_visits
from innkeeper.activities.payload_visits import VISITS, spare_payload_visits
from innkeeper.nodes.services.payload_keys import open_payload_keys
from innkeeper.workflows.payload_codec import ENCODING, EncryptionCodec, data_converter


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often the SDK's own way to encode a completion is gone; undoes at the end what is installed."""
    counted: list[int] = []
    encode = temporalio.bridge.worker.encode_completion

    async def counting(*args: Any, **options: Any) -> Any:
        counted.append(1)
        return await encode(*args, **options)

    for name in VISITS:
        monkeypatch.setattr(temporalio.bridge.worker, name, getattr(temporalio.bridge.worker, name))
    monkeypatch.setattr(temporalio.bridge.worker, "encode_completion", counting)
    return counted


def completion() -> WorkflowActivationCompletion:
    made = WorkflowActivationCompletion(run_id="r")
    command = made.successful.commands.add()
    command.complete_workflow_execution.result.CopyFrom(Payload(metadata={"encoding": b"json/plain"}, data=b'"x"'))
    return made


async def test_without_a_codec_completions_are_sent_as_they_are_and_not_walked_through(visits: list[int]) -> None:
    spare_payload_visits()
    for _ in range(5):
        made = completion()
        metrics = await temporalio.bridge.worker.encode_completion(made, data_converter(None), False, 1)
        assert made == completion()
        assert metrics.payload_count == 0
    assert len(visits) == 1  # the first: it gives what the SDK expects as an answer


async def test_with_a_codec_every_completion_is_encrypted(visits: list[int], tmp_path: Path) -> None:
    keys = open_payload_keys(tmp_path, b"s" * 32, encrypts=True, may_create=True)
    assert keys is not None
    spare_payload_visits()
    for _ in range(2):
        made = completion()
        await temporalio.bridge.worker.encode_completion(made, data_converter(EncryptionCodec(keys)), False, 1)
        result = made.successful.commands[0].complete_workflow_execution.result
        assert result.metadata["encoding"] == ENCODING
    assert len(visits) == 2


def test_this_version_of_the_sdk_is_one_in_which_visits_are_spared(visits: list[int]) -> None:
    # Fails with the next one: read its `bridge/worker.py` again, then add it to KNOWN_SDKS.
    spare_payload_visits()
    assert all(hasattr(getattr(temporalio.bridge.worker, name), "__wrapped__") for name in VISITS)


def test_a_version_that_nobody_has_read_is_left_alone(visits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_visits, "SDK_VERSION", "1.99.0")
    spare_payload_visits()
    assert not hasattr(temporalio.bridge.worker.encode_completion, "__wrapped__")
