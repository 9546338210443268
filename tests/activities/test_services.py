"""What nodes may reach, as a worker puts it together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from innkeeper.activities.services import ServicesForRuns
from innkeeper.activities.settings import SettingsError, WorkerSettings
from innkeeper.nodes.errors import InnkeeperError, NodeInputError, RequestRefused
from innkeeper.nodes.node import ChatRequest, HttpRequest
from innkeeper.nodes.services.llm.call_gate import CallOrigin
from innkeeper.nodes.testing import MemoryBlobs, MemorySecrets

SOMEBODY = CallOrigin(user="somebody")
NOBODY_THERE = "http://127.0.0.1:9"
WITHOUT_GATEWAY = {"INNKEEPER_WORKER_TOKEN": "a token of workers", "INNKEEPER_FLUSH_TIMEOUT_S": "0"}
"""Nobody waits for a gateway that is not there."""


async def outcomes(folder: Path, environ: Mapping[str, str], engine: str | None = None) -> tuple[str, str]:
    """Codes of the errors that a plain request to this machine, and one to a model there, end with."""
    settings = WorkerSettings.load({**environ, **WITHOUT_GATEWAY}, data_dir=folder)
    make = ServicesForRuns(settings, MemoryBlobs(), environ, engine_address=engine)
    services, _ = make(SOMEBODY)
    found = []
    for call in (
        services.http.request(HttpRequest("GET", NOBODY_THERE)),
        services.llm.chat(ChatRequest(f"{NOBODY_THERE}/v1", "m", [{"role": "user", "content": "x"}])),
    ):
        with pytest.raises(InnkeeperError) as caught:
            await call
        found.append(caught.value.code)
    await make.aclose()
    return found[0], found[1]


@pytest.mark.parametrize(
    ("environ", "request_refused", "model_refused"),
    [
        ({}, True, False),
        ({"INNKEEPER_ALLOW_LOOPBACK": "1"}, False, False),
        ({"INNKEEPER_ALLOW_LOOPBACK": "0"}, True, True),
        ({"INNKEEPER_NODE_ALLOWED_HOSTS": "127.0.0.1:9"}, False, False),
        # The gateway and the Temporal server listen there.
        ({"INNKEEPER_GATEWAY_URL": NOBODY_THERE, "INNKEEPER_ALLOW_LOOPBACK": "1"}, True, True),
        ({"INNKEEPER_TEMPORAL_ADDRESS": "127.0.0.1:9", "INNKEEPER_ALLOW_LOOPBACK": "1"}, True, True),
        # The gateway serves other machines, too.
        ({"INNKEEPER_HOST": "0.0.0.0"}, True, True),
        ({"INNKEEPER_HOST": "inn.example"}, True, True),
        ({"INNKEEPER_GATEWAY_URL": "https://inn.example"}, True, True),
        ({"INNKEEPER_HOST": "localhost", "INNKEEPER_GATEWAY_URL": "http://[::1]:1"}, True, False),
        ({"INNKEEPER_HOST": "0.0.0.0", "INNKEEPER_ALLOW_LOOPBACK": "1"}, False, False),
    ],
)
async def test_only_models_are_reached_on_this_machine_unless_the_operator_says_more(
    tmp_path: Path, environ: Mapping[str, str], request_refused: bool, model_refused: bool
) -> None:
    found = await outcomes(tmp_path, environ)
    assert tuple(code == RequestRefused.code for code in found) == (request_refused, model_refused)


async def test_the_engine_is_closed_to_nodes_also_where_no_setting_of_ours_names_it(tmp_path: Path) -> None:
    """`TEMPORAL_ADDRESS`, a profile, or the default says where it is."""
    environ = {"INNKEEPER_ALLOW_LOOPBACK": "1"}
    assert await outcomes(tmp_path, environ, "127.0.0.1:9") == (RequestRefused.code, RequestRefused.code)


def test_address_of_the_engine_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    environ = {"INNKEEPER_TEMPORAL_ADDRESS": "localhost:seven"}
    with pytest.raises(SettingsError, match="localhost:seven"):
        ServicesForRuns(WorkerSettings.load(environ, data_dir=tmp_path), MemoryBlobs(), environ)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_the_demo_model_is_reached_wherever_the_gateway_listens(tmp_path: Path, host: str) -> None:
    environ = {"INNKEEPER_GATEWAY_URL": NOBODY_THERE, "INNKEEPER_HOST": host, **WITHOUT_GATEWAY}
    make = ServicesForRuns(WorkerSettings.load(environ, data_dir=tmp_path), MemoryBlobs(), environ)
    services, _ = make(SOMEBODY)
    messages = [{"role": "user", "content": "x"}]
    for base_url, code in (("/demo/v1", "connection_error"), ("/api/prompt", RequestRefused.code)):
        with pytest.raises(InnkeeperError) as caught:
            await services.llm.chat(ChatRequest(NOBODY_THERE + base_url, code, messages))
        assert caught.value.code == code
    with pytest.raises(RequestRefused):
        await services.http.request(HttpRequest("GET", f"{NOBODY_THERE}/demo/v1/models"))
    await make.aclose()


async def test_a_secret_that_nobody_set_is_told_as_such_and_not_tried_again(tmp_path: Path) -> None:
    make = ServicesForRuns(WorkerSettings.load({}, data_dir=tmp_path), MemoryBlobs(), {})
    services, _ = make(SOMEBODY)
    for secrets in (services.secrets, MemorySecrets()):
        with pytest.raises(NodeInputError, match="is not set") as caught:
            await secrets.reveal(None, "example.org")
        assert not caught.value.retryable
    await make.aclose()
