"""The command for the keys of signatures."""

from __future__ import annotations

from innkeeper.gateway.cli.base import AsJson, DataDirectory, data_folder, print_json, say


def rotate_key(*, as_json: AsJson = False, data_dir: DataDirectory = None) -> None:
    """Sign with a new key from now on. Runs that were started with an older one go on.

    Example: innkeeper rotate-key
    """
    from innkeeper.nodes.services.signing_keys import SIGNING_FILE, add_signing_key

    count = add_signing_key(data_folder(data_dir) / SIGNING_FILE)
    if as_json:
        print_json({"keys": count})
        return
    say(
        f"a new key signs from now on; {SIGNING_FILE} has {count} keys, and all of them are accepted. "
        f"To accept the new one alone, stop Innkeeper, delete {SIGNING_FILE} and start again."
    )
