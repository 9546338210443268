"""Ending workflows in Temporal that the gateway has given up, with their children.

The request is stored with the run, so it outlives this process and a Temporal that is away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.runs.temporal_client import TemporalLink, describe_workflow, is_away
from innkeeper.gateway.store.runs import RunStore

logger = logging.getLogger("innkeeper.gateway.runs")

REASON = "interrupted by force"
CALL_TIMEOUT = timedelta(seconds=5)
RETRY_S = 1.0
LAST_RETRY_S = 60.0


class Terminator:
    """Terminates the workflows of runs that were ended by force.

    Args:
        is_launching: Is Temporal about to get this run?
    """

    def __init__(self, store: RunStore, temporal: TemporalLink, is_launching: Callable[[str], bool]) -> None:
        self._store = store
        self._temporal = temporal
        self._is_launching = is_launching
        self._wake = asyncio.Event()
        self._wake.set()  # what an earlier process has left

    def wake(self) -> None:
        """The store has a new request."""
        self._wake.set()

    async def owe(self, run: str) -> None:
        """End a workflow that has started although its run had ended here."""
        await self._store.owe_termination(run)
        self.wake()

    async def keep_terminating(self) -> None:
        """For ever: end what the store says is to be ended."""
        pause_s = RETRY_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            client = await self._temporal.wait()
            try:
                is_done = await self._terminate_all(client)
            except Exception:
                logger.exception("ending workflows failed", extra={"event": "terminate_failed"})
                is_done = False
            pause_s = RETRY_S if is_done else min(2 * pause_s, LAST_RETRY_S)
            if not is_done:
                asyncio.get_running_loop().call_later(pause_s, self._wake.set)

    async def _terminate_all(self, client: Client) -> bool:
        """False: some must be tried again. One that fails keeps no other from its end."""
        is_done = True
        for run in await self._store.to_terminate():
            try:
                # Asked before: Temporal may get the run while it says that it does not have it.
                may_come = self._is_launching(run)
                await terminate_tree(client, run)
                # Kept until the run has ended here too, and until nobody hands it over any more: a gateway that starts
                # then still knows that it must end, and why.
                is_done &= not may_come and await self._store.mark_terminated(run)
            except RPCError as error:
                is_done = False
                if is_away(error):
                    self._temporal.lost()
                    return False
                logger.error("Temporal did not end a run", extra={"run": run, "code": str(error.status)})
        return is_done


async def terminate_tree(client: Client, root: str) -> None:
    """Terminate a workflow, then its children, theirs, and so on. One that has ended, or never was, is passed over.

    From the top down: a workflow that has ended starts no further child.

    Raises:
        RPCError: Temporal refused or did not answer.
    """
    left = [root]
    while left:
        workflow = left.pop()
        try:
            await client.get_workflow_handle(workflow).terminate(reason=REASON, rpc_timeout=CALL_TIMEOUT)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
        left += await _children(client, workflow)


async def _children(client: Client, workflow: str) -> list[str]:
    try:
        found = await describe_workflow(client, workflow, CALL_TIMEOUT)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return []
        raise
    return [child.workflow_id for child in found.pending_children]
