"""Runs of all kinds, watched, answered, told of events and interrupted as their users would, while faults happen."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from innkeeper.gateway.client import Event, GatewayClient
from innkeeper.nodes.errors import InnkeeperError, RunNotActive
from tests.crash.chaos.kinds import NEW, NEWS, Plan
from tests.crash.chaos.viewers import StreamViewer, watch

MAX_FAILURES = 20
TAKEN = ("approval_answered", "approval_closed", "run_not_active")


@dataclass
class Told:
    """A run, who watched it, and what was done to it."""

    plan: Plan
    run: str = ""
    viewers: list[StreamViewer] = field(default_factory=list)
    answers: int = 0
    events: int = 0
    interrupts: int = 0
    pauses: int = 0


@dataclass
class Storm:
    """All runs of one test.

    Attributes:
        say: Is told each failure at once.
        told: Every run that was submitted.
        failures: What went wrong, each with its run; the others go on meanwhile.
        is_over: No further run begins.
        deadline: On the monotonic clock: whoever has not ended by then hangs.
    """

    client: GatewayClient
    seed: str
    deadline: float
    say: Callable[[str], None]
    told: list[Told] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    is_over: bool = False

    async def tell(self, plans: Iterator[Plan]) -> None:
        """Submit one run after the other and see it through, each with the one that follows it, until all is over."""
        while not self.is_over and len(self.failures) < MAX_FAILURES:
            plan: Plan | None = next(plans)
            base = ""
            while plan is not None:
                each = Told(plan)
                self.told.append(each)
                try:
                    await self._see_through(each, base, f"{len(self.told)}")
                except Exception as error:  # the other runs go on, and all failures are told together
                    lines = "".join(traceback.format_exception(error))
                    self.failures.append(f"{each.plan.kind} run {each.run}: {error!r}\n{lines}")
                    self.say(self.failures[-1])
                    break
                base, plan = each.run, plan.then

    async def _see_through(self, each: Told, base: str, name: str) -> None:
        chance = random.Random(f"{self.seed} viewers of {name}")
        document = {**each.plan.document, **({"baseRun": base} if each.plan.takes_over else {})}
        async with asyncio.timeout(self.deadline - time.monotonic()):
            each.run = await self.client.submit(document)
            each.viewers = [StreamViewer() for _ in range(chance.randint(2, 4))]
            ways = ["websocket", "sse", *chance.choices(("websocket", "sse"), k=2)]
            async with asyncio.TaskGroup() as group:
                for viewer, way in zip(each.viewers, ways, strict=False):
                    group.create_task(watch(self.client, each.run, viewer, chance, way))
                for user in (self._attend(each), self._interrupt(each), self._pause(each, chance)):
                    group.create_task(user)

    async def _attend(self, each: Told) -> None:
        """Answer what is asked and post what is waited for; what gets lost on the way leaves the run waiting."""
        if each.plan.kind != "waits":
            return
        async with contextlib.aclosing(self.client.events(each.run)) as events, asyncio.TaskGroup() as group:
            async for event in events:
                if event["type"] == "APPROVAL_REQUIRED":
                    group.create_task(self._answer(each, event))
                elif event["type"] == "NODE_WAITING" and event["payload"]["kind"] == "event":
                    group.create_task(self._post(each, event["payload"]["name"]))

    async def _answer(self, each: Told, event: Event) -> None:
        """Two people answer at once: at most one is told that hers counts.

        Nobody is, when the response was lost and the run had gone on before the request was repeated.
        """
        approval = event["payload"]["approvalId"]
        values = {field["key"]: NEW for field in event["payload"]["form"]}
        answers = (
            self.client.approvals.answer(each.run, approval, True, values=values, by=name) for name in ("ann", "bob")
        )
        results = await asyncio.gather(*answers, return_exceptions=True)
        counted = [result for result in results if isinstance(result, dict)]
        refused = [result for result in results if isinstance(result, InnkeeperError) and result.code in TAKEN]
        assert len(counted) <= 1, f"answers to {approval!r}: {results}"
        assert len(counted) + len(refused) == len(results), f"answers to {approval!r}: {results}"
        each.answers += 1

    async def _post(self, each: Told, name: str) -> None:
        """To the run, or to whoever waits for it."""
        to_all = each.answers % 2 == 0
        while to_all:
            told = await self.client.post_event(name, NEWS)
            each.events += 1
            if not told.get("missed"):  # an earlier request may have got through although its response was lost
                return
            await asyncio.sleep(0.5)
        await self.client.post_event(name, NEWS, run_id=each.run)
        each.events += 1

    async def _interrupt(self, each: Told) -> None:
        if each.plan.cancel_after_s is None:
            return
        while not each.viewers[0].chunk_count:
            await asyncio.sleep(0.05)
        await asyncio.sleep(each.plan.cancel_after_s)
        with contextlib.suppress(RunNotActive):  # the answer to an earlier attempt was lost
            await self.client.cancel(each.run)
        each.interrupts += 1

    async def _pause(self, each: Told, chance: random.Random) -> None:
        if not each.plan.pauses:
            return
        await asyncio.sleep(chance.uniform(0.5, 3.0))
        with contextlib.suppress(RunNotActive):  # it was faster
            await self.client.pause(each.run)
            await asyncio.sleep(chance.uniform(0.2, 3.0))
            await self.client.resume(each.run)
            each.pauses += 1
