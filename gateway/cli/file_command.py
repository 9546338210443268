"""`innkeeper put | get | ls`: files between this machine and a gateway."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from innkeeper.gateway.client import GatewayClient, InvalidAddress
from innkeeper.nodes.errors import InnkeeperError

STANDARD_OUTPUT = Path("-")


class FileTrouble(InnkeeperError):
    """A file of this machine cannot be used as asked for."""

    code = "file_trouble"


async def put_file(client: GatewayClient, file: Path, logical_path: str, *, overwrite: bool) -> dict[str, Any]:
    """Upload a file; a logical path that ends with `/` takes the file's own name.

    Raises:
        FileTrouble: There is no such file here.
        GatewayAway, GatewayRefused, InvalidAddress.
    """
    _check_there(file)
    path = logical_path + file.name if logical_path.endswith("/") else logical_path
    return await client.files.put(path, file, overwrite=overwrite)


def _check_there(file: Path) -> None:
    if not file.is_file():
        what = "a folder: upload its files one by one" if file.is_dir() else "not there: check the path"
        raise FileTrouble(f"{str(file)!r} is {what}")


def put_line(written: dict[str, Any]) -> str:
    done = "written" if written.get("created") else "replaced"
    return f"{written.get('path')} {done} ({written.get('size', 0):,} bytes)"


async def get_file(client: GatewayClient, logical_path: str, file: Path | None, *, force: bool) -> str:
    """Download a file, whole or not at all, and say what was done.

    Raises:
        FileTrouble: There is a file already and `force` is not given, or no name to use.
        GatewayAway, GatewayRefused, InvalidAddress.
    """
    if file == STANDARD_OUTPUT:
        size = await client.files.get(logical_path, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return f"{logical_path} ({size:,} bytes)"
    target = _target(logical_path, file)
    if target.exists() and not force:
        raise FileTrouble(f"there is a {str(target)!r} already: --force replaces it, or name another file")
    size = await _download(client, logical_path, target)
    return f"{target} written ({size:,} bytes)"


def _target(logical_path: str, file: Path | None) -> Path:
    name = logical_path.rpartition("/")[2]
    if not name:
        raise InvalidAddress(f"{logical_path!r} names a folder: name one of its files ('innkeeper ls' lists them)")
    if file is None:
        return Path(name)
    return file / name if file.is_dir() else file


async def _download(client: GatewayClient, logical_path: str, target: Path) -> int:
    # Beside its place, so that what breaks off in the middle replaces nothing.
    handle, name = await asyncio.to_thread(tempfile.mkstemp, dir=target.parent, prefix=".innkeeper-")
    try:
        with os.fdopen(handle, "wb") as stream:
            size = await client.files.get(logical_path, stream)
        os.replace(name, target)
        return size
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


async def list_below(client: GatewayClient, prefix: str) -> list[dict[str, Any]]:
    """All files below a folder."""
    return await client.files.list_below(prefix)


def upload_hint(prefix: str) -> str:
    """How to get a first file into an empty folder; nobody uploads to `system://`, which is the operator's."""
    if prefix.startswith("system:"):
        return "; the operator puts them there"
    folder = prefix if prefix.endswith("/") else f"{prefix}/"
    return f": 'innkeeper put FILE {folder}' uploads one"
