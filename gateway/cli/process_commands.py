"""Commands that run parts of Innkeeper until they are stopped.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from innkeeper.gateway.cli.base import (
    DEFAULT_PORT,
    DataDirectory,
    Host,
    Plugins,
    Port,
    Processes,
    Temporal,
    Url,
    Workers,
    console,
    data_folder,
    log_to_stderr,
    open_in_browser,
    path_list,
    plugin_paths,
    without_none,
)

if TYPE_CHECKING:
    pass


def up(
    *,
    data_dir: DataDirectory = None,
    host: Host = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    workers: Workers = 1,
    temporal: Temporal = None,
    plugins: Plugins = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Load the plugins anew when their files change, for those who write them.")
    ] = False,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the console in a browser as soon as it is ready.")
    ] = False,
) -> None:
    """Run everything: Temporal server, gateway and workers. Ctrl-C stops it, killed parts start again.

    With --temporal, TEMPORAL_ADDRESS or TEMPORAL_PROFILE it runs gateway and workers on that server instead.

    Example: innkeeper up --workers 4
    """
    from innkeeper.gateway.cli.signals import Stopping
    from innkeeper.nodes.process.loading import without_pydantic_plugins

    with without_pydantic_plugins():
        from innkeeper.gateway.process.local_stack import StackOptions, stay_up
        from innkeeper.gateway.process.temporal_access import server_of

    log_to_stderr()
    server = server_of(temporal, os.environ)
    folder = data_folder(data_dir)
    options = StackOptions(folder, host, port, workers, plugin_paths(plugins), temporal=server, watch=watch)
    stopping = Stopping()
    show = open_in_browser if open_page else None
    code = stopping.run(stay_up(options, lambda line: console().print(line, highlight=False, soft_wrap=True), show))
    if stopping.signal is not None:  # being stopped is how it ends
        console().print("Innkeeper has stopped.", highlight=False)
        code = 0
    raise typer.Exit(code)


def worker(
    *,
    data_dir: DataDirectory = None,
    temporal: Temporal = None,
    url: Url = None,
    plugins: Plugins = None,
    processes: Processes = 1,
) -> None:
    """Run one or more further worker processes; without addresses they join what runs on the data directory.

    Example: innkeeper worker --processes 4
    """
    from innkeeper.gateway.process.data_dir import holder_of
    from innkeeper.gateway.process.temporal_access import joined

    holder = holder_of(data_folder(data_dir)) or {}
    env = {
        "INNKEEPER_DATA_DIR": str(data_folder(data_dir).absolute()),
        "INNKEEPER_GATEWAY_URL": url or os.environ.get("INNKEEPER_GATEWAY_URL") or holder.get("address"),
        # Nodes reach this machine only while the gateway serves it alone, which its address does not tell.
        "INNKEEPER_HOST": os.environ.get("INNKEEPER_HOST") or holder.get("host"),
        "INNKEEPER_PLUGINS": path_list(plugins),
    }
    # A program of its own: gateway code must not import what runs nodes.
    command = (sys.executable, "-P", "-m", "innkeeper.activities.worker")
    whole_env = {**joined(data_folder(data_dir), temporal, os.environ), **without_none(env)}
    if processes == 1:
        os.execve(command[0], command, whole_env)
    from innkeeper.gateway.cli.signals import Stopping
    from innkeeper.gateway.process.worker_pool import keep_workers

    log_to_stderr()
    stopping = Stopping()
    code = stopping.run(keep_workers(processes, command, whole_env))
    raise typer.Exit(0 if stopping.signal is not None else code)  # being stopped is how it ends


def gateway(
    *,
    data_dir: DataDirectory = None,
    host: Host = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    temporal: Temporal = None,
    plugins: Plugins = None,
) -> None:
    """Run a gateway alone, beside a Temporal server of your own.

    Example: innkeeper gateway --temporal 127.0.0.1:7233
    """
    from innkeeper.gateway.serve import main as serve

    env = {
        "INNKEEPER_DATA_DIR": str(data_folder(data_dir).absolute()),
        "INNKEEPER_HOST": host,
        "INNKEEPER_PORT": str(port),
        "INNKEEPER_TEMPORAL_ADDRESS": temporal,
        "INNKEEPER_PLUGINS": path_list(plugins),
    }
    os.environ.update(without_none(env))
    raise typer.Exit(serve([]))
