"""Commands for the keys of a data directory: those that sign, and those that encrypt."""

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


def rotate_payload_key(*, as_json: AsJson = False, data_dir: DataDirectory = None) -> None:
    """Encrypt what is given to Temporal with a new key from now on. What was encrypted before stays readable.

    Example: innkeeper rotate-payload-key
    """
    from innkeeper.nodes.services.payload_keys import PAYLOAD_KEYS_FILE, add_payload_key

    count = add_payload_key(data_folder(data_dir) / PAYLOAD_KEYS_FILE)
    if as_json:
        print_json({"keys": count})
        return
    say(
        f"a new key encrypts from now on; {PAYLOAD_KEYS_FILE} has {count} keys, and all of them decrypt. An older one "
        "is needed as long as Temporal keeps a history of its time: make a new backup of the file, and keep the keys."
    )
