"""Which module may import which: the arrows between the four packages, and between the folders inside them.

An import counts wherever it stands: inside a function or for type checking it ties two modules together as well.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nodes", "workflows", "activities", "gateway")

PURE_NODES = tuple(
    f"nodes.{name}"
    for name in ("call", "definition", "errors", "feeds", "hosts", "json_values", "number_text", "spelling")
)
"""Data and pure functions: all that workflows need of nodes."""
NO_REPLAY = (
    *("time", "random", "secrets", "uuid"),
    *("os", "io", "pathlib", "shutil", "tempfile", "glob", "logging", "sqlite3"),
    *("socket", "ssl", "select", "selectors", "http", "urllib.request", "httpx", "httpx2"),
    *("signal", "subprocess", "threading", "multiprocessing", "concurrent"),
)
"""Modules whose answers a replay cannot repeat: clocks, chance, files, sockets, processes, threads."""
WORKFLOW_LIBRARIES = ("temporalio", "orjson")
PROVIDER_SDKS = ("openai", "anthropic", "google.genai")
WORKFLOW_ARROWS: Mapping[str, Collection[str]] = {
    "workflows.plan": (),
    "workflows.connection": ("workflows.payload_codec",),
    "workflows.namespace": (),
    "workflows.payload_codec": ("workflows.payload_converter",),
    "workflows.signing": ("workflows.payload_converter",),
    "workflows.document": ("workflows.document",),
    "workflows.engine.scheduler": ("workflows.plan",),
    "workflows.engine.state": ("workflows.plan", "workflows.engine.scheduler"),
    "workflows.engine": (
        *("workflows.engine", "workflows.document", "workflows.plan", "workflows.sdk_errors", "workflows.signing"),
    ),
    "workflows.compiler": (
        *("workflows.compiler", "workflows.document", "workflows.plan"),
        # A rerun plays what the scheduler will do; both modules know nothing of Temporal.
        *("workflows.engine.scheduler", "workflows.engine.state"),
    ),
}
"""What a part of workflows may import of workflows; the first line that fits a module counts."""
WITHOUT_TEMPORAL = (
    *("workflows.plan", "workflows.document", "workflows.compiler"),
    *("workflows.engine.scheduler", "workflows.engine.state"),
)
GATEWAY_CORE = tuple(
    f"gateway.{name}" for name in ("runs", "events", "library", "deliveries", "store", "storage", "triggers", "usage")
)
GATEWAY_SURFACE = tuple(f"gateway.{name}" for name in ("api", "realtime", "cli", "process"))
GATEWAY_OF_TRIGGERS = tuple(f"gateway.{name}" for name in ("triggers", "errors", "moments"))
GATEWAY_OF_CLI = tuple(f"gateway.{name}" for name in ("cli", "client", "process", "serve", "triggers", "backup"))
"""The definitions in `triggers` are pure: a file of them is checked as a whole before a gateway is asked."""

PURE_TRIGGERS = tuple(
    f"gateway.triggers.{name}"
    for name in (
        *("headers", "schemes", "scheme_config", "secret_keys", "verification"),
        *("forms", "multipart", "payload"),
    )
)
"""What reads requests of strangers: functions of bytes and a given time, without the rest of the gateway."""


@dataclass(frozen=True)
class Import:
    """One import statement. Names of ours come without `innkeeper.`; `target` is a module, never a name inside one."""

    module: str
    target: str
    place: str
    is_lazy: bool

    def leaves(self, *parts: str) -> bool:
        """Does it stand in one of these parts of the project?"""
        return within(self.module, parts)

    def reaches(self, *parts: str) -> bool:
        return within(self.target, parts)


def within(module: str, parts: Collection[str]) -> bool:
    return any(module == part or module.startswith(f"{part}.") for part in parts)


# --- reading sources ------------------------------------------------------------------------------------------------

Sources = Mapping[str, str]
"""File, relative to the project's root, to its text."""


