"""Commands about the workflow library.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innkeeper.gateway.cli.base import (
    FAILED,
    AsJson,
    DataDirectory,
    Project,
    Url,
    ask_gateway,
    console,
    print_json,
    say,
)

if TYPE_CHECKING:
    from innkeeper.gateway.client import GatewayClient

WorkflowId = Annotated[str, typer.Argument(help="The id of a stored workflow.", show_default=False)]
NewIn = Annotated[str | None, typer.Option("--project", help="The project.", show_default="default")]
OfProject = Annotated[str | None, typer.Option("--project", help="Only of this project.", show_default="all")]


def list_workflows(
    *,
    project: OfProject = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.", show_default=False)] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Those in the bin instead, the last one first.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """List the stored workflows. Needs a running gateway, as all commands of the library do.

    Example: innkeeper workflows list --tag story
    """
    from innkeeper.gateway.cli.tables import workflows_table

    def ask(client: GatewayClient) -> Any:
        return client.workflows.find(project=project, tag=tag, deleted=deleted)

    found = ask_gateway(ask, data_dir, url)
    if as_json:
        print_json(found)
    elif found:
        console().print(workflows_table(found))
    else:
        nothing = "the bin has no such workflow" if deleted else "no such workflow is stored"
        _note(f"{nothing}: 'innkeeper workflows save FILE' stores one" if not deleted else nothing)


def show_workflow(
    workflow_id: WorkflowId,
    *,
    project: Project = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Show a stored workflow: its inputs and outputs, its newest versions, and what is wrong with the newest.

    Example: innkeeper workflows show greeter
    """
    from innkeeper.gateway.cli.library_command import head_lines, shown_workflow
    from innkeeper.gateway.cli.tables import problems_table, versions_table

    found = ask_gateway(lambda client: shown_workflow(client, workflow_id, project), data_dir, url)
    if as_json:
        print_json(found.to_json())
        return
    for line in head_lines(found.workflow):
        _say_clean(line)
    console().print(versions_table(found.versions))
    if found.problems:
        console().print(problems_table(found.problems))


def save_workflow(
    file: Annotated[Path, typer.Argument(help="A workflow file (JSON); '-' is stdin.", show_default=False)],
    *,
    project: Project = None,
    note: Annotated[str, typer.Option(help="What the version is for.", show_default=False)] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Save also when somebody else saves in the same moment.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Store a workflow file: as a new workflow, or as the next version of the one with its id.

    Older versions stay; identical content makes no version. A file without an id has its own name as the id.

    Example: innkeeper workflows save greeter.json --note "Greets in French, too"
    """
    from innkeeper.gateway.cli.difference_lines import difference_lines, differences_of
    from innkeeper.gateway.cli.library_command import SaveOptions, problems_of, save_file, saved_line
    from innkeeper.gateway.cli.tables import problems_table

    options = SaveOptions(project, note, overwrite)
    saved = ask_gateway(lambda client: save_file(client, file, options), data_dir, url)
    if as_json:
        print_json(saved.answer)
        return
    _say_clean(saved_line(saved.answer))
    for line in difference_lines(differences_of(saved.changes or {})):
        console().print(line, soft_wrap=True)
    if problems := problems_of(saved.answer):
        console(stderr=True).print(problems_table(problems))
    if not saved.answer["valid"]:
        _note("it is stored, but it cannot run or be published: correct the errors above, and save it again")


def publish_workflow(
    workflow_id: WorkflowId,
    *,
    version: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Which version.", show_default="the newest")
    ] = None,
    none: Annotated[
        bool, typer.Option("--none", help="Publish nothing: runs take the newest version that compiles.")
    ] = False,
    project: Project = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Publish a version: runs by id, and groups that name the workflow, take it.

    Example: innkeeper workflows publish greeter --version 3
    """
    from innkeeper.gateway.cli.library_command import publish_version
    from innkeeper.gateway.cli.run_command import UsageError
    from innkeeper.gateway.client import ANY_VERSION

    if none and version is not None:
        raise UsageError("publish either a --version or --none")

    def ask(client: GatewayClient) -> Any:
        if none:
            return client.workflows.unpublish(workflow_id, etag=ANY_VERSION, project=project)
        return publish_version(client, workflow_id, version, project)

    found = ask_gateway(ask, data_dir, url)
    if as_json:
        print_json(found)
    elif none:
        say(f"nothing of {workflow_id!r} is published: runs by id take the newest version that compiles")
    else:
        say(f"version {found['published']} of {workflow_id!r} is published: runs by id take it")


def diff_workflow(
    workflow_id: WorkflowId,
    *,
    before: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A version: a number, 'latest' or 'published'.",
            show_default="the published one, else the one before the newest",
        ),
    ] = None,
    after: Annotated[str, typer.Option("--to", help="The other version.")] = "latest",
    project: Project = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Show how two versions differ: nodes, edges, inputs and outputs. Exit code 1 when they do.

    Example: innkeeper workflows diff greeter --from 2 --to 4
    """
    from innkeeper.gateway.cli.difference_lines import difference_lines, differences_of
    from innkeeper.gateway.cli.library_command import difference

    def ask(client: GatewayClient) -> Any:
        return difference(client, workflow_id, before=before, after=after, project=project)

    answer = ask_gateway(ask, data_dir, url)
    found = list(differences_of(answer))
    if as_json:
        print_json(answer)
    else:
        say(f"from version {answer['from']} to version {answer['to']}" + ("" if found else ": they say the same"))
        for line in difference_lines(found):
            console().print(line, soft_wrap=True)
    raise typer.Exit(FAILED if found else 0)


def export_workflow(
    workflow_id: Annotated[
        str | None, typer.Argument(help="The id of a stored workflow; leave it out with --all.", show_default=False)
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write.", show_default="the standard output")
    ] = None,
    version: Annotated[str, typer.Option(help="A number, 'latest' or 'published'.")] = "latest",
    every: Annotated[
        Path | None,
        typer.Option("--all", help="Write the newest versions of all workflows into this folder.", show_default=False),
    ] = None,
    project: Project = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Write stored workflows into files, as they were saved: with all fields, in their order.

    With --all each workflow has a file ID.json; those of other projects than 'default' are in folders named like them.

    Example: innkeeper workflows export greeter -o greeter.json, or innkeeper workflows export --all backup --force
    """
    from innkeeper.gateway.cli.library_transfer import export_all, export_one, write_export
    from innkeeper.gateway.cli.run_command import UsageError

    if (workflow_id is None) == (every is None) or (every is not None and (file or version != "latest")):
        raise UsageError("export either one workflow by its id, with -o and --version, or --all into a folder")
    if every is not None:
        folder = every
        with _progress("exporting") as progress:
            done = ask_gateway(
                lambda client: export_all(client, folder, project=project, force=force, progress=progress),
                data_dir,
                url,
            )
        _tell(done, as_json=as_json, refused={**done.refused}, failed=bool(done.refused or done.kept))
        return
    text = ask_gateway(lambda client: export_one(client, str(workflow_id), version, project), data_dir, url)
    if file is None or str(file) == "-":
        # As bytes: the file is UTF-8 whatever this terminal's encoding is.
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
        return
    write_export(file, text, force=force)
    if as_json:
        print_json({"written": [str(file)]})
    else:
        say(f"wrote {file}")


