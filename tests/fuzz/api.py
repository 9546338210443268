"""Ask a whole stack whatever its OpenAPI document allows and forbids: `python -m tests.fuzz.api PROGRAM`.

PROGRAM is schemathesis, which has an environment of its own (`make fuzz-api`). No answer may be a 5xx, and each must be
as it is declared.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions

CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
LEFT_OUT = "^/api/prompt$|/internal/|/events$|^/demo/"
"""Runs of graphs made at random, streams that do not end, and the model that answers like OpenAI's."""


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.api", description=__doc__)
    parser.add_argument("program", help="schemathesis")
    parser.add_argument("--examples", type=int, default=50, help="for each operation")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        async with LocalStack(StackOptions(Path(folder) / "data")) as stack:
            command = ["run", f"{stack.url}/openapi.json", "--url", stack.url, "--continue-on-failure"]
            command += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"]
            command += ["-n", str(options.examples), "--seed", str(options.seed)]
            command += ["--exclude-path-regex", LEFT_OUT, "--no-color"]
            process = await asyncio.create_subprocess_exec(options.program, *command, cwd=folder)
            return await process.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
