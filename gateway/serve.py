"""The gateway process: `python -m innkeeper.gateway.serve [--fd N]`. Everything else comes from `INNKEEPER_*`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import resource
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.process.critical_tasks import end_process_with_tasks
from innkeeper.nodes.process.loading import collector_paused, without_pydantic_plugins

if TYPE_CHECKING:
    from innkeeper.gateway.settings import Settings

logger = logging.getLogger("innkeeper.gateway")

MAX_OPEN_FILES = 65_536


class CannotStart(InnkeeperError):
    """The gateway's parts could not be put together."""

    code = "cannot_start"


def serve(settings: Settings, sock: socket.socket) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT.

    Raises:
        InnkeeperError: It could not start, and why.
    """
    with collector_paused():
        import uvicorn

        from innkeeper.gateway.app import create_app
        from innkeeper.gateway.process.uvicorn_config import server_config

        app = create_app(settings)
    try:
        uvicorn.Server(server_config(app)).run(sockets=[sock])
    except SystemExit:
        if app.failure is not None:
            raise _reason(app.failure) from app.failure
        raise


def _reason(failure: Exception) -> InnkeeperError:
    from innkeeper.gateway.errors import internal_error

    if isinstance(failure, InnkeeperError):
        return failure
    return CannotStart(f"the gateway cannot start: {internal_error(failure)['error']}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gateway; exit code 1 and one sentence on stderr when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m innkeeper.gateway.serve")
    parser.add_argument("--fd", type=int, help="an inherited listening socket, instead of INNKEEPER_HOST and _PORT")
    fd = parser.parse_args(arguments).fd
    os.umask(0o077)  # before anything is made: databases and logs are for this user only
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
    with collector_paused(), without_pydantic_plugins():
        from innkeeper.gateway.process.data_dir import DEFAULT_DATA_DIR, own_default
        from innkeeper.gateway.process.listening_socket import listen, url_of
        from innkeeper.gateway.settings import Settings, worker_token
        from innkeeper.nodes.process.logging import configure
        from innkeeper.nodes.process.redaction import secrets_of
        from innkeeper.nodes.process.variables import unknown_variables
        from innkeeper.workflows.connection import connect_config, connection_secrets, described

    settings = Settings.load()
    if settings.data_dir == DEFAULT_DATA_DIR and not os.environ.get("INNKEEPER_DATA_DIR"):
        own_default()
    if fd is not None:
        sock = held.enter_context(socket.socket(fileno=fd))
    else:
        sock = held.enter_context(listen(settings.host, settings.port))
        _hold_data_dir(settings, url_of(sock), held)
    # The token of the data directory is in no variable, nor is a key in Temporal's profile file.
    secrets = {worker_token(settings), *secrets_of(os.environ), *connection_secrets(os.environ)}
    configure(settings.log_level, settings.log_format, secrets=secrets)
    # Now, not at the first try: what is wrong with it does not mend itself.
    connection = connect_config(settings.temporal_address, settings.namespace, os.environ)
    for sentence in unknown_variables(os.environ):
        logger.warning(sentence)
    _allow_many_files()
    end_process_with_tasks()
    logger.info("the gateway listens at %s", url_of(sock), extra={"event": "listening"})
    logger.info("it uses %s", described(connection), extra={"event": "temporal"})
    serve(settings, sock)


def _allow_many_files() -> None:
    """Each connection is an open file; what a shell allows at first is soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _hold_data_dir(settings: Settings, url: str, held: contextlib.ExitStack) -> None:
    """A gateway of its own holds the data directory itself; under a supervisor, the supervisor does."""
    from innkeeper.gateway.process.data_dir import DataDir, DataLock

    lock = DataLock.acquire(DataDir.open(settings.data_dir))
    held.callback(lock.release)
    facts: dict[str, object] = {
        "pid": os.getpid(),
        "address": url,
        "host": settings.host,
        "temporal": settings.temporal_address,
    }
    facts["embedded"] = settings.temporal_embedded
    lock.tell({key: value for key, value in facts.items() if value})


if __name__ == "__main__":
    sys.exit(main())
