"""Small files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from nodes.errors import ResourceError


def write_atomic(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file of mode 0600 so that readers see the old content, the new, or none, but never a part.

    `durable` waits for the disk, so that this holds after a loss of power too.

    Raises:
        ResourceError: The disk is full or not writable; `retryable`. The message names no path.
    """
    try:
        temporary = write_temporary(path.parent, data, durable=durable)
        try:
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(error) from error


def write_temporary(folder: Path, data: bytes, *, durable: bool = False) -> Path:
    """Write a new file of mode 0600 into `folder`, which is made when it is not there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The dot keeps it out of every listing if the process dies before the rename.
    handle, name = tempfile.mkstemp(dir=folder, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(handle)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def cannot_write(error: OSError) -> ResourceError:
    """What a full or read-only disk becomes."""
    refused = ResourceError(f"the data directory cannot be written: {error.strerror}", code="storage_failed")
    refused.retryable = True
    return refused
