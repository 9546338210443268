"""The command for the keys of signatures."""

from __future__ import annotations

from innkeeper.gateway.cli.base import DataDirectory, data_folder, say


def rotate_key(*, data_dir: DataDirectory = None) -> None:
    """Sign with a new key from now on. Runs that were started with an older one go on."""
    from innkeeper.nodes.services.signing_keys import SIGNING_FILE, add_signing_key

    count = add_signing_key(data_folder(data_dir) / SIGNING_FILE)
    say(
        f"a new key signs from now on; {SIGNING_FILE} has {count} keys, and all of them are accepted. "
        f"To accept the new one alone, stop Innkeeper, delete {SIGNING_FILE} and start again."
    )
