"""The gateway is away longer than anybody waits for it: what needs no log goes on, what does waits, nothing is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.crash.viewer import Viewer
from tests.e2e.test_streams import PLUGINS, graph, node, words

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]


@pytest.mark.slow
async def test_runs_without_streams_finish_and_those_with_streams_wait(tmp_path: Path) -> None:
    trace, gate = str(tmp_path / "trace.txt"), tmp_path / "the gateway is away"
    steps = [node(f"n{index}", "crash-nodes:Count", file=trace, gate=str(gate)) for index in range(3)]
    plain = graph(steps, "n0.text > n1.text", "n1.text > n2.text")
    streams = graph([node("s", "Words", count=40, gate=str(gate)), node("r", "Take")], "s.out > r.stream")
    options = StackOptions(tmp_path / "data", plugins=(PLUGINS,), env={"INNKEEPER_FLUSH_TIMEOUT_S": "1"})
    viewer = Viewer()
    async with LocalStack(options) as stack, asyncio.timeout(90):
        temporal = await Client.connect(stack.temporal_address, namespace="innkeeper")
        async with GatewayClient(stack.url) as client:
            streaming = await client.submit(streams)
            plain_run = await client.submit(plain)
            async for event in client.events(streaming):
                viewer.apply(event)
                if len(viewer.chunks.get("r", ())) == 3:
                    break
        gateway = stack._supervisor.children["gateway"]  # type: ignore[union-attr]
        await gateway.stop()
        gate.touch()
        result = await temporal.get_workflow_handle(plain_run).result()
        assert result["status"] == "complete"
        assert any(entry.get("unlogged") for entry in result["nodes"].values())
        await asyncio.sleep(2)
        waiting = await temporal.get_workflow_handle(streaming).describe()
        assert waiting.status is WorkflowExecutionStatus.RUNNING
        await gateway.start()
        async with GatewayClient(stack.url) as client:
            async for event in client.events(streaming, after=viewer.seq):
                viewer.apply(event)
            status = await client.status(streaming)
            plain_status = await client.wait(plain_run)
    assert (status["status"], plain_status["status"]) == ("complete", "complete")
    assert viewer.text("s") == viewer.text("r") == words(40)
    assert viewer.executing == {"s": 1, "r": 1}
    lines = Path(trace).read_text().splitlines()
    assert sorted(line.split()[1] for line in lines) == ["n0", "n1", "n2"]
