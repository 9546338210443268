"""The gateway process: `python -m gateway.serve [--fd N]`. Everything else comes from `INNKEEPER_*`."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nodes.errors import InnkeeperError

if TYPE_CHECKING:
    from gateway.settings import Settings

MAX_FRAME_BYTES = 8 * 1024 * 1024
STOP_S = 3
"""Seconds that open requests and event streams get when the gateway is asked to stop."""


def serve(settings: Settings, sock: socket.socket) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT."""
    import uvicorn

    from gateway.app import create_app

    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        # Frames are small and local: compressing them costs more than it saves.
        ws_per_message_deflate=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
    )
    uvicorn.Server(config).run(sockets=[sock])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gateway; exit code 1 and one sentence on stderr when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m gateway.serve")
    parser.add_argument("--fd", type=int, help="an inherited listening socket, instead of INNKEEPER_HOST and _PORT")
    fd = parser.parse_args(arguments).fd
    try:
        with contextlib.ExitStack() as held:
            _run(fd, held)
    except InnkeeperError as error:
        print(error.message, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _run(fd: int | None, held: contextlib.ExitStack) -> None:
    from gateway.listen import listen, url_of
    from gateway.logs import configure
    from gateway.settings import Settings, worker_token

    settings = Settings.load()
    if fd is not None:
        sock = held.enter_context(socket.socket(fileno=fd))
    else:
        sock = held.enter_context(listen(settings.host, settings.port))
        _hold_data_dir(settings, url_of(sock), held)
    configure(settings.log_level, tuple(filter(None, (settings.access_token, worker_token(settings)))))
    serve(settings, sock)


def _hold_data_dir(settings: Settings, url: str, held: contextlib.ExitStack) -> None:
    """A gateway of its own holds the data directory itself; under a supervisor, the supervisor does."""
    from gateway.data_dir import DataDir, DataLock

    lock = DataLock.acquire(DataDir.open(settings.data_dir))
    held.callback(lock.release)
    facts = {"pid": os.getpid(), "address": url, "temporal": settings.temporal_address}
    lock.tell({key: value for key, value in facts.items() if value})


if __name__ == "__main__":
    sys.exit(main())
