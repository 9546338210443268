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
from functools import partial
from typing import Any

from innkeeper.nodes.process.loading import pause_collector, resume_collector

if __name__ == "__main__":  # before the imports, which it is about
    pause_collector()

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker, WorkerDeploymentConfig

from innkeeper.activities.callbacks import CallbackActivities
from innkeeper.activities.engine_activities import EngineActivities
from innkeeper.activities.execution.execute_node import ExecuteNode
from innkeeper.activities.execution.execute_segment import ExecuteSegment
from innkeeper.activities.execution.memory_budget import MemoryBudget
from innkeeper.activities.execution.values import Values
from innkeeper.activities.link.event_sink import LinkSink
from innkeeper.activities.link.gateway_link import GatewayLink, NullLink
from innkeeper.activities.loop_watchdog import LoopWatchdog
from innkeeper.activities.payload_visits import spare_payload_visits
from innkeeper.activities.placement.node_host import NodeHost
from innkeeper.activities.placement.node_process import NodeProcesses
from innkeeper.activities.placement.node_threads import NodeThreads
from innkeeper.activities.process_end import run_to_end, stop_on_signals
from innkeeper.activities.run_starter import RunStarter
from innkeeper.activities.services import ServicesForRuns
from innkeeper.activities.settings import DEFAULT_QUEUE, SettingsError, WorkerSettings, worker_token
from innkeeper.activities.sticky_queues import StickyQueueReset
from innkeeper.activities.trigger_activities import TriggerActivities
from innkeeper.nodes.catalogue.live import LiveCatalogue
from innkeeper.nodes.catalogue.plugin_settings import PluginSettings, load_plugin_settings
from innkeeper.nodes.catalogue.plugin_states import disabled_plugins
from innkeeper.nodes.catalogue.plugins import Catalogue, load_catalogue
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.process.critical_tasks import end_process_with_tasks, run_critical
from innkeeper.nodes.process.life_sign import give_life_signs
from innkeeper.nodes.process.logging import configure, prints_to_log
from innkeeper.nodes.process.redaction import secrets_of
from innkeeper.nodes.process.variables import unknown_variables
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.nodes.services.ownership import check_own
from innkeeper.nodes.services.payload_keys import open_payload_keys
from innkeeper.nodes.services.results import FolderResults
from innkeeper.nodes.services.secrets import load_or_create_key
from innkeeper.nodes.services.signing_keys import SIGNING_FILE, SigningKeys
from innkeeper.nodes.worker_protocol import StartPlace
from innkeeper.workflows.connection import connect_config, connection_secrets, described
from innkeeper.workflows.engine.all_workflows import RUN_TYPE, WORKFLOWS
from innkeeper.workflows.engine.callback_workflow import CALLBACK_QUEUE
from innkeeper.workflows.engine.event_sink import install_event_sink
from innkeeper.workflows.engine.signature_check import install_signer
from innkeeper.workflows.engine.signing_interceptors import SigningInterceptor
from innkeeper.workflows.namespace import namespace_facts, namespace_id, objection
from innkeeper.workflows.payload_codec import EncryptionCodec
from innkeeper.workflows.signing import Signer

log = logging.getLogger("innkeeper.worker")

CONNECT_S = 30.0
CONNECT_AGAIN_S = 0.03
"""Whoever has started the server and this process waits for both."""
STREAM_SLOTS = 1_000
CALLBACK_SLOTS = 20
_THROTTLE = timedelta(seconds=1)
"""Bounds how late a cancel arrives and how old the last heartbeat can be."""


def codec_of(settings: WorkerSettings, environ: Mapping[str, str]) -> EncryptionCodec | None:
    """What encrypts and decrypts payloads; None: nothing is, and nothing was. Blocking. Raises PayloadKeysUnusable."""
    encrypts = settings.encrypts_payloads
    secret = load_or_create_key(settings.data_dir, environ)
    keys = open_payload_keys(settings.data_dir, secret, encrypts=encrypts)
    return None if keys is None else EncryptionCodec(keys, encrypts=encrypts)


async def connect(settings: WorkerSettings, environ: Mapping[str, str], stop: asyncio.Event) -> Client | None:
    """A client of the Temporal server, which may still be starting: tries for 30 s. None when told to stop.

    Raises:
        ConnectionInvalid, PayloadKeysUnusable: To try that again is in vain.
        SettingsError: There is no server, or none that runs can live on.
    """
    codec = await asyncio.to_thread(codec_of, settings, environ)
    config = connect_config(settings.temporal_address, settings.namespace, environ, codec=codec)
    deadline = asyncio.get_running_loop().time() + CONNECT_S
    while not stop.is_set():
        try:
            client = await Client.connect(**config)
            facts = await namespace_facts(client)
            if not settings.temporal_embedded and (problem := objection(facts, client.namespace)):
                raise SettingsError(problem, code="temporal_unfit")
            is_late = asyncio.get_running_loop().time() > deadline
            if facts.exists is not False or is_late:  # the embedded server makes it a moment after it listens
                return client
        except (RuntimeError, RPCError) as error:
            if asyncio.get_running_loop().time() > deadline:
                message = f"no answer from {described(config)}; start a server with 'innkeeper up'"
                raise SettingsError(message, code="temporal_unreachable") from error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_AGAIN_S):
                await stop.wait()
    return None


