"""Would the code that is installed here go on with these histories? For a pipeline, before it deploys."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.services.secrets import load_or_create_key
from innkeeper.nodes.services.signing_keys import SIGNING_FILE, SigningKeys
from innkeeper.workflows.engine.all_workflows import WORKFLOW_TYPES, WORKFLOWS
from innkeeper.workflows.engine.signature_check import install_signer
from innkeeper.workflows.engine.signing_interceptors import SigningInterceptor
from innkeeper.workflows.payload_codec import EncryptionCodec, data_converter
from innkeeper.workflows.sdk_errors import worded
from innkeeper.workflows.signing import Signer

PAGE = 100
MAX_REASON_CHARS = 500
MAX_FILE_BYTES = 200_000_000


class HistoryUnreadable(InnkeeperError):
    """A file holds no history."""

    code = "usage"


@dataclass(frozen=True)
class Broken:
    """A history that the installed code does not go on with, and why."""

    workflow_id: str
    temporal_run_id: str
    reason: str

    def to_json(self) -> dict[str, str]:
        return {"workflowId": self.workflow_id, "temporalRunId": self.temporal_run_id, "reason": self.reason}


@dataclass
class Report:
    """What came of a check.

    Attributes:
        more: There were more histories than were asked for.
    """

    replayed: int
    broken: list[Broken]
    more: bool = False

    def to_json(self) -> dict[str, Any]:
        broken = [found.to_json() for found in self.broken]
        return {"replayed": self.replayed, "broken": broken, "more": self.more}


async def check(
    histories: AsyncIterator[WorkflowHistory], codec: EncryptionCodec | None = None, *, limit: int
) -> Report:
    """Replay histories one after the other, at most `limit`.

    Args:
        codec: Of values that are encrypted in them, if any are.
    """
    report = Report(0, [])

    async def bounded() -> AsyncIterator[WorkflowHistory]:
        given = 0
        async for history in histories:
            if given == limit:
                report.more = True
                return
            given += 1
            yield history

    replayer = Replayer(workflows=WORKFLOWS, data_converter=data_converter(codec), interceptors=[SigningInterceptor()])
    with _quiet():
        async with replayer.workflow_replay_iterator(bounded()) as results:
            async for result in results:
                report.replayed += 1
                if (failure := result.replay_failure) is not None:
                    history = result.history
                    report.broken.append(Broken(history.workflow_id, history.run_id, reason_of(failure)))
    return report


@contextlib.contextmanager
def signing_as(data_dir: Path, environ: Mapping[str, str]) -> Iterator[None]:
    """Refuse what a worker of this data directory would refuse; without its keys, take all."""
    if not (data_dir / SIGNING_FILE).exists():
        yield
        return
    install_signer(Signer(SigningKeys(data_dir / SIGNING_FILE, load_or_create_key(data_dir, environ))))
    try:
        yield
    finally:
        install_signer(None)


async def histories_since(client: Client, since: timedelta) -> AsyncIterator[WorkflowHistory]:
    """Of all workflows that were open at some moment in that time, the newest first: runs with their groups and
    repetitions, launchers of schedules, callbacks."""
    moment = (datetime.now(UTC) - since).isoformat(timespec="seconds")
    types = ", ".join(f"'{name}'" for name in WORKFLOW_TYPES)
    query = f"WorkflowType IN ({types}) AND (ExecutionStatus = 'Running' OR CloseTime > '{moment}')"
    async for execution in client.list_workflows(query, page_size=PAGE):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        try:
            yield await handle.fetch_history()
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:  # its retention has ended meanwhile
                raise


async def histories_in(files: Iterable[Path]) -> AsyncIterator[WorkflowHistory]:
    """Histories of files, as `temporal workflow show --output json` writes them.

    Raises:
        HistoryUnreadable: A file holds no history.
    """
    for file in files:
        yield read_history(file)


def read_history(file: Path) -> WorkflowHistory:
    """The history of a file. Raises HistoryUnreadable."""
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise HistoryUnreadable(f"{str(file)!r} is over the limit of {MAX_FILE_BYTES} bytes for a history")
        raw = json.loads(file.read_bytes())
        started = raw["events"][0]["workflowExecutionStartedEventAttributes"]
        return WorkflowHistory.from_json(started.get("workflowId", file.stem), raw)
    except OSError as error:
        raise HistoryUnreadable(f"{str(file)!r} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        what = "holds no history: write one with 'temporal workflow show --workflow-id RUN --output json'"
        raise HistoryUnreadable(f"{str(file)!r} {what}") from error


def reason_of(failure: Exception) -> str:
    """What a replay failed of, in one line."""
    text, _ = worded(" ".join(str(failure).split()), "")
    return re.sub(r"^\d+: ", "", text)[:MAX_REASON_CHARS]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The SDK logs each failure, with a traceback, beside giving it."""
    logger = logging.getLogger("temporalio")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
