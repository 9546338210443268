"""How the script of a peer talks to whoever measures it: JSON lines. Nothing of the project is imported here.

The first line it writes is `{"versions": {package: version}}`. For each line `{"shape": "chain" | "fanout", "size": n,
"atOnce": m}` it reads, it runs that graph m times at once and writes `{"ms": milliseconds}`. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version

Run = Callable[[str, int], Awaitable[int]]
"""Runs one graph (shape, size), durably; gives how many nodes ran."""


def quiet_stdout() -> int:
    """Keep standard output for the answers: what libraries print goes to standard error. Gives its descriptor."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


async def serve(run: Run, packages: Sequence[str], answers: int) -> None:
    with os.fdopen(answers, "w") as out:
        print(json.dumps({"versions": {name: version(name) for name in packages}}), file=out, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            load = json.loads(line)
            began = time.perf_counter()
            ran = await asyncio.gather(*(run(load["shape"], load["size"]) for _ in range(load["atOnce"])))
            ms = (time.perf_counter() - began) * 1000
            if set(ran) != {load["size"]}:
                raise RuntimeError(f"{load} ran {sorted(set(ran))} nodes; the figures would mean nothing")
            print(json.dumps({"ms": ms}), file=out, flush=True)
