"""Record the histories of all shapes anew: `python -m tests.histories.record`.

Only when an old history can no longer be met (never for a change of scheduling: that goes behind workflow.patched).
"""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from pathlib import Path
from typing import Any

from temporalio.testing import WorkflowEnvironment

from tests.conftest import start_server
from tests.histories.shapes import INTERFACE, SHAPES
from tests.workflows.toys import Toys, ToyWorker, toy_worker, until_called
from workflows.plan import PlannedNode

FOLDER = Path(__file__).parent


async def record(worker: ToyWorker, toys: Toys, name: str, nodes: tuple[PlannedNode, ...]) -> None:
    handle = await worker.start(*nodes, interface_outputs=INTERFACE if name == "chain" else {})
    if name == "interrupted":
        await until_called(toys, "long")
        await handle.cancel()
    await handle.result()
    history = (await handle.fetch_history()).to_json().replace(socket.gethostname(), "host")
    (FOLDER / f"{name}.json").write_text(json.dumps(json.loads(history, object_hook=_anonymous), indent=1) + "\n")


def _anonymous(item: dict[str, Any]) -> dict[str, Any]:
    """Names of machines and processes are nobody's business and nothing replays them."""
    return {key: "anyone" if key == "identity" else value for key, value in item.items()}


async def main() -> None:
    toys = Toys()
    env: WorkflowEnvironment
    with tempfile.TemporaryDirectory() as folder:
        async with await start_server() as env, toy_worker(env.client, toys, Path(folder)) as worker:
            for name, nodes in SHAPES.items():
                await record(worker, toys, name, nodes)


if __name__ == "__main__":
    asyncio.run(main())
