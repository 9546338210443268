"""Commands for authors of workflows and plugins.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from innkeeper.gateway.cli.base import FAILED, AsJson, console, print_json, say


class Kind(StrEnum):
    """What `new` makes."""

    NODE = "node"
    PLUGIN = "plugin"
    WORKFLOW = "workflow"


def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder; '.' is this one.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Make a folder to begin with: a workflow, a plugin with a test, and a README.

    Example: innkeeper init my-graphs
    """
    from innkeeper.gateway.cli.scaffold import project_files, write_files

    written = write_files(folder, project_files(folder.resolve().name))
    _tell(written, as_json=as_json)
    if as_json:
        return
    where = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    say(f"next: {where}innkeeper run workflows/hello.json --plugins plugins")


def new(
    kind: Annotated[Kind, typer.Argument(help="What to make.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Its name: 'Shout', 'my-nodes', 'greeting'.", show_default=False)],
    *,
    plugin: Annotated[
        str | None, typer.Option(help="The plugin of a node; not needed when there is one.", show_default=False)
    ] = None,
    plugins: Annotated[Path, typer.Option(help="The folder of plugins.")] = Path("plugins"),
    stream: Annotated[bool, typer.Option("--stream", help="A node that gives its result piece by piece.")] = False,
    blocking: Annotated[
        bool, typer.Option("--blocking", help="A node whose code blocks: a plain function in a thread of its own.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a node, a plugin or a workflow, with a test where it is code.

    Example: innkeeper new node Whisper --stream
    """
    from innkeeper.gateway.cli.scaffold import CannotWrite, Form, hello_workflow, node_files, plugin_files, write_files

    if kind is Kind.WORKFLOW:
        file = Path(name if name.endswith(".json") else f"{name}.json")
        target = file if file.parent != Path() or not Path("workflows").is_dir() else Path("workflows") / file
        written = write_files(target.parent, {target.name: hello_workflow(name=target.stem)})
        following = f"innkeeper run {target}"
    elif kind is Kind.PLUGIN:
        written = write_files(plugins / name, plugin_files(name))
        following = f"innkeeper nodes {name}:Shout --plugins {plugins}; its test: cd {plugins / name} && pytest"
    else:
        if stream and blocking:
            raise CannotWrite("a new node has either --stream or --blocking")
        form = Form.STREAM if stream else Form.BLOCKING if blocking else Form.PLAIN
        owner = plugin or _only_plugin(plugins)
        written = write_files(plugins / owner, node_files(owner, name, form))
        following = "its test, 'pytest'; a running 'innkeeper up' knows it after a restart, or at once with --watch"
    _tell(written, as_json=as_json)
    if not as_json:
        say(f"next: {following}")


def _only_plugin(plugins: Path) -> str:
    from innkeeper.gateway.cli.scaffold import CannotWrite

    found = sorted(manifest.parent.name for manifest in plugins.glob("*/plugin.yaml"))
    if not found:
        raise CannotWrite(f"there is no plugin in {str(plugins)!r} yet: 'innkeeper new plugin NAME' makes one")
    if len(found) > 1:
        raise CannotWrite(f"say which plugin with --plugin: in {str(plugins)!r} there are {', '.join(found)}")
    return found[0]


def _tell(written: list[Path], *, as_json: bool) -> None:
    if as_json:
        print_json({"made": [str(path) for path in written]})
        return
    for path in written:
        say(f"made {path}")


def fmt(
    files: Annotated[list[Path], typer.Argument(help="Workflow files.", show_default=False)],
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 when one would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write workflow files in one form: short things on a line, long ones broken. What they say stays the same.

    Example: innkeeper fmt workflows/*.json
    """
    from innkeeper.gateway.cli.run_command import read_document
    from innkeeper.workflows.document.pretty import pretty

    changed: list[str] = []
    for file in files:
        text = pretty(read_document(file))
        if file.read_text("utf-8-sig") == text:
            continue
        changed.append(str(file))
        if not check:
            file.write_text(text, "utf-8")
        if not as_json:
            say(f"{'would change' if check else 'changed'} {file}")
    if as_json:
        print_json({"changed": changed})
    raise typer.Exit(FAILED if check and changed else 0)


def diff(
    before: Annotated[Path, typer.Argument(help="A workflow file.", show_default=False)],
    after: Annotated[Path, typer.Argument(help="Another one.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Show how two workflows differ: nodes, edges, inputs and outputs. Exit code 1 when they do.

    Example: innkeeper diff story.json story-new.json
    """
    from innkeeper.gateway.cli.difference_lines import difference_lines
    from innkeeper.gateway.cli.run_command import read_document
    from innkeeper.workflows.document.diff import differences
    from innkeeper.workflows.document.model import parse_document

    documents = [read_document(file) for file in (before, after)]
    for document in documents:
        parse_document(document)
    found = differences(*documents)
    if as_json:
        print_json([item.to_json() for item in found])
    else:
        for line in difference_lines(found):
            console().print(line, soft_wrap=True)
        if not found:
            say("they say the same")
    raise typer.Exit(FAILED if found else 0)
