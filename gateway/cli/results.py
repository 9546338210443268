"""The outputs of a run on stdout: raw where one is asked for or there is but one, each under its name else."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import IO, Any

from innkeeper.gateway.cli.live_view import clean, without_chunks
from innkeeper.gateway.client import GatewayClient
from innkeeper.nodes.errors import InnkeeperError


class NoSuchOutput(InnkeeperError):
    """The run has no output of the name that was asked for."""

    code = "usage"


async def write_outputs(client: GatewayClient, result: Mapping[str, Any], name: str | None, target: IO[str]) -> None:
    """Write what a run gave.

    Args:
        result: The run's status.
        name: The one output that is wanted; None for all.

    Raises:
        NoSuchOutput: There is none of that name.
    """
    outputs = dict(result.get("outputs") or {})
    if name is not None and name not in outputs:
        known = ", ".join(map(repr, outputs)) or "none"
        raise NoSuchOutput(f"the run has no output {name!r}: its outputs are {known}")
    shown = outputs if name is None else {name: outputs[name]}
    for key, value in shown.items():
        whole = await client.fetch(without_chunks(value))
        if isinstance(whole, bytes):
            target.flush()
            _bytes_of(target).write(whole)
            continue
        if len(shown) > 1:
            target.write(f"--- {clean(key)}\n")
        text = raw_text(whole)
        text = clean(text) if target.isatty() else text
        target.write(text if text.endswith("\n") else f"{text}\n")
    target.flush()


def _bytes_of(target: IO[str]) -> Any:
    """Where bytes go: a terminal is no place for an image."""
    if target.isatty():
        raise NoSuchOutput("the output is a file and not a text: send it somewhere, as in 'innkeeper run ... > file'")
    return getattr(target, "buffer", sys.stdout.buffer)


def raw_text(value: Any) -> str:
    """A value for a pipe: a text as it is, else JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
