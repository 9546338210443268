"""Several worker processes for one command: `innkeeper worker --processes N`.

Each is a worker of its own, to Temporal and to the gateway. They are children of a process that runs no nodes: it
starts one again that died, hands a stop on and waits for them. When it is killed they end with it (`die_with_parent`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from innkeeper.gateway.process.supervisor import ChildSpec, Supervisor

SETTLED_S = 120.0
"""Who dies again and again in this time, for want of a token or by a wrong setting, will not start at all."""


async def keep_workers(count: int, command: Sequence[str], env: Mapping[str, str]) -> int:
    """Keep `count` processes of one command going until this task is cancelled; then they finish what they run.

    Raises:
        StackError: One of them does not start. It has said why on standard error.
    """
    # A worker knows by its own settings how long it may take to stop, and a second signal ends us all at once.
    specs = [
        ChildSpec(f"worker-{number}", command, env, stop_s=None, gives_life_signs=True)
        for number in range(1, count + 1)
    ]
    supervisor = Supervisor(None)
    try:
        await supervisor.start(specs)
        await supervisor.ready(asyncio.sleep(SETTLED_S))
        await asyncio.Event().wait()
    finally:
        await supervisor.stop()
    return 0
