"""Everything one gateway process is made of, put together in one place."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection

from innkeeper.gateway.events.audit import NarratedLog
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.log import EventLog, LogUnavailable
from innkeeper.gateway.events.worker_socket import WorkerSockets
from innkeeper.gateway.events.writer import LogWriter
from innkeeper.gateway.process.data_dir import DataDir
from innkeeper.gateway.realtime.client_socket import ClientSockets
from innkeeper.gateway.realtime.reader import Feed
from innkeeper.gateway.runs.admission import Gate
from innkeeper.gateway.runs.approvals import Approvals
from innkeeper.gateway.runs.external_events import ExternalEvents
from innkeeper.gateway.runs.finisher import Closer
from innkeeper.gateway.runs.pausing import RunControl
from innkeeper.gateway.runs.reruns import Reruns
from innkeeper.gateway.runs.run_log import Journal
from innkeeper.gateway.runs.service import Runs
from innkeeper.gateway.runs.temporal_client import TemporalLink
from innkeeper.gateway.settings import Settings, worker_token
from innkeeper.gateway.storage.garbage_collector import Collector
from innkeeper.gateway.storage.workflow_library import WorkflowFiles
from innkeeper.gateway.store.engine import UnknownSchema, ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.runs import RunStore
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.plugins import Catalogue, load_catalogue
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.nodes.services.secrets import SecretStore, load_or_create_key

logger = logging.getLogger("innkeeper.gateway")

CLEANING_S = 600.0
FIRST_COLLECTION_S = 120.0
"""What a gateway takes up at its start comes first."""


class StoreUnusable(InnkeeperError):
    """A database of the data directory cannot be opened."""

    code = "store_unusable"


@dataclass(frozen=True)
class Gateway:
    """The parts that routes use."""

    settings: Settings
    catalogue: Catalogue
    workflows: WorkflowFiles
    gate: Gate
    blobs: FolderBlobs
    log: EventLog
    writer: LogWriter
    feed: Feed
    temporal: TemporalLink
    workers: WorkerSockets
    closer: Closer
    runs: Runs
    control: RunControl
    approvals: Approvals
    external_events: ExternalEvents
    clients: ClientSockets
    collector: Collector


def gateway_of(connection: HTTPConnection) -> Gateway:
    """The gateway that serves this request."""
    gateway: Gateway = connection.app.state.gateway
    return gateway


@contextlib.asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Put a gateway together, keep its tasks going, and take it apart in the opposite order."""
    async with contextlib.AsyncExitStack() as stack:
        gateway = await _compose(settings, stack)
        # Submissions that are waiting and runs that are open are taken up before the first client comes.
        await gateway.closer.resume()
        stack.push_async_callback(gateway.closer.stop)
        stack.push_async_callback(gateway.control.stop)
        for work in (
            gateway.temporal.watch(),
            gateway.runs.keep_starting(),
            gateway.control.recover(),
            _keep_clean(gateway),
            _keep_collecting(gateway),
        ):
            stack.push_async_callback(_stop, asyncio.create_task(work))
        stack.push_async_callback(gateway.clients.close_all)
        stack.callback(gateway.workers.close_all)
        yield gateway


async def _compose(settings: Settings, stack: contextlib.AsyncExitStack) -> Gateway:
    data = DataDir.open(settings.data_dir)
    store = await _open_store(settings, stack)
    log = await _open_log(settings)
    stack.push_async_callback(log.close)
    hub = Hub(log)
    writer = LogWriter(log, hub)
    await writer.start()
    stack.push_async_callback(writer.stop)
    catalogue = load_catalogue(settings.plugins)
    blobs = FolderBlobs(data.root / "blobs")
    secrets = SecretStore(data.root / "secrets", load_or_create_key(data.root, os.environ))
    workflows = WorkflowFiles.of(data.root)
    gate = Gate(catalogue, workflows, blobs, secrets)
    temporal = TemporalLink(settings)
    workers = WorkerSockets(writer, worker_token(settings))
    journal = Journal(log, writer)
    feed = Feed(log, hub)

    async def run_closed() -> None:
        # First what the end left, then what follows from it: clients know this order from ComfyTavern.
        if clients.count:
            clients.broadcast("SYSTEM_QUEUE_UPDATE", await runs.queue_counts())
        if settings.max_concurrent_runs is not None:
            runs.wake()

    closer = Closer(
        store, journal, workers, temporal, blobs, flush_timeout_s=settings.flush_timeout_s, on_closed=run_closed
    )
    control = RunControl(store, journal, temporal, on_resumed=lambda: runs.wake())
    reruns = Reruns(store, journal, gate, catalogue, blobs)
    runs = Runs(settings, store, journal, gate, temporal, closer, control, reruns)
    clients = ClientSockets(runs, feed, user=settings.user, send_timeout_s=settings.send_timeout_s)
    return Gateway(
        settings=settings,
        catalogue=catalogue,
        workflows=workflows,
        gate=gate,
        blobs=blobs,
        log=log,
        writer=writer,
        feed=feed,
        temporal=temporal,
        workers=workers,
        closer=closer,
        runs=runs,
        control=control,
        approvals=Approvals(store, journal, temporal),
        external_events=ExternalEvents(store, journal, temporal),
        clients=clients,
        collector=Collector(
            store, log, blobs, data=data.root, results=data.root / "results", grace_s=settings.blob_grace_s
        ),
    )


async def _open_store(settings: Settings, stack: contextlib.AsyncExitStack) -> RunStore:
    engine = open_engine(sqlite_url(settings.store_path), full_sync=settings.full_sync)
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
    store = RunStore(engine)
    stack.push_async_callback(store.aclose)
    return store


async def _open_log(settings: Settings) -> EventLog:
    try:
        return await NarratedLog.open(settings.events_path, full_sync=settings.full_sync)
    except LogUnavailable as error:
        raise StoreUnusable(
            f"{str(settings.events_path)!r} cannot be opened ({error.message}): make it readable and writable, or move "
            "it away (finished runs lose their event logs, their results stay)"
        ) from error


async def _keep_clean(gateway: Gateway) -> None:
    """Delete the event logs of runs that ended long ago, whose results stay, and runs that ended even longer ago."""
    settings = gateway.settings
    while True:
        try:
            if settings.run_days and (runs := await gateway.runs.delete_older(settings.run_days * 86_400)):
                logger.info("runs deleted", extra={"event": "cleaned", "count": runs})
            gone = await gateway.log.delete_sealed(
                max_age_s=settings.event_days * 86_400, max_bytes=settings.event_bytes
            )
            if gone:
                logger.info("event logs deleted", extra={"event": "cleaned", "count": len(gone)})
        except Exception:
            logger.exception("deleting runs and event logs failed", extra={"event": "clean_failed"})
        await asyncio.sleep(CLEANING_S)


async def _keep_collecting(gateway: Gateway) -> None:
    every_s = gateway.settings.collect_every_s
    if every_s:
        await gateway.collector.keep_collecting(min(FIRST_COLLECTION_S, every_s), every_s)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