def import_workflows(
    places: Annotated[
        list[Path], typer.Argument(help="Workflow files, and folders with *.json files.", show_default=False)
    ],
    *,
    project: NewIn = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Store many workflow files, such as a folder of ComfyTavern's: a known id becomes a new version.

    All fields stay, in their order. Exit code 1 when a file was refused; the others are stored.

    Example: innkeeper workflows import backup/ --project default
    """
    from innkeeper.gateway.cli.library_transfer import import_files

    with _progress("importing") as progress:
        done = ask_gateway(lambda client: import_files(client, places, project, progress), data_dir, url)
    _tell(done, as_json=as_json, refused={**done.refused}, failed=bool(done.refused))


def delete_workflow(
    workflow_id: WorkflowId,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    project: Project = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Move a stored workflow to the bin, where it stays for 30 days.

    Example: innkeeper workflows delete greeter --yes
    """
    from innkeeper.gateway.cli import library_command

    found = ask_gateway(lambda client: library_command.found_workflow(client, workflow_id, project), data_dir, url)
    home = found["projectId"]
    if not yes:
        library_command.check_can_ask()
        question = f"delete {workflow_id!r} (version {found['version']}, project {home})?"
        typer.confirm(question, abort=True, err=True)
    ask_gateway(lambda client: library_command.delete_workflow(client, found), data_dir, url)
    if as_json:
        print_json({"deleted": [workflow_id], "projectId": home})
    else:
        say(f"deleted {workflow_id!r}; for 30 days 'innkeeper workflows restore {workflow_id}' takes it back")


def restore_workflow(
    workflow_id: WorkflowId,
    *,
    project: OfProject = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Take a workflow out of the bin, with all its versions.

    Example: innkeeper workflows restore greeter
    """
    found = ask_gateway(lambda client: client.workflows.restore(workflow_id, project=project), data_dir, url)
    if as_json:
        print_json(found)
    else:
        say(f"{workflow_id!r} is back, in version {found['version']}, in the project {found['projectId']}")


def _tell(done: Any, *, as_json: bool, refused: dict[str, str], failed: bool) -> None:
    """What became of many files. Ends the command."""
    for name, reason in refused.items():
        _note(f"refused {name}: {reason}")
    if as_json:
        print_json(done.to_json())
    else:
        say(done.line())
    raise typer.Exit(FAILED if failed else 0)


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A line that tells how far it is, on a terminal only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    screen = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda count, total: bar.update(task, completed=count, total=total)


def _note(sentence: str) -> None:
    console(stderr=True).print(sentence, markup=False, highlight=False, soft_wrap=True)


def _say_clean(line: str) -> None:
    """A line with names that somebody else wrote."""
    from innkeeper.gateway.cli.live_view import clean

    say(clean(line))
