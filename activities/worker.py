"""The worker process: the composition root where nodes, activities and the workflow meet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

from innkeeper.activities.engine_activities import EngineActivities
from innkeeper.activities.execution.execute_node import ExecuteNode
from innkeeper.activities.execution.execute_segment import ExecuteSegment
from innkeeper.activities.execution.memory_budget import MemoryBudget
from innkeeper.activities.execution.values import Values
from innkeeper.activities.link.event_sink import LinkSink
from innkeeper.activities.link.gateway_link import GatewayLink, NullLink
from innkeeper.activities.loop_watchdog import LoopWatchdog
from innkeeper.activities.process_end import run_to_end, stop_on_signals
from innkeeper.activities.services import ServicesForRuns
from innkeeper.activities.settings import DEFAULT_QUEUE, SettingsError, WorkerSettings
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.plugin_settings import load_plugin_settings
from innkeeper.nodes.plugins import Catalogue, load_catalogue
from innkeeper.nodes.process.critical_tasks import end_process_with_tasks, run_critical
from innkeeper.nodes.process.life_sign import give_life_signs
from innkeeper.nodes.process.logging import configure
from innkeeper.nodes.process.redaction import secrets_of
from innkeeper.nodes.process.variables import unknown_variables
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.nodes.services.ownership import check_own
from innkeeper.nodes.services.results import FolderResults
from innkeeper.workflows.connection import connect_config
from innkeeper.workflows.engine.event_sink import install_event_sink
from innkeeper.workflows.engine.graph_workflow import GraphWorkflow

log = logging.getLogger("innkeeper.worker")

CONNECT_S = 30.0
STREAM_SLOTS = 1_000
_THROTTLE = timedelta(seconds=1)
"""Bounds how late a cancel arrives and how old the last heartbeat can be."""


async def connect(settings: WorkerSettings, stop: asyncio.Event) -> Client | None:
    """A client of the Temporal server, which may still be starting: tries for 30 s. None when told to stop."""
    config = connect_config(settings.temporal_address, settings.namespace)
    deadline = asyncio.get_running_loop().time() + CONNECT_S
    while not stop.is_set():
        try:
            return await Client.connect(**config)
        except RuntimeError as error:
            if asyncio.get_running_loop().time() > deadline:
                message = f"no Temporal server at {config['target_host']}; start one with 'innkeeper up'"
                raise SettingsError(message, code="temporal_unreachable") from error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await stop.wait()
    return None


@dataclass(frozen=True)
class Activities:
    """What the workers of this process offer to workflows."""

    node: ExecuteNode
    segment: ExecuteSegment
    engine: EngineActivities


def build_workers(client: Client, settings: WorkerSettings, activities: Activities) -> tuple[Worker, ...]:
    """One worker per queue, and one per `<queue>.streams`, whose nodes wait more than they work."""
    common: dict[str, Any] = {
        "max_heartbeat_throttle_interval": _THROTTLE,
        "default_heartbeat_throttle_interval": _THROTTLE,
        "graceful_shutdown_timeout": timedelta(seconds=settings.stop_grace_s),
    }
    # The next workflow task of a run waits this long for a worker that has died before another one gets it.
    sticky = timedelta(seconds=2)
    main = Worker(
        client,
        task_queue=DEFAULT_QUEUE,
        workflows=[GraphWorkflow],
        activities=[activities.node.execute_node, activities.segment.execute_segment, *activities.engine.activities()],
        workflow_task_executor=ThreadPoolExecutor(4, thread_name_prefix="workflow"),
        max_concurrent_activities=settings.max_activities,
        max_cached_workflows=settings.max_cached_workflows,
        max_eager_activity_reservations_per_workflow_task=100,
        sticky_queue_schedule_to_start_timeout=sticky,
        **common,
    )
    further = [(f"{DEFAULT_QUEUE}.streams", STREAM_SLOTS)]
    for queue in settings.queues:
        further += [(queue, settings.max_activities), (f"{queue}.streams", STREAM_SLOTS)]
    return main, *(
        Worker(
            client,
            task_queue=queue,
            activities=[activities.node.execute_node],
            max_concurrent_activities=slots,
            activity_task_poller_behavior=PollerBehaviorSimpleMaximum(2),
            **common,
        )
        for queue, slots in further
    )


def build_link(settings: WorkerSettings) -> GatewayLink:
    if not settings.gateway_url:
        return NullLink()
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    return GatewayLink(
        settings.gateway_url,
        _worker_token(settings),
        worker_id,
        queues=(DEFAULT_QUEUE, *settings.queues),
        flush_timeout_s=settings.flush_timeout_s,
    )


def _worker_token(settings: WorkerSettings) -> str:
    if settings.worker_token:
        return settings.worker_token.get_secret_value()
    path = settings.data_dir / "worker.token"
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        message = f"no worker token: {path.name} in the data directory is not readable; start the gateway first"
        raise SettingsError(message, code="no_worker_token") from error


async def run(settings: WorkerSettings, environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT; then finish what runs within the grace, hand the rest back, and flush events."""
    stop = asyncio.Event()
    stop_on_signals(stop, settings.stop_grace_s)
    life = run_critical(give_life_signs(environ), "life-signs")
    try:
        # Temporal may still be starting: node modules load meanwhile.
        client, catalogue = await asyncio.gather(
            connect(settings, stop), asyncio.to_thread(load_catalogue, settings.plugins)
        )
        if client is not None:
            await _serve(settings, environ, client=client, catalogue=catalogue, stop=stop)
    finally:
        life.cancel()


