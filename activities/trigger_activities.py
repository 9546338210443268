"""What a trigger's launcher asks of the gateway: to start a run, whether it has ended, to interrupt it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from temporalio import activity
from temporalio.exceptions import ApplicationError

from innkeeper.activities.execution.heartbeat import EarlierAttempts, Heartbeat
from innkeeper.activities.link.gateway_door import GatewayDoor
from innkeeper.nodes.call import FIRE_TRIGGER, INTERRUPT_RUN, LOOK_AT_RUN
from innkeeper.nodes.errors import NodeError


class TriggerActivities:
    """Each may be asked again: the gateway gives the same answer."""

    def __init__(self, gateway: GatewayDoor) -> None:
        self._gateway = gateway

    def activities(self) -> Sequence[Callable[..., Any]]:
        return (self.fire_trigger, self.look_at_run, self.interrupt_run)

    @activity.defn(name=FIRE_TRIGGER)
    async def fire_trigger(self, request: dict[str, Any]) -> dict[str, Any]:
        """`{"outcome", "reason", "run"}` of one time of a schedule."""
        # By the server's clock, as `startedAt` is: those of worker and gateway may be a day off.
        asked_at = activity.info().started_time.isoformat()
        body = {"scheduledAt": request["scheduledAt"], "startedAt": request["startedAt"], "askedAt": asked_at}
        return await self._ask(f"/internal/triggers/{quote(request['trigger'], safe='')}/fire", body)

    @activity.defn(name=LOOK_AT_RUN)
    async def look_at_run(self, run: str) -> bool:
        """Has the run ended?"""
        return bool((await self._ask(f"/internal/runs/{quote(run, safe='')}/look", {})).get("ended"))

    @activity.defn(name=INTERRUPT_RUN)
    async def interrupt_run(self, run: str) -> bool:
        """Interrupt the run, unless it has ended; has it?"""
        return bool((await self._ask(f"/internal/runs/{quote(run, safe='')}/interrupt", {})).get("ended"))

    async def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        info = activity.info()
        heartbeat = Heartbeat(EarlierAttempts.of(info.attempt, info.heartbeat_details))
        heartbeat.start()
        try:
            return await self._gateway.post(path, body)
        except NodeError as error:
            heartbeat.count_failure()  # else the next attempt takes this one for the death of its worker
            # How long it waits for the next try is Temporal's affair: ever longer, so that many do not press.
            raise ApplicationError(error.message, type=error.code, non_retryable=not error.retryable) from None
        finally:
            heartbeat.stop()
