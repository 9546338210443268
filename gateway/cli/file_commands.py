"""Commands about files of workflows.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from innkeeper.gateway.cli.base import AsJson, DataDirectory, Url, ask_gateway, console, print_json

if TYPE_CHECKING:
    pass


def put(
    file: Annotated[Path, typer.Argument(help="The file to upload.", show_default=False)],
    logical_path: Annotated[str, typer.Argument(help="Where to: user://cards/ or user://cards/name.png.")],
    *,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = True,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Upload a file for workflows to read. Needs a running gateway.

    Example: innkeeper put book.json user://library/world-books/book.json
    """
    from innkeeper.gateway.cli.file_command import put_file, put_line

    written = ask_gateway(lambda client: put_file(client, file, logical_path, overwrite=overwrite), data_dir, url)
    if as_json:
        print_json(written)
    else:
        console().print(put_line(written), markup=False, highlight=False, soft_wrap=True)


def get(
    logical_path: Annotated[str, typer.Argument(help="The file, such as user://cards/name.png.")],
    file: Annotated[
        Path | None, typer.Argument(help="Where to; '-' is the standard output.", show_default="its own name, here")
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Download a file that workflows have read or written. Needs a running gateway.

    Example: innkeeper get user://notes/today.txt
    """
    from innkeeper.gateway.cli.file_command import get_file

    line = ask_gateway(lambda client: get_file(client, logical_path, file, force=force), data_dir, url)
    console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


def list_files(
    prefix: Annotated[str, typer.Argument(help="The folder, such as shared://library.")] = "user://",
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """List the files below a folder: user:// (yours), shared:// or system://. Needs a running gateway.

    Example: innkeeper ls user://library/
    """
    from innkeeper.gateway.cli.file_command import list_below, upload_hint
    from innkeeper.gateway.cli.tables import files_table

    found = ask_gateway(lambda client: list_below(client, prefix), data_dir, url)
    if as_json:
        print_json(found)
    elif found:
        console().print(files_table(found))
    else:
        line = f"there are no files below {prefix!r}{upload_hint(prefix)}"
        console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