async def _serve(
    settings: WorkerSettings, environ: Mapping[str, str], *, client: Client, catalogue: Catalogue, stop: asyncio.Event
) -> None:
    blobs = FolderBlobs(settings.data_dir / "blobs")
    values = Values(blobs)
    services = ServicesForRuns(settings, blobs, environ)
    link = build_link(settings)
    engine_activities = EngineActivities(values, client)
    max_age_s = settings.result_days * 86_400
    results = FolderResults(
        settings.data_dir / "results", blobs.keep, max_bytes=settings.result_bytes, max_age_s=max_age_s
    )
    memory_budget = MemoryBudget(settings.input_room_mb * 1_000_000)
    execute = ExecuteNode(
        catalogue,
        services,
        link,
        values,
        requery=engine_activities.requery,
        results=results,
        memory_budget=memory_budget,
        plugin_settings=load_plugin_settings(catalogue.plugins, settings.data_dir),
    )
    activities = Activities(execute, ExecuteSegment(execute, link), engine_activities)
    workers = build_workers(client, settings, activities)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(services.aclose)
        link.start()
        stack.push_async_callback(link.stop)
        install_event_sink(LinkSink(link, asyncio.get_running_loop()))
        stack.callback(LoopWatchdog().stop)
        running = [asyncio.create_task(worker.run()) for worker in workers]
        stack.push_async_callback(_shut_down, workers, running)
        # Importing the provider's library takes most of a second: not in the first node that needs it.
        warming = asyncio.create_task(services.warm_up())
        stack.callback(warming.cancel)
        log.info("worker ready", extra={"queues": [DEFAULT_QUEUE, *settings.queues]})
        stopping = asyncio.create_task(stop.wait())
        stack.callback(stopping.cancel)
        await asyncio.wait((stopping, *running), return_when=asyncio.FIRST_COMPLETED)
        log.info("worker stopping")


async def _shut_down(workers: Sequence[Worker], running: Sequence[asyncio.Task[None]]) -> None:
    """All at once: each has its own grace. Raises what ended a worker before its time."""
    alive = [worker for worker, task in zip(workers, running, strict=True) if not task.done()]
    await asyncio.gather(*(worker.shutdown() for worker in alive), return_exceptions=True)
    await asyncio.gather(*running)


def _set_up_logging(settings: WorkerSettings, environ: Mapping[str, str]) -> None:
    configure(settings.log_level, settings.log_format, secrets=secrets_of(environ))
    for sentence in unknown_variables(environ):
        log.warning(sentence)


def main() -> int:
    end_process_with_tasks()
    os.umask(0o077)  # before anything is made: files of a run are for this user only
    try:
        settings = WorkerSettings.load(os.environ)
        if not os.environ.get("INNKEEPER_DATA_DIR"):
            check_own(settings.data_dir)
        _set_up_logging(settings, os.environ)
        run_to_end(run(settings, os.environ))
    except InnkeeperError as error:
        print(error.message, file=sys.stderr)
        return 1
    except (RuntimeError, OSError) as error:
        # The engine's own words, such as an unknown namespace; its traceback helps nobody but us.
        log.debug("worker failed", exc_info=True)
        print(f"the worker cannot run: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