def imports_of(sources: Sources) -> list[Import]:
    modules = {_module(file): file for file in sources}
    return [found for module, file in modules.items() for found in _imports(module, file, sources[file], modules)]


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imports(module: str, file: str, source: str, modules: Collection[str]) -> Iterator[Import]:
    for node, is_lazy in _statements(ast.parse(source, file), False):
        for name in dict.fromkeys(_targets(node, module, file.endswith("/__init__.py"), modules)):
            if name:
                yield Import(module, name, f"{file}:{node.lineno}", is_lazy)


def _statements(node: ast.AST, is_lazy: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, is_lazy
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            for_types = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
            yield from _statements(child, is_lazy or is_function or for_types)


def _targets(
    node: ast.Import | ast.ImportFrom, module: str, is_package: bool, modules: Collection[str]
) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (_ours(alias.name) for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        kept = module.split(".")[: len(module.split(".")) - node.level + is_package]
        base = ".".join([*kept, *([base] if base else [])])
    for alias in node.names:
        inner = _ours(f"{base}.{alias.name}")
        yield inner if inner in modules or not _ours(base) else _ours(base)


def _ours(name: str) -> str:
    return name.removeprefix("innkeeper").removeprefix(".") if within(name, ("innkeeper",)) else name


# --- the rules ------------------------------------------------------------------------------------------------------


def _breaks_workflow_arrows(found: Import) -> bool:
    part = next((part for part in WORKFLOW_ARROWS if found.leaves(part)), None)
    return part is not None and found.reaches("workflows") and not found.reaches(*WORKFLOW_ARROWS[part])


def _is_foreign(target: str) -> bool:
    top = target.partition(".")[0]
    return top not in sys.stdlib_module_names and top not in PACKAGES


def _is_unknown(found: Import) -> bool:
    """Does it leave Python and this project for anything but the JSON library that workflows use too?"""
    return _is_foreign(found.target) and not found.reaches("orjson")


@dataclass(frozen=True)
class Rule:
    """What holds, and which imports break it."""

    text: str
    breaks: Callable[[Import], bool]


RULES: Mapping[str, Rule] = {
    "nodes": Rule(
        "nodes know nothing of Temporal, HTTP and the other packages",
        lambda found: (
            found.leaves("nodes")
            and found.reaches("temporalio", "fastapi", "starlette", "workflows", "activities", "gateway")
        ),
    ),
    "provider-sdks": Rule(
        "nodes load a provider's SDK only in services/llm, and only when it is called",
        lambda found: (
            found.leaves("nodes")
            and found.reaches(*PROVIDER_SDKS)
            and not (found.leaves("nodes.services.llm") and found.is_lazy)
        ),
    ),
    "structured": Rule(
        "what is held against a user's schema is pure, and runs in a process of its own that is called by name",
        lambda found: (
            found.reaches("nodes.services.structured.validation")
            or (
                found.leaves("nodes.services.structured")
                and found.reaches("httpx2", "socket", *PACKAGES)
                and not found.reaches("nodes.services.structured", "nodes.errors", "nodes.json_values")
            )
        ),
    ),
    "workflows": Rule(
        "workflows take nothing of nodes but pure data, and nothing of activities and gateway",
        lambda found: (
            found.leaves("workflows") and found.reaches(*PACKAGES) and not found.reaches("workflows", *PURE_NODES)
        ),
    ),
    "pure-nodes": Rule(
        "what workflows take of nodes stays pure data",
        lambda found: (
            found.leaves(*PURE_NODES)
            and (_is_unknown(found) or (found.reaches(*PACKAGES) and not found.reaches(*PURE_NODES)))
        ),
    ),
    "replay": Rule(
        "workflows use no clock, chance, files, sockets, processes and threads",
        lambda found: found.leaves("workflows") and found.reaches(*NO_REPLAY),
    ),
    "workflow-libraries": Rule(
        "workflows use no library but the Temporal SDK and orjson",
        lambda found: (
            found.leaves("workflows") and _is_foreign(found.target) and not found.reaches(*WORKFLOW_LIBRARIES)
        ),
    ),
    "workflow-folders": Rule(
        "document and plan stand below engine and compiler, which meet only there",
        _breaks_workflow_arrows,
    ),
    "without-temporal": Rule(
        "documents, plans and the compiler do without Temporal",
        lambda found: found.leaves(*WITHOUT_TEMPORAL) and found.reaches("temporalio"),
    ),
    "activities": Rule(
        "activities know nothing of the gateway and HTTP frameworks",
        lambda found: found.leaves("activities") and found.reaches("gateway", "fastapi", "starlette"),
    ),
    "worker": Rule(
        "among activities only the worker knows workflows",
        lambda found: (
            found.leaves("activities")
            and found.reaches("workflows")
            and found.module not in ("activities.worker", "activities.serverless_worker")
        ),
    ),
    "gateway": Rule(
        "the gateway starts workers as processes and imports no activities",
        lambda found: found.leaves("gateway") and found.reaches("activities"),
    ),
    "gateway-core": Rule(
        "the rooms of the core of gateway do not import api, realtime, cli and process",
        lambda found: found.leaves(*GATEWAY_CORE) and found.reaches(*GATEWAY_SURFACE),
    ),
    "webhook-proofs": Rule(
        "proofs and payloads of webhooks are pure: no clock, files, sockets, HTTP frameworks and other rooms",
        lambda found: (
            found.leaves(*PURE_TRIGGERS)
            and (
                found.reaches("temporalio", "fastapi", "starlette", "sqlalchemy")
                # New secrets are random, and the log of a parser is kept quiet.
                or found.reaches(*(name for name in NO_REPLAY if name not in ("secrets", "logging")))
                or (found.reaches("gateway") and not found.reaches(*PURE_TRIGGERS))
            )
        ),
    ),
    "gateway-triggers": Rule(
        "gateway/triggers decides and imports nothing of the gateway but errors and moments",
        lambda found: (
            found.leaves("gateway.triggers") and found.reaches("gateway") and not found.reaches(*GATEWAY_OF_TRIGGERS)
        ),
    ),
    "gateway-cli": Rule(
        "gateway/cli reaches the gateway only through client, process, serve and backup, and knows what a trigger is",
        lambda found: found.leaves("gateway.cli") and found.reaches("gateway") and not found.reaches(*GATEWAY_OF_CLI),
    ),
}


def violations(rule: str, imports: Collection[Import]) -> list[str]:
    """Where a rule is broken, in words."""
    text, breaks = RULES[rule].text, RULES[rule].breaks
    return [f"{found.place}: imports {found.target}: {text}" for found in imports if breaks(found)]


def circle(package: str, imports: Collection[Import]) -> list[str]:
    """The imports of one circle between modules of a package; none when there is no circle."""
    inside = {(found.module, found.target): found for found in imports if found.leaves(package)}
    arrows = {pair: found for pair, found in inside.items() if found.reaches(package) and pair[0] != pair[1]}
    before: dict[str, set[str]] = {}
    for module, target in arrows:
        before.setdefault(module, set()).add(target)
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        chain = error.args[1]  # each module is imported by the next
        steps = [arrows[later, earlier] for earlier, later in pairwise(chain)]
        return [f"{step.place}: {step.module} imports {step.target}: no circle inside a package" for step in steps]
    return []


CLOCKS = frozenset({"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "open"})


def clock_calls(sources: Sources) -> list[str]:
    """Calls in the engine that read a clock or a file through what may be imported."""
    return [
        f"{file}:{node.lineno}: calls {ast.unparse(node.func)}: the engine takes the time from the workflow"
        for file, source in sources.items()
        if file.startswith("workflows/engine/")
        for node in ast.walk(ast.parse(source, file))
        if isinstance(node, ast.Call) and ".".join(ast.unparse(node.func).split(".")[-2:]) in CLOCKS
    ]


# --- the project ----------------------------------------------------------------------------------------------------


@cache
def project() -> Sources:
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    return {file.relative_to(ROOT).as_posix(): file.read_text() for file in files}


@cache
def project_imports() -> list[Import]:
    return imports_of(project())


@pytest.mark.parametrize("rule", RULES)
def test_import_rule_holds(rule: str) -> None:
    found = violations(rule, project_imports())
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_circle(package: str) -> None:
    found = circle(package, project_imports())
    assert not found, "\n" + "\n".join(found)


def test_the_engine_reads_no_clock() -> None:
    found = clock_calls(project())
    assert not found, "\n" + "\n".join(found)


# --- the rules themselves -------------------------------------------------------------------------------------------

BROKEN = [
    ("nodes", "nodes/a.py", "from temporalio import workflow"),
    ("nodes", "nodes/services/a.py", "def f():\n    import fastapi.responses"),
    ("nodes", "nodes/a.py", "from innkeeper import workflows"),
    ("nodes", "nodes/a.py", "from ..gateway import errors"),
    ("provider-sdks", "nodes/library/a.py", "def f():\n    from openai import AsyncOpenAI"),
    ("provider-sdks", "nodes/services/llm/a.py", "import openai"),
    ("structured", "nodes/library/a.py", "from innkeeper.nodes.services.structured import validation"),
    ("structured", "nodes/services/structured/a.py", "from innkeeper.nodes.node import NodeContext"),
    ("structured", "nodes/services/structured/a.py", "import httpx2"),
    ("workflows", "workflows/a.py", "from innkeeper.nodes.services.blobs import Blobs"),
    ("workflows", "workflows/engine/a.py", "from innkeeper.nodes import node"),
    ("workflows", "workflows/a.py", "import innkeeper.activities.worker"),
    ("pure-nodes", "nodes/call.py", "from innkeeper.nodes.node import NodeContext"),
    ("pure-nodes", "nodes/feeds.py", "import pydantic"),
    ("replay", "workflows/engine/a.py", "from time import monotonic"),
    ("replay", "workflows/compiler/a.py", "import os.path"),
    ("replay", "workflows/a.py", "from urllib.request import urlopen"),
    ("workflow-libraries", "workflows/a.py", "import pydantic"),
    ("workflow-folders", "workflows/engine/a.py", "if TYPE_CHECKING:\n    from innkeeper.workflows.compiler import b"),
    ("workflow-folders", "workflows/compiler/a.py", "from innkeeper.workflows.engine.interpreter import Interpreter"),
    ("workflow-folders", "workflows/document/a.py", "from innkeeper.workflows.plan import RunPlan"),
    ("workflow-folders", "workflows/plan.py", "from innkeeper.workflows.engine import scheduler"),
    ("workflow-folders", "workflows/engine/scheduler.py", "from innkeeper.workflows.engine import state"),
    ("without-temporal", "workflows/engine/state.py", "from temporalio import workflow"),
    ("activities", "activities/a.py", "from innkeeper.gateway.client import Client"),
    ("worker", "activities/a.py", "from innkeeper.workflows.plan import RunPlan"),
    ("gateway", "gateway/process/a.py", "from innkeeper.activities import worker"),
    ("gateway-core", "gateway/events/a.py", "from innkeeper.gateway.api.files import router"),
    ("gateway-core", "gateway/storage/a.py", "def f():\n    from innkeeper.gateway import process"),
    ("gateway-core", "gateway/usage/a.py", "from innkeeper.gateway.api.internal import router"),
    ("gateway-core", "gateway/triggers/a.py", "from innkeeper.gateway.cli import main"),
    ("webhook-proofs", "gateway/triggers/verification.py", "import time"),
    ("webhook-proofs", "gateway/triggers/payload.py", "from starlette.requests import Request"),
    ("webhook-proofs", "gateway/triggers/secret_keys.py", "from innkeeper.gateway.errors import BadRequest"),
    ("gateway-triggers", "gateway/triggers/a.py", "from innkeeper.gateway.store.models import RunRow"),
    ("gateway-cli", "gateway/cli/a.py", "from innkeeper.gateway.errors import ApiError"),
    ("gateway-cli", "gateway/cli/a.py", "from innkeeper.gateway import app"),
]
KEPT = [
    ("nodes/services/llm/a.py", "def f():\n    import openai"),
    ("nodes/a.py", "from innkeeper.nodes.workflows_shelf import shelf\nimport temporaliox"),
    ("workflows/a.py", "from innkeeper.nodes.call import NodeCall\nfrom urllib.parse import urlsplit"),
    ("workflows/compiler/a.py", "from innkeeper.workflows.engine import scheduler"),
    ("workflows/engine/scheduler.py", "from innkeeper.workflows.plan import RunPlan"),
    ("activities/worker.py", "from innkeeper.workflows.engine.graph_workflow import GraphWorkflow"),
    ("gateway/cli/a.py", "from innkeeper.gateway import client, serve\nfrom innkeeper.gateway.process.b import c"),
    ("gateway/triggers/a.py", "from innkeeper.gateway.moments import iso\nfrom innkeeper.gateway.triggers.b import c"),
    ("gateway/runs/a.py", "from innkeeper.gateway.process_names import b"),
]
MODULES = (
    *("workflows/engine/scheduler.py", "workflows/engine/state.py"),
    "nodes/services/structured/validation.py",
    *("gateway/client.py", "gateway/serve.py", "gateway/process/__init__.py"),
)


@pytest.mark.parametrize(("rule", "file", "source"), BROKEN)
def test_rule_finds_what_breaks_it(rule: str, file: str, source: str) -> None:
    others = dict.fromkeys(MODULES, "")
    lines = [line for line in violations(rule, imports_of({**others, file: source})) if line.startswith(f"{file}:")]
    assert len(lines) == 1
    assert lines[0].startswith(f"{file}:{len(source.splitlines())}: imports ")
    assert lines[0].endswith(RULES[rule].text)


@pytest.mark.parametrize(("file", "source"), KEPT)
def test_rules_let_through_what_keeps_them(file: str, source: str) -> None:
    imports = imports_of({**dict.fromkeys(MODULES, ""), file: source})
    assert imports
    assert [line for rule in RULES for line in violations(rule, imports)] == []


def test_every_rule_is_shown_to_fail() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(RULES)


@pytest.mark.parametrize(
    "second",
    [
        "from innkeeper.nodes import a",
        "from innkeeper.nodes.a import f",
        "def f():\n    from . import a",
        "if TYPE_CHECKING:\n    import innkeeper.nodes.a",
    ],
)
def test_a_circle_is_found_wherever_its_imports_stand(second: str) -> None:
    sources = {"nodes/a.py": "\nfrom innkeeper.nodes.b import g", "nodes/b.py": second, "nodes/c.py": "import nodes.a"}
    lines = circle("nodes", imports_of(sources))
    assert {line.partition(": ")[0] for line in lines} == {"nodes/a.py:2", f"nodes/b.py:{len(second.splitlines())}"}
    assert circle("nodes", imports_of({**sources, "nodes/b.py": ""})) == []


@pytest.mark.parametrize("call", ["datetime.now(UTC)", "date.today()", "open('x')", "datetime.datetime.now()"])
def test_a_read_clock_is_found(call: str) -> None:
    assert clock_calls({"workflows/engine/a.py": f"x = [\n{call}]"}) == [
        f"workflows/engine/a.py:2: calls {call.partition('(')[0]}: the engine takes the time from the workflow"
    ]
    assert clock_calls({"workflows/engine/a.py": "workflow.now()\nHistory.now()", "gateway/a.py": call}) == []
