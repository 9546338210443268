"""What `innkeeper init` and `innkeeper new` write: a workflow, a plugin with a test of its own, a page that explains.

A plugin's node files lie in a package that is called like the plugin: a folder `nodes` would hide, or be hidden by,
other packages of that name, and its tests could not import it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from innkeeper.gateway.client.workflow_builder import Workflow
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.workflows.document.pretty import pretty

_PLUGIN = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_NODE = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
RESERVED = frozenset({"core", "unknown", "nodes", "workflows", "activities", "gateway", "innkeeper", "test", "tests"})
Files = dict[str, str]
"""Path below a folder to what is written there."""


class Form(Enum):
    """What the function of a new node is."""

    PLAIN = "an async function"
    STREAM = "an async generator"
    BLOCKING = "a plain function"


class CannotWrite(InnkeeperError):
    """A name that cannot be used, or something that would be overwritten."""

    code = "usage"


README = """\
# {title}

Workflows for Innkeeper, and a plugin with nodes of our own.

    innkeeper up --plugins plugins --watch      # gateway, worker and Temporal server; leave it running
    innkeeper run workflows/hello.json          # in another terminal
    innkeeper run workflows/hello.json -i who=Ada -o text
    innkeeper nodes {plugin}:Shout              # what the node of the plugin takes and gives
    innkeeper new node Whisper --plugin {plugin}    # one more node, with a test
    pytest                                      # the tests of the plugin ('pip install pytest'); no server is needed

Without `innkeeper up`, `innkeeper run workflows/hello.json --plugins plugins` starts what it needs for one run.

| where | what |
|---|---|
| `workflows/` | graphs; `innkeeper validate FILE` checks one |
| `plugins/{plugin}/plugin.yaml` | name, version and settings of the plugin |
| `plugins/{plugin}/{package}/` | its nodes, one file each |
| `plugins/{plugin}/tests/` | their tests |
| `.innkeeper/` | runs, results and keys of this folder; not for version control |
"""
GITIGNORE = ".innkeeper/\n__pycache__/\n.pytest_cache/\n"
# Two plugins may have tests of one name.
PYTEST = "[pytest]\naddopts = --import-mode=importlib\n"
CONFTEST = '''\
"""Lets the tests import the package beside this file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
'''
MANIFEST = """\
name: {plugin}
displayName: {title}
version: 0.1.0
description: Nodes of our own.
nodes:
  entry: {package}
"""
NODE = '''\
"""{plugin}:{type}."""

from innkeeper import Input, NodeDefinition, Output


async def execute(inputs, context):
    """Give the text in capitals."""
    return {{"text": inputs["text"].upper()}}


definition = NodeDefinition(
    type="{type}",
    category="Text",
    display_name="{title}",
    description="Gives the text in capitals.",
    inputs={{"text": Input("STRING", required=True)}},
    outputs={{"text": Output("STRING")}},
    execute=execute,
)
'''
NODE_TEST = """\
from innkeeper.nodes.testing import run_node
from {package}.{module} import definition


def test_{module}():
    assert run_node(definition, {{"text": "hello"}}) == {{"text": "HELLO"}}
"""
BLOCKING_NODE = '''\
"""{plugin}:{type}."""

import time

from innkeeper import Input, NodeDefinition, Output


def execute(inputs, context):
    """Give the text in capitals, after a while. A plain 'def' may block: it runs in a thread of its own."""
    time.sleep(0.2)  # in the place of a library that blocks
    return {{"text": inputs["text"].upper()}}


definition = NodeDefinition(
    type="{type}",
    category="Text",
    display_name="{title}",
    description="Gives the text in capitals, after a while.",
    inputs={{"text": Input("STRING", required=True)}},
    outputs={{"text": Output("STRING")}},
    execute=execute,
)
'''
STREAM_NODE = '''\
"""{plugin}:{type}."""

import asyncio

from innkeeper import Chunk, Input, NodeDefinition, Output, Outputs


async def execute(inputs, context):
    """Say the text word by word; whoever watches the run sees each word as it comes."""
    words = inputs["text"].split()
    for number, word in enumerate(words, 1):
        yield Chunk("text_chunk", f"{{word}} ")
        context.progress(number, len(words))
        await asyncio.sleep(0.05)
    yield Outputs(count=len(words))


