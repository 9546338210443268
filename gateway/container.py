"""Everything one gateway process is made of, put together in one place."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection

from innkeeper.gateway.deliveries.book import TriggerBook
from innkeeper.gateway.deliveries.callbacks import Callbacks
from innkeeper.gateway.deliveries.chains import Chains
from innkeeper.gateway.deliveries.events import Events
from innkeeper.gateway.deliveries.files import FileTriggers
from innkeeper.gateway.deliveries.intake import Intake
from innkeeper.gateway.deliveries.launches import Launches
from innkeeper.gateway.deliveries.received_files import ReceivedFiles
from innkeeper.gateway.deliveries.run_ends import RunEnds
from innkeeper.gateway.deliveries.schedules import Schedules
from innkeeper.gateway.deliveries.starter import Starter
from innkeeper.gateway.deliveries.trigger_checks import TriggerChecks
from innkeeper.gateway.deliveries.webhooks import Webhooks
from innkeeper.gateway.events.audit import audit
from innkeeper.gateway.events.clock import steady_s
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.log import EventLog, LogUnavailable
from innkeeper.gateway.events.sqlite import SqliteEventLog, create_log
from innkeeper.gateway.events.sqlite_schema import log_schema_problem
from innkeeper.gateway.events.worker_socket import WorkerSockets
from innkeeper.gateway.events.writer import LogWriter
from innkeeper.gateway.library.file_import import FileImport
from innkeeper.gateway.library.group_sync import GroupSync, LibraryParts
from innkeeper.gateway.library.group_watch import GroupInterfaces, GroupWatch
from innkeeper.gateway.library.library import Library
from innkeeper.gateway.library.lookup import WorkflowLookup
from innkeeper.gateway.library.projects import Projects
from innkeeper.gateway.metrics import Metrics
from innkeeper.gateway.plugins.service import PluginFolders, Plugins
from innkeeper.gateway.process.data_dir import DataDir
from innkeeper.gateway.realtime.client_socket import ClientSockets, SocketServices
from innkeeper.gateway.realtime.reader import EventReader
from innkeeper.gateway.realtime.run_updates import RunUpdates
from innkeeper.gateway.realtime.whole_values import WholeValues
from innkeeper.gateway.runs.admission import Admission
from innkeeper.gateway.runs.approvals import Approvals
from innkeeper.gateway.runs.external_events import ExternalEvents
from innkeeper.gateway.runs.finisher import RunFinisher
from innkeeper.gateway.runs.known_namespace import KnownNamespace
from innkeeper.gateway.runs.launcher import RunLauncher
from innkeeper.gateway.runs.open_runs import OpenRuns
from innkeeper.gateway.runs.pausing import RunControl
from innkeeper.gateway.runs.refusals import Refusals
from innkeeper.gateway.runs.reruns import Reruns
from innkeeper.gateway.runs.retention import Retention
from innkeeper.gateway.runs.run_details import RunDetails
from innkeeper.gateway.runs.run_list import RunList
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.service import Runs
from innkeeper.gateway.runs.signing_client import SigningClient
from innkeeper.gateway.runs.socket_runs import SocketRuns
from innkeeper.gateway.runs.start_request import StartRequests
from innkeeper.gateway.runs.stuck_runs import StuckRuns
from innkeeper.gateway.runs.temporal_client import TemporalLink
from innkeeper.gateway.runs.termination import Terminator
from innkeeper.gateway.salvage.database import DatabaseFile, boot_id
from innkeeper.gateway.salvage.heal import Databases
from innkeeper.gateway.settings import Settings, worker_token
from innkeeper.gateway.storage.channel_store import ChannelStore
from innkeeper.gateway.storage.garbage_collector import GarbageCollector
from innkeeper.gateway.storage.workflow_library import WorkflowFiles
from innkeeper.gateway.store.broadcasts import BroadcastStore
from innkeeper.gateway.store.callbacks import CallbackStore
from innkeeper.gateway.store.engine import UnknownSchema, create_store, ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.runs import ENDED, RunStore
from innkeeper.gateway.store.schema_check import store_schema_problem
from innkeeper.gateway.store.seen_files import SeenFileStore
from innkeeper.gateway.store.triggers import TriggerStore
from innkeeper.gateway.store.usage import UsageStore
from innkeeper.gateway.store.workflows import WorkflowStore
from innkeeper.gateway.store.write_batcher import WriteBatcher
from innkeeper.gateway.usage.budgets import Budgets
from innkeeper.gateway.usage.calls import CallAdmission
from innkeeper.gateway.usage.channel_limits import ChannelLimits
from innkeeper.gateway.usage.known_channels import KnownChannels
from innkeeper.gateway.usage.ledger import Ledger
from innkeeper.gateway.usage.limit_state import LIMITS_FILE, Clocks, LimitState
from innkeeper.gateway.usage.limiter import Limiter
from innkeeper.gateway.usage.limits import UserAmounts
from innkeeper.gateway.usage.prices import Prices
from innkeeper.gateway.usage.report import UsageReports
from innkeeper.nodes.catalogue.live import LiveCatalogue
from innkeeper.nodes.catalogue.plugin_states import disabled_plugins
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.process.critical_tasks import run_critical
from innkeeper.nodes.process.life_sign import give_life_signs
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.nodes.services.payload_keys import open_payload_keys
from innkeeper.nodes.services.resources import FolderResources
from innkeeper.nodes.services.secrets import SecretStore, load_or_create_key, tell_unreadable
from innkeeper.nodes.services.signing_keys import SIGNING_FILE, SigningKeys, create_signing_keys, heal_signing_keys
from innkeeper.workflows.document.budget import budget_of
from innkeeper.workflows.payload_codec import EncryptionCodec
from innkeeper.workflows.signing import Signer

logger = logging.getLogger("innkeeper.gateway")


class StoreUnusable(InnkeeperError):
    """A database of the data directory cannot be opened."""

    code = "store_unusable"


@dataclass(frozen=True)
class Container:
    """The parts that routes use."""

    settings: Settings
    catalogue: LiveCatalogue
    plugins: Plugins
    lookup: WorkflowLookup
    library: Library
    projects: Projects
    admission: Admission
    blobs: FolderBlobs
    log: EventLog
    writer: LogWriter
    reader: EventReader
    temporal: TemporalLink
    workers: WorkerSockets
    finisher: RunFinisher
    terminator: Terminator
    open_runs: OpenRuns
    stuck_runs: StuckRuns
    runs: Runs
    run_list: RunList
    run_details: RunDetails
    run_updates: RunUpdates
    launcher: RunLauncher
    retention: Retention
    control: RunControl
    approvals: Approvals
    external_events: ExternalEvents
    events: Events
    triggers: TriggerBook
    intake: Intake
    starter: Starter
    run_ends: RunEnds
    trigger_checks: TriggerChecks
    webhooks: Webhooks
    schedules: Schedules
    launches: Launches
    callbacks: Callbacks
    clients: ClientSockets
    codec: EncryptionCodec | None
    garbage_collector: GarbageCollector
    channels: ChannelStore
    secrets: SecretStore
    metrics: Metrics
    ledger: Ledger
    budgets: Budgets
    model_calls: CallAdmission
    usage: UsageReports


def container_of(connection: HTTPConnection) -> Container:
    """The gateway that serves this request."""
    container: Container = connection.app.state.container
    return container


@contextlib.asynccontextmanager
async def open_container(settings: Settings) -> AsyncIterator[Container]:
    """Put a gateway together, keep its tasks going, and take it apart in the opposite order."""
    async with contextlib.AsyncExitStack() as stack:
        databases = Databases(
            DatabaseFile(settings.store_path, boot_id(), store_schema_problem),
            DatabaseFile(settings.events_path, boot_id(), log_schema_problem),
            settings.user,
            create_store,
            create_log,
        )
        # From the start on: to save what can be read of a large database takes longer than a process may be silent.
        stack.push_async_callback(_stop, run_critical(give_life_signs(os.environ), "life-signs"))
        container = await _compose(settings, stack, databases)
        # Submissions that are waiting and runs that are open are taken up before the first client comes.
        await container.finisher.resume(log_has_holes=databases.log_was_damaged)
        stack.push_async_callback(container.finisher.stop)
        stack.push_async_callback(container.launcher.stop)
        stack.push_async_callback(container.control.stop)
        stack.push_async_callback(container.stuck_runs.stop)
        for name, work in {
            "temporal-watch": container.temporal.watch(),
            "run-launcher": container.launcher.keep_starting(),
            "run-updates": container.run_updates.keep_telling(),
            "terminator": container.terminator.keep_terminating(),
            "stuck-runs": container.stuck_runs.keep_looking(),
            "retention": container.retention.keep_clean(),
            "garbage-collector": container.retention.keep_collected(),
            "delivery-notes": container.intake.keep_noting(),
            "delivery-starter": container.starter.keep_starting(),
            "run-ends": container.run_ends.keep_telling(),
            "schedules": container.schedules.keep_equal(),
            "callbacks": container.callbacks.keep_sending(),
            "usage-ledger": container.ledger.keep_tidy(),
            "model-limits": container.model_calls.keep_sweeping(),
        }.items():
            stack.push_async_callback(_stop, run_critical(work, name))
        stack.push_async_callback(_stop, asyncio.create_task(container.control.recover(), name="pause-recovery"))
        recovery = run_critical(container.launcher.recover(), "places-recovery", may_return=True)
        stack.push_async_callback(_stop, recovery)
        stack.push_async_callback(container.external_events.stop)
        resuming = asyncio.create_task(container.external_events.resume(), name="broadcast-recovery")
        stack.push_async_callback(_stop, resuming)
        stack.push_async_callback(container.clients.close_all)
        stack.callback(container.workers.close_all)
        yield container


@dataclass(frozen=True)
class _Data:
    """What is kept of a data directory, opened."""

    root: Path
    store: RunStore
    broadcasts: BroadcastStore
    workflows: WorkflowStore
    triggers: TriggerStore
    callbacks: CallbackStore
    seen_files: SeenFileStore
    usage: UsageStore
    log: EventLog
    blobs: FolderBlobs
    secrets: SecretStore
    signer: Signer
    codec: EncryptionCodec | None


class _Stores(NamedTuple):
    """What is kept in the store, in the order of `_Data`."""

    store: RunStore
    broadcasts: BroadcastStore
    workflows: WorkflowStore
    triggers: TriggerStore
    callbacks: CallbackStore
    seen_files: SeenFileStore
    usage: UsageStore


async def _open_data(settings: Settings, stack: contextlib.AsyncExitStack, databases: Databases) -> _Data:
    root = DataDir.open(settings.data_dir).root
    await _healed(databases)
    # Called last when the gateway stops: the files are closed by then.
    stack.callback(databases.note_closed)
    stores = await _open_store(settings, stack, databases.store)
    log = await _open_log(settings, databases.log)
    stack.push_async_callback(log.close)
    databases.note_open()
    key = load_or_create_key(root, os.environ)
    secrets = SecretStore(root / "secrets", key)
    await asyncio.to_thread(tell_unreadable, secrets, root)
    signer = await _signer(root / SIGNING_FILE, key, stores.store)
    codec = await asyncio.to_thread(_codec, settings, root, key)
    return _Data(root, *stores, log, FolderBlobs(root / "blobs"), secrets, signer, codec)


async def _compose(settings: Settings, stack: contextlib.AsyncExitStack, databases: Databases) -> Container:
    data = await _open_data(settings, stack, databases)
    store, log, blobs = data.store, data.log, data.blobs
    hub = Hub(log)
    disabled = disabled_plugins(data.root)
    catalogue = LiveCatalogue(load_catalogue(settings.plugins, disabled=disabled))
    metrics = Metrics(lambda node_type: catalogue.get_node(node_type) is not None)
    open_runs = OpenRuns(
        lambda run: writer.state_in_memory(run),
        on_idle=lambda: launcher.wake() if settings.max_concurrent_runs is not None else None,
    )
    socket_runs = SocketRuns()
    for run, user in await store.open_over_socket():
        socket_runs.add(run, user)
    writer = LogWriter(
        log,
        hub,
        observers=[
            audit,
            open_runs.observe,
            socket_runs.observe,
            lambda events: callbacks.observe(events),
            lambda events: run_updates.observe(events),
            lambda events: model_calls.observe(events),
            lambda events: workers.observe(events),
        ],
        metrics=metrics,
    )
    await writer.start()
    stack.push_async_callback(writer.stop)
    lookup = WorkflowLookup(data.workflows)
    admission = Admission(catalogue, lookup, blobs, data.secrets, run_timeout_s=settings.run_timeout_s)
    library = _stored_workflows(settings, data, stack, catalogue=catalogue, lookup=lookup, admission=admission)
    temporal = TemporalLink(
        settings,
        [SigningClient(data.signer)],
        codec=data.codec,
        known_namespace=KnownNamespace(data.root / "temporal", data.store.running_count),
    )
    workers = WorkerSockets(writer, worker_token(settings))
    run_log = RunLog(log, writer)
    reader = EventReader(log, hub)
    book = TriggerBook(data.triggers, data.secrets)
    intake = Intake(book, data.triggers)
    run_ends = RunEnds(store)
    callbacks = Callbacks(store, data.callbacks, run_log, temporal, task_queue=settings.task_queue)

    async def run_closed(run: str) -> None:
        # First what the end left, then what follows from it: clients know this order from ComfyTavern.
        run_ends.closed(run)
        try:
            if clients.count:
                clients.broadcast("SYSTEM_QUEUE_UPDATE", await runs.queue_counts())
        finally:  # though nobody could be told, there is a place
            if settings.max_concurrent_runs is not None:
                launcher.wake()

    terminator = Terminator(store, temporal, is_launching=lambda run: launcher.is_launching(run))
    finisher = RunFinisher(
        store,
        run_log,
        workers,
        temporal,
        open_runs=open_runs,
        terminator=terminator,
        blobs=blobs,
        flush_timeout_s=settings.flush_timeout_s,
        on_closed=run_closed,
        tells=run_ends.is_awaited,
    )
    stuck_runs = StuckRuns(
        temporal,
        open_runs,
        queue=settings.task_queue,
        has_connected_worker=lambda: bool(workers.workers()),
    )
    control = RunControl(store, run_log, temporal, on_resumed=lambda: launcher.wake())
    reruns = Reruns(store, run_log, admission, catalogue=catalogue, blobs=blobs)
    workers.starts.on_late = finisher.started_late
    launcher = RunLauncher(
        settings,
        store,
        run_log,
        temporal,
        open_runs=open_runs,
        finisher=finisher,
        control=control,
        reruns=reruns,
        requests=StartRequests(settings, data.signer),
        worker_starts=workers.starts,
        latency=metrics.runs,
    )
    runs = Runs(
        store,
        run_log,
        temporal,
        finisher=finisher,
        launcher=launcher,
        reruns=reruns,
        terminator=terminator,
        open_runs=open_runs,
        stuck_runs=stuck_runs,
        socket_runs=socket_runs,
        pending=intake,
        callbacks=callbacks,
        max_waiting_runs=settings.max_waiting_runs,
    )
    refusals = Refusals(store, run_log, finisher)
    starter = await _automation(data, stack, book=book, intake=intake, run_ends=run_ends, runs=runs, refusals=refusals)
    launches = Launches(book, intake, runs, temporal, run_store=store, deliveries=data.triggers)
    run_ends.listeners.append(launches.hear_of_end)
    schedules = Schedules(book, intake, temporal, data.signer, task_queue=settings.task_queue)
    book.listeners.append(schedules.changed)
    external_events = ExternalEvents(store, run_log, temporal, data.broadcasts)
    await _telling(callbacks, run_ends)
    known_channels = KnownChannels(data.root)
    budgets, ledger, usage = _accounts(settings, data, known_channels)
    stack.push_async_callback(ledger.settled)
    model_calls = _model_calls(settings, data, known_channels, ledger=ledger, workers=workers)
    await model_calls.load()
    stack.push_async_callback(model_calls.close)
    garbage_collector, retention = _cleaning(settings, data, runs, library, ledger)
    run_list = RunList(store, run_log, stuck_runs, usage)
    run_updates = RunUpdates(settings.user, run_list, writer.state_in_memory)
    store.on_change, store.on_delete = run_updates.changed, run_updates.deleted
    clients = ClientSockets(
        SocketServices(
            runs=runs,
            refusals=refusals,
            reader=reader,
            values=WholeValues(blobs),
            socket_runs=socket_runs,
            run_updates=run_updates,
            user=settings.user,
            send_timeout_s=settings.send_timeout_s,
        )
    )
    return Container(
        settings=settings,
        catalogue=catalogue,
        plugins=Plugins(catalogue, _plugin_folders(settings, data), workers, clients.broadcast),
        lookup=lookup,
        library=library,
        projects=Projects(data.workflows),
        admission=admission,
        blobs=blobs,
        log=log,
        writer=writer,
        reader=reader,
        temporal=temporal,
        workers=workers,
        finisher=finisher,
        terminator=terminator,
        open_runs=open_runs,
        stuck_runs=stuck_runs,
        runs=runs,
        run_list=run_list,
        run_details=RunDetails(store, runs, blobs, catalogue=catalogue, user_id=settings.user),
        run_updates=run_updates,
        launcher=launcher,
        retention=retention,
        control=control,
        approvals=Approvals(store, run_log, temporal, budgets=budgets),
        external_events=external_events,
        events=Events(book, intake, store, external_events),
        triggers=book,
        intake=intake,
        starter=starter,
        run_ends=run_ends,
        trigger_checks=TriggerChecks(lookup, schedules),
        webhooks=Webhooks(book, intake, ReceivedFiles(lambda user: FolderResources(data.root, user))),
        schedules=schedules,
        launches=launches,
        callbacks=callbacks,
        clients=clients,
        codec=data.codec,
        garbage_collector=garbage_collector,
        channels=ChannelStore(data.root, data.secrets),
        secrets=data.secrets,
        metrics=metrics,
        ledger=ledger,
        budgets=budgets,
        model_calls=model_calls,
        usage=usage,
    )


def _stored_workflows(
    settings: Settings,
    data: _Data,
    stack: contextlib.AsyncExitStack,
    *,
    catalogue: LiveCatalogue,
    lookup: WorkflowLookup,
    admission: Admission,
) -> Library:
    """The library, with the task by which workflows follow their groups, and the files that it takes in."""
    interfaces = GroupInterfaces(catalogue, lookup)
    watch = GroupWatch(data.workflows, interfaces)
    library = Library(data.workflows, lookup, admission, watch)
    group_sync = GroupSync(LibraryParts(library, lookup, data.workflows, admission, catalogue), watch, interfaces)
    stack.push_async_callback(_stop, run_critical(group_sync.keep_following(), "group-sync"))
    files = FileImport(WorkflowFiles.of(data.root), library, data.workflows, lookup, user=settings.user)
    lookup.refresh = files.take_in
    stack.push_async_callback(_stop, asyncio.create_task(files.first_look(), name="file-import"))
    return library


async def _automation(
    data: _Data,
    stack: contextlib.AsyncExitStack,
    *,
    book: TriggerBook,
    intake: Intake,
    run_ends: RunEnds,
    runs: Runs,
    refusals: Refusals,
) -> Starter:
    """Triggers with what is known of them, and who makes runs of what comes for them."""

    async def is_open(run: str) -> bool:
        row = await data.store.get(run)
        return row is not None and not (row.status in ENDED and row.told)

    starter = Starter(book, data.triggers, intake, runs, refusals)
    run_ends.cares.append(lambda row, _: row.origin is not None)
    run_ends.listeners.append(intake.hear_of_end)
    chains = Chains(book, intake, data.store, data.blobs)
    run_ends.cares.append(chains.cares)
    run_ends.listeners.append(chains.run_ended)
    await book.load()
    await intake.load()
    await intake.free_places(is_open)
    stack.push_async_callback(intake.write_notes)
    stack.push_async_callback(starter.stop)
    files = FileTriggers(book, intake, data.seen_files, data.root)
    stack.push_async_callback(_stop, run_critical(files.keep_watching(), "file-triggers"))
    return starter


async def _telling(callbacks: Callbacks, run_ends: RunEnds) -> None:
    """Have those told of runs who asked for it."""
    run_ends.cares.append(callbacks.cares)
    run_ends.listeners.append(callbacks.run_ended)
    await callbacks.load()


def _plugin_folders(settings: Settings, data: _Data) -> PluginFolders:
    return PluginFolders(settings.plugins, data.root, lambda value: data.secrets.put(value, settings.user))


def _accounts(settings: Settings, data: _Data, channels: KnownChannels) -> tuple[Budgets, Ledger, UsageReports]:
    prices = Prices.of(data.root, channels)
    user = budget_of(settings.budget_user_tokens, settings.budget_user_money)
    day = budget_of(settings.budget_day_tokens, settings.budget_day_money)
    budgets = Budgets(data.usage, prices, user=user, day=day)
    return budgets, Ledger(data.usage, budgets, prices), UsageReports(data.usage, prices)


def _model_calls(
    settings: Settings, data: _Data, channels: KnownChannels, *, ledger: Ledger, workers: WorkerSockets
) -> CallAdmission:
    boot = boot_id()
    users = UserAmounts(
        settings.user_requests_per_minute, settings.user_tokens_per_minute, settings.user_concurrent_requests
    )
    return CallAdmission(
        Limiter(steady_s),
        ChannelLimits(channels, users),
        ledger,
        LimitState(data.root / LIMITS_FILE, lambda: Clocks(boot, steady_s(), time.time())),
        workers=lambda: len(workers.workers()),
    )


def _cleaning(
    settings: Settings, data: _Data, runs: Runs, library: Library, ledger: Ledger
) -> tuple[GarbageCollector, Retention]:
    collector = GarbageCollector(
        data.store,
        data.log,
        data.blobs,
        data=data.root,
        results=data.root / "results",
        grace_s=settings.blob_grace_s,
        secrets=data.secrets,
        versions=data.workflows.all_documents,
        deliveries=data.triggers.texts,
    )
    retention = Retention(
        data.log,
        runs.delete_older,
        library.purge,
        ledger.delete_older,
        collector.keep_collecting,
        run_days=settings.run_days,
        usage_days=settings.usage_days,
        event_days=settings.event_days,
        event_bytes=settings.event_bytes,
        collect_every_s=settings.collect_every_s,
    )
    return collector, retention


async def _signer(path: Path, key: bytes, store: RunStore) -> Signer:
    """Signs for this data directory; its file is made before the first run is started with it.

    Raises:
        SigningKeysUnusable: The file cannot be read.
    """
    await asyncio.to_thread(heal_signing_keys, path, key)
    if not await asyncio.to_thread(path.exists):
        create_signing_keys(path, key, [row.id for row in await store.unsealed()])
    keys = SigningKeys(path, key)
    keys.current()
    return Signer(keys)


def _codec(settings: Settings, root: Path, key: bytes) -> EncryptionCodec | None:
    """Encrypts what Temporal is given, and decrypts what it was given before; None when nothing ever was encrypted.

    Raises:
        PayloadKeysUnusable: The file of its keys cannot be used.
    """
    encrypts = settings.encrypts_payloads
    keys = open_payload_keys(root, key, encrypts=encrypts, may_create=True)
    return None if keys is None else EncryptionCodec(keys, encrypts=encrypts)


async def _healed(databases: Databases) -> None:
    """Whatever is damaged is put aside before it is opened."""
    try:
        await asyncio.to_thread(databases.heal)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        where = f"{str(databases.store.path.name)!r} or {str(databases.log.path.name)!r}"
        raise StoreUnusable(
            f"{where} in {str(databases.store.path.parent)!r} cannot be opened ({reason}): make both readable and "
            "writable, see that the disk is not full, or restore a backup"
        ) from error


async def _open_store(settings: Settings, stack: contextlib.AsyncExitStack, file: DatabaseFile) -> _Stores:
    engine = open_engine(sqlite_url(settings.store_path), full_sync=settings.full_sync, on_damage=file.note_suspect)
    stack.push_async_callback(engine.dispose)
    try:
        await ensure_schema(engine)
    except UnknownSchema as error:
        raise StoreUnusable(
            f"{str(settings.store_path)!r} was written by another version ({error.message}): use that version, "
            "or restore a backup of the file"
        ) from error
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or type(error).__name__
        raise StoreUnusable(
            f"{str(settings.store_path)!r} cannot be opened ({reason}): make it readable and writable, restore a "
            "backup, or move it away (this gateway then forgets its runs)"
        ) from error
    writes = WriteBatcher(engine)
    store = RunStore(engine, writes)
    stack.push_async_callback(store.aclose)
    return _Stores(
        store,
        BroadcastStore(engine, writes),
        WorkflowStore(engine, writes),
        TriggerStore(engine, writes),
        CallbackStore(engine, writes),
        SeenFileStore(engine, writes),
        UsageStore(engine, writes),
    )


async def _open_log(settings: Settings, file: DatabaseFile) -> EventLog:
    try:
        return await SqliteEventLog.open(
            settings.events_path, full_sync=settings.full_sync, on_damage=file.note_suspect
        )
    except LogUnavailable as error:
        raise StoreUnusable(
            f"{str(settings.events_path)!r} cannot be opened ({error.message}): make it readable and writable, or move "
            "it away (finished runs lose their event logs, their results stay)"
        ) from error


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