def deployment_of(settings: WorkerSettings) -> WorkerDeploymentConfig | None:
    """The build that these workers are of: a run begun on it is pinned to it. None: they are not versioned."""
    if settings.deployment is None or settings.build_id is None:
        return None
    version = WorkerDeploymentVersion(settings.deployment, settings.build_id)
    return WorkerDeploymentConfig(version, True, default_versioning_behavior=VersioningBehavior.PINNED)


@dataclass(frozen=True)
class Activities:
    """What the workers of this process offer to workflows."""

    node: ExecuteNode
    segment: ExecuteSegment
    engine: EngineActivities
    triggers: TriggerActivities
    callbacks: CallbackActivities


def build_workers(client: Client, settings: WorkerSettings, activities: Activities) -> tuple[Worker, ...]:
    """One worker per queue, and one per `<queue>.streams`, whose nodes wait more than they work; one for callbacks,
    whose receivers may hang."""
    common: dict[str, Any] = {
        "max_heartbeat_throttle_interval": _THROTTLE,
        "default_heartbeat_throttle_interval": _THROTTLE,
        "graceful_shutdown_timeout": timedelta(seconds=settings.stop_grace_s),
        "interceptors": [SigningInterceptor(), StickyQueueReset(client)],
        "deployment_config": deployment_of(settings),
    }
    # The next workflow task of a run waits this long for a worker that has died before another one gets it.
    sticky = timedelta(seconds=2)
    main = Worker(
        client,
        task_queue=DEFAULT_QUEUE,
        workflows=WORKFLOWS,
        activities=[
            activities.node.execute_node,
            activities.segment.execute_segment,
            *activities.engine.activities(),
            *activities.triggers.activities(),
        ],
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
    callbacks = Worker(
        client,
        task_queue=f"{DEFAULT_QUEUE}.{CALLBACK_QUEUE}",
        activities=activities.callbacks.activities(),
        max_concurrent_activities=CALLBACK_SLOTS,
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(1),
        **common,
    )
    return (
        main,
        callbacks,
        *(
            Worker(
                client,
                task_queue=queue,
                activities=[activities.node.execute_node],
                max_concurrent_activities=slots,
                activity_task_poller_behavior=PollerBehaviorSimpleMaximum(2),
                **common,
            )
            for queue, slots in further
        ),
    )


def build_link(settings: WorkerSettings) -> GatewayLink:
    if not settings.gateway_url:
        return NullLink()
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    return GatewayLink(
        settings.gateway_url,
        worker_token(settings),
        worker_id,
        queues=(DEFAULT_QUEUE, *settings.queues),
        flush_timeout_s=settings.flush_timeout_s,
    )


class Replacement:
    """Whether this process is to be replaced by a fresh one when it has stopped: a node has ruined it."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self.is_due = False

    def ask(self, reason: str) -> None:
        """Stop as at SIGTERM, and start again."""
        log.error("this worker process is replaced: %s", reason)
        self.is_due = True
        self._stop.set()


def start_again() -> None:
    """Become a fresh worker: the same process to whoever supervises it, without any of the threads of this one."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


async def run(settings: WorkerSettings, environ: Mapping[str, str]) -> bool:
    """Serve until SIGTERM or SIGINT; then finish what runs within the grace, hand the rest back, and flush events.

    Gives whether a fresh process is to go on in place of this one.
    """
    stop = asyncio.Event()
    replacement = Replacement(stop)
    stop_on_signals(stop, settings.stop_grace_s)
    life = run_critical(give_life_signs(environ), "life-signs")
    try:
        # Temporal may still be starting: node modules load meanwhile.
        client, catalogue = await asyncio.gather(
            connect(settings, environ, stop), asyncio.to_thread(_load_catalogue, settings)
        )
        if client is not None:
            parts = Parts(
                client,
                catalogue,
                NodeHost(NodeThreads(settings.block_limit_s, replacement.ask), NodeProcesses(settings.node_memory_mb)),
            )
            await _serve(settings, environ, parts, stop)
    finally:
        life.cancel()
    return replacement.is_due


def _load_catalogue(settings: WorkerSettings) -> Catalogue:
    return load_catalogue(settings.plugins, disabled=disabled_plugins(settings.data_dir))


@dataclass(frozen=True)
class Parts:
    """What a worker is made of that is there before it serves."""

    client: Client
    catalogue: Catalogue
    host: NodeHost


async def _serve(settings: WorkerSettings, environ: Mapping[str, str], parts: Parts, stop: asyncio.Event) -> None:
    client, catalogue = parts.client, LiveCatalogue(parts.catalogue, keeps_missing=True)
    plugin_settings = load_plugin_settings(catalogue.plugins, settings.data_dir)
    blobs = FolderBlobs(settings.data_dir / "blobs")
    values = Values(blobs)
    services = ServicesForRuns(
        settings,
        blobs,
        environ,
        engine_address=client.service_client.config.target_host,
        plugin_adapters=lambda: catalogue.adapters,
    )
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
        plugin_settings=plugin_settings,
        host=parts.host,
    )
    activities = Activities(
        execute,
        ExecuteSegment(execute, link),
        engine_activities,
        TriggerActivities(services.door),
        CallbackActivities(services.http, services.secrets_of),
    )
    workers = build_workers(client, settings, activities)

    link.load_plugins_by(partial(_load_plugins_anew, settings, catalogue, plugin_settings))
    await _offer_to_start_runs(link, client, settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(services.aclose)
        link.start()
        stack.push_async_callback(link.stop)
        install_event_sink(LinkSink(link, asyncio.get_running_loop()))
        secret = load_or_create_key(settings.data_dir, environ)
        install_signer(Signer(SigningKeys(settings.data_dir / SIGNING_FILE, secret)))
        stack.push_async_callback(parts.host.aclose)
        stack.callback(LoopWatchdog(replace_after_s=settings.block_limit_s, replace=start_again).stop)
        running = [asyncio.create_task(worker.run()) for worker in workers]
        stack.push_async_callback(_shut_down, workers, running)
        stack.callback(link.start_no_runs)
        # Importing the provider's library takes most of a second: not in the first node that needs it.
        warming = asyncio.create_task(services.warm_up())
        stack.callback(warming.cancel)
        warming.add_done_callback(lambda _: resume_collector())  # what it has imported stays too
        resume_collector()
        log.info("worker ready", extra={"queues": [DEFAULT_QUEUE, *settings.queues]})
        stopping = asyncio.create_task(stop.wait())
        stack.callback(stopping.cancel)
        await asyncio.wait((stopping, *running), return_when=asyncio.FIRST_COMPLETED)
        log.info("worker stopping")


async def _load_plugins_anew(
    settings: WorkerSettings, catalogue: LiveCatalogue, plugin_settings: dict[str, PluginSettings]
) -> None:
    """What runs goes on with the functions that it began with; what begins afterwards gets the new ones."""
    found = await asyncio.to_thread(_load_catalogue, settings)
    changed = await asyncio.to_thread(load_plugin_settings, found.plugins, settings.data_dir)
    catalogue.replace(found)
    # Those of types that are gone stay, as the types themselves do.
    for node in found.get_definitions():
        plugin_settings.pop(node.full_type, None)
    plugin_settings.update(changed)
    log.info("plugins loaded anew", extra={"event": "plugins_loaded"})


async def _offer_to_start_runs(link: GatewayLink, client: Client, settings: WorkerSettings) -> None:
    # In a deployment Temporal decides which build a new run is pinned to, and not who starts it.
    if deployment_of(settings) is None and (namespace := await namespace_id(client)):
        place = StartPlace(DEFAULT_QUEUE, namespace)
        link.start_runs_by(place, RunStarter(client, RUN_TYPE, DEFAULT_QUEUE).start)


async def _shut_down(workers: Sequence[Worker], running: Sequence[asyncio.Task[None]]) -> None:
    """All at once: each has its own grace. Raises what ended a worker before its time."""
    alive = [worker for worker, task in zip(workers, running, strict=True) if not task.done()]
    await asyncio.gather(*(worker.shutdown() for worker in alive), return_exceptions=True)
    await asyncio.gather(*running)


def _set_up_logging(settings: WorkerSettings, environ: Mapping[str, str]) -> None:
    configure(settings.log_level, settings.log_format, secrets=secrets_of(environ) | connection_secrets(environ))
    for sentence in unknown_variables(environ):
        log.warning(sentence)


def main() -> int:
    end_process_with_tasks()
    spare_payload_visits()
    os.umask(0o077)  # before anything is made: files of a run are for this user only
    try:
        settings = WorkerSettings.load(os.environ)
        if not os.environ.get("INNKEEPER_DATA_DIR"):
            check_own(settings.data_dir)
        _set_up_logging(settings, os.environ)
        sys.stdout = sys.stderr = prints_to_log(logging.getLogger("innkeeper.print"))  # nodes print what they are shown
        if run_to_end(run(settings, os.environ)):
            start_again()
    except InnkeeperError as error:
        print(error.message, file=sys.__stderr__)
        return 1
    except (RuntimeError, OSError) as error:
        # The engine's own words, such as an unknown namespace; its traceback helps nobody but us.
        log.debug("worker failed", exc_info=True)
        print(f"the worker cannot run: {str(error).splitlines()[0]}", file=sys.__stderr__)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