definition = NodeDefinition(
    type="{type}",
    category="Text",
    display_name="{title}",
    description="Says a text word by word.",
    inputs={{"text": Input("STRING", required=True)}},
    outputs={{"stream": Output("STRING", is_stream=True), "count": Output("INTEGER")}},
    execute=execute,
)
'''
STREAM_NODE_TEST = """\
from innkeeper.nodes.testing import collect, text_of
from {package}.{module} import definition


def test_{module}():
    chunks, outputs = collect(definition, {{"text": "hello there"}})
    assert text_of(chunks) == "hello there "
    assert outputs == {{"count": 2}}
"""
TEMPLATES = {
    Form.PLAIN: (NODE, NODE_TEST),
    Form.STREAM: (STREAM_NODE, STREAM_NODE_TEST),
    Form.BLOCKING: (BLOCKING_NODE, NODE_TEST),
}


def project_files(name: str) -> Files:
    """A folder that works at once."""
    plugin = _slug(name)
    texts = {"plugin": plugin, "package": package_of(plugin), "title": title_of(name)}
    return {
        "README.md": README.format(**texts),
        ".gitignore": GITIGNORE,
        "pytest.ini": PYTEST,
        "workflows/hello.json": hello_workflow(plugin),
        **{f"plugins/{plugin}/{path}": text for path, text in plugin_files(plugin).items()},
    }


def plugin_files(plugin: str) -> Files:
    """A plugin with one node and its test. Raises CannotWrite."""
    package = package_of(plugin)
    return {
        "plugin.yaml": MANIFEST.format(plugin=plugin, package=package, title=title_of(plugin)),
        "conftest.py": CONFTEST,
        f"{package}/__init__.py": "",
        **node_files(plugin, "Shout"),
    }


def node_files(plugin: str, type: str, form: Form = Form.PLAIN) -> Files:
    """A node of a plugin, and its test. Raises CannotWrite."""
    if not _NODE.fullmatch(type):
        raise CannotWrite(f"{type!r} is no name of a node type: letters and digits, the first a capital, like 'Shout'")
    module, package = _snake(type), package_of(plugin)
    texts = {"plugin": plugin, "package": package, "module": module, "type": type, "title": title_of(type)}
    code, test = TEMPLATES[form]
    return {f"{package}/{module}.py": code.format(**texts), f"tests/test_{module}.py": test.format(**texts)}


def hello_workflow(plugin: str | None = None, *, name: str = "hello") -> str:
    """A workflow that greets; with a plugin, its node says it in capitals. Its id is its name."""
    flow = Workflow(name, name=title_of(name), description="Greets somebody.")
    who = flow.input("who", default="world", title="Who")
    text = flow.node("core:Template", "greet", template="Hello {{ input }}!", input=who)["text"]
    if plugin is not None:
        text = flow.node(f"{plugin}:Shout", "shout", text=text)["text"]
    flow.output("text", text, "STRING", title="Greeting")
    return pretty(flow.to_json())


def package_of(plugin: str) -> str:
    """The Python package of a plugin's nodes. Raises CannotWrite."""
    if not _PLUGIN.fullmatch(plugin) or plugin in RESERVED:
        raise CannotWrite(
            f"{plugin!r} cannot be the name of a plugin: small letters, digits and '-', like 'my-nodes', and none of "
            f"{', '.join(sorted(RESERVED))}"
        )
    package = plugin.replace("-", "_")
    return package if package.isidentifier() else f"plugin_{package}"


def title_of(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("-", " ").replace("_", " ").strip()
    return words[:1].upper() + words[1:].lower()


def _slug(name: str) -> str:
    """A name for a plugin out of the name of a folder."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64] or "my"
    return f"{slug}-nodes" if slug in RESERVED or not _PLUGIN.fullmatch(slug) else slug


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write all files, or none when one is there already. Raises CannotWrite, OSError."""
    there = [str(folder / path) for path in files if (folder / path).exists()]
    if there:
        raise CannotWrite(f"{', '.join(there[:5])} exists already: nothing was written; choose another name or folder")
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    return [folder / path for path in files]
