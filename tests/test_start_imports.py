"""What is loaded before a process is ready: heavy modules that a start does not need must stay out of it.

Each costs every start some 10 to 400 ms. Who needs one imports it where it is used.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROVIDERS = {"openai", "anthropic", "google.genai", "tiktoken"}
NEVER_AT_START = PROVIDERS | {"alembic", "PIL", "jsonschema", "jsonschema_rs", "httpx", "numpy", "hypothesis", "pytest"}
NOT_IN_A_COMMAND = NEVER_AT_START | {"temporalio", "fastapi", "sqlalchemy", "pydantic", "cryptography", "yaml"}
NOT_IN_HELP = NOT_IN_A_COMMAND | {"asyncio", "httpx2", "websockets", "rich.console"}
STARTS = {
    "gateway": (
        "innkeeper.gateway.app",
        "innkeeper.gateway.serve",
        # Calling models is the worker's: of their package the gateway knows what calls cost.
        NEVER_AT_START | {"httpx2", "httpcore2", "innkeeper.nodes.services.llm.dispatch", "innkeeper.gateway.backup"},
    ),
    "worker": ("innkeeper.activities.worker", "innkeeper.activities.worker", NEVER_AT_START),
    "up": (
        "innkeeper.gateway.cli.commands",
        "innkeeper.gateway.process.local_stack",
        NEVER_AT_START | {"temporalio", "fastapi", "sqlalchemy", "httpx2"},
    ),
    "status": ("innkeeper.gateway.cli.stack_commands", "innkeeper.gateway.cli.run_command", NOT_IN_A_COMMAND),
    "help": ("innkeeper.gateway.cli.main", "innkeeper.gateway.cli.commands", NOT_IN_HELP),
}


def loaded_by(*modules: str) -> set[str]:
    code = f"import {', '.join(modules)}, json, sys; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("start", STARTS)
def test_start_loads_no_module_that_it_does_not_need(start: str) -> None:
    *modules, heavy = STARTS[start]
    assert loaded_by(*map(str, modules)) & set(heavy) == set()
