"""Record the histories of a schedule's launcher anew: `python -m tests.histories.record_launches`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle

from innkeeper.workflows.engine import trigger_launcher
from tests.conftest import start_server
from tests.histories.record import FOLDER, anonymous
from tests.workflows.engine.test_trigger_launcher import RUN, Gateway, start


async def keep(name: str, handle: WorkflowHandle[Any, Any]) -> None:
    """Write the history of a launcher, as soon as it is over."""
    with contextlib.suppress(WorkflowFailureError):
        await handle.result()
    history = (await handle.fetch_history()).to_json().replace(f"@{socket.gethostname()}", "@host")
    (FOLDER / f"{name}.json").write_text(json.dumps(json.loads(history, object_hook=anonymous), indent=1) + "\n")


async def main() -> None:
    trigger_launcher.FIRST_LOOK = timedelta(seconds=0.3)
    gateway = Gateway()
    async with await start_server() as env, gateway.worker(env.client):
        told = await start(env.client, gateway)
        await gateway.until_asked("fire")
        await told.signal("run_ended", RUN)
        await keep("launcher", told)
        looking = await start(env.client, gateway)
        await gateway.until_asked("look")
        gateway.ended = True
        await keep("launcher_looked", looking)
        gateway.ended = False
        cancelled = await start(env.client, gateway)
        await asyncio.sleep(0.2)
        await cancelled.cancel()
        await gateway.until_asked(f"interrupt {RUN}")
        await cancelled.signal("run_ended", RUN)
        await keep("launcher_cancelled", cancelled)


if __name__ == "__main__":
    asyncio.run(main())
