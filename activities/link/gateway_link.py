"""What node runs and the interpreter send to the gateway, and what they wait for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from innkeeper.activities.link.connection import LinkAddress, LinkConnection
from innkeeper.activities.link.follower import Follower
from innkeeper.activities.link.follows import Follows
from innkeeper.activities.link.frames import LinkFrames
from innkeeper.activities.link.gateway_availability import GatewayAvailability
from innkeeper.activities.link.interrupts import Interrupts
from innkeeper.activities.link.node_attempt import Epoch, NodeAttempt
from innkeeper.activities.link.outgoing_queue import MAX_WAITING, OutgoingQueue
from innkeeper.activities.link.pending_answers import AWAY, Answer, PendingAnswers
from innkeeper.activities.link.reloads import Reloads
from innkeeper.activities.link.retry_notice import RetryNotice
from innkeeper.activities.link.run_starts import RunStarts
from innkeeper.activities.link.stream_limits import StreamLimits
from innkeeper.nodes.errors import InvalidNode
from innkeeper.nodes.json_values import mended
from innkeeper.nodes.worker_protocol import StartPlace

LINGER_S = 0.003
RECONSTRUCTED = frozenset({"NODE_EXECUTING", "NODE_PROGRESS", "NODE_COMPLETE", "NODE_BYPASSED"})
"""Events of the interpreter that the gateway can do without: at the end of a run it adds from the run's node table what
its log lacks. The others are kept: a reader of a stream waits for the end of its producer, people for approvals."""

log = logging.getLogger("innkeeper.link")

_DROPPED = "ends of nodes are left out from here on, until their run has ended and its result tells of them"


class GatewayLink:
    """Sends events to the gateway and waits for their acknowledgement.

    Everything here runs on the worker's event loop. Sending never blocks; memory is bounded by dropping chunks
    (a `gap` says which), because only viewers read them, and messages that the gateway can reconstruct.

    Args:
        url: Base URL of the gateway.
        queues: Task queues that the worker polls, for the gateway's list of workers.
        flush_timeout_s: How long anybody waits for a gateway that is away.

    Attributes:
        connected: Set while the gateway answers.
        interrupts: Tells of runs that are being interrupted.
    """

    def __init__(
        self, url: str, token: str, worker_id: str, *, queues: Sequence[str] = (), flush_timeout_s: float = 30.0
    ) -> None:
        self._flush_timeout_s = flush_timeout_s
        self._queue = OutgoingQueue()
        self._limits = StreamLimits()
        self._answers = PendingAnswers()
        self._fence_callbacks: dict[NodeAttempt, Callable[[], None]] = {}
        self._connection = LinkConnection(LinkAddress(url, token, worker_id, queues))
        self._follows = Follows(self._connection.send_soon)
        self._reloads: Reloads | None = None
        self.interrupts = Interrupts()
        self._starts: RunStarts | None = None
        self._is_dropping = False
        self._lingering: asyncio.TimerHandle | None = None  # until what may wait for more is sent by itself
        self._availability = GatewayAvailability(flush_timeout_s, self._answers.give_up)
        self.connected = self._availability.connected

    # --- a node run -----------------------------------------------------------------------------------------------

    def open(self, attempt: NodeAttempt, type: str, resume: Epoch | None = None) -> int:
        """Announce the first attempt of a node; nobody waits for the answer. Gives the number of the message.

        It may linger for a moment: the end of a quick node then travels and is committed with its beginning.
        """
        return self._send_open(attempt, type, resume, reply=False)

    async def ask_open(
        self, attempt: NodeAttempt, type: str, resume: Epoch | None = None, *, keep: bool = False
    ) -> Answer:
        """Announce a later attempt and wait for what the log says; `away` when the gateway is away too long.

        Args:
            resume: Where the input begins, of a node that can go on where its earlier attempt stopped.
            keep: The chunks of earlier attempts shall stay, and the answer shall tell of them.
        """
        n = self._send_open(attempt, type, resume, reply=True, keep=keep)
        if self._availability.is_given_up:
            return AWAY
        # A gateway that is there but cannot commit (disk full) is waited for no longer than one that is away.
        return await self._answers.answer(n, self._flush_timeout_s)

    def chunk(
        self,
        attempt: NodeAttempt,
        index: int,
        chunk: dict[str, Any],
        *,
        used: int | None = None,
        may_drop: bool = True,
    ) -> None:
        """Send one chunk, or drop it and remember the gap when too much is waiting already.

        Args:
            index: Its place in the stream of this epoch, from 0.
            used: How many input chunks a resumable node has consumed.
            may_drop: Only viewers read it. A chunk that another node reads is always sent: the caller waits for
                room (`wait_for_room`).

        Raises:
            InvalidNode: It is not JSON data, or too large.
        """
        if may_drop and not self._limits.has_room(attempt):
            self._limits.drop(attempt, index)
            return
        self._send_gap(attempt)
        message = {"t": "chunk", **_address(attempt), "i": index, "chunk": chunk}
        self._send(message if used is None else {**message, "u": used}, stream=attempt)

    def has_room(self, attempt: NodeAttempt) -> bool:
        """Is little enough of this stream, and of all together, on its way that another chunk may join it?"""
        return self._limits.has_room(attempt)

    async def wait_for_room(self, attempt: NodeAttempt) -> None:
        """Wait until there is room again; for as long as the gateway is away."""
        await self._limits.wait_for_room(attempt)

    def close_stream(self, attempt: NodeAttempt) -> None:
        """Say what was dropped at the end of a stream, and forget the stream."""
        self._send_gap(attempt)
        self._limits.forget_idle(attempt)

    def progress(self, attempt: NodeAttempt, value: float, maximum: float) -> None:
        """Say how far a node is; worth nothing later, so nothing is kept while the gateway is away."""
        if self.connected.is_set() and self._has_room():
            self._send({"t": "progress", **_address(attempt), "value": value, "max": maximum})

    def warning(self, attempt: NodeAttempt, code: str, message: str) -> None:
        """Tell of something about a node that goes on; its user should not have to wait for its end."""
        if self._has_room():
            self._send({"t": "warning", **_address(attempt), "code": code, "message": message})

    def retry(self, attempt: NodeAttempt, notice: RetryNotice) -> None:
        """Say that this attempt has ended, and when another one follows."""
        if self._has_room():
            self._send({"t": "retry", **_address(attempt), **notice.to_wire()})

    async def complete(
        self,
        attempt: NodeAttempt,
        outputs: dict[str, Any],
        *,
        end: bool,
        is_awaited: bool = False,
        cached: bool = False,
        warnings: Sequence[Mapping[str, str]] = (),
    ) -> bool:
        """Send NODE_COMPLETE and wait until it is logged; False when the gateway is away too long to wait for, or so
        much waits for it that this is not sent.

        Args:
            end: The node streamed, and its last chunk was neither a finish nor an error chunk.
            is_awaited: Another node waits for this end in the log, so this one waits however long the gateway is away.
            cached: The outputs come from the result cache.
            warnings: What the node told its user beside them.
        """
        self.close_stream(attempt)
        n = self.send_complete(attempt, outputs, end=end, is_awaited=is_awaited, cached=cached, warnings=warnings)
        if n is None:
            return False
        is_logged = await self.acknowledged(n)
        while is_awaited and not is_logged:
            await self.connected.wait()
            is_logged = await self.acknowledged(n)
        return is_logged

    def send_complete(
        self,
        attempt: NodeAttempt,
        outputs: dict[str, Any],
        *,
        end: bool = False,
        is_awaited: bool = False,
        cached: bool = False,
        warnings: Sequence[Mapping[str, str]] = (),
    ) -> int | None:
        """Send NODE_COMPLETE, and wait for nothing; gives the number to wait for (`acknowledged`).

        None: it was not sent, because too much waits for the gateway.
        """
        if not (is_awaited or self._has_room()):
            return None
        optional = {"cached": cached, "warnings": list(warnings)}
        given = {key: value for key, value in optional.items() if value}
        return self._send({"t": "complete", **_address(attempt), "outputs": outputs, "end": end, **given})

    async def acknowledged(self, n: int) -> bool:
        """Wait until message `n` is logged; False when the gateway is away too long to wait for."""
        if self._answers.is_acknowledged(n):
            return True
        return not self._availability.is_given_up and await self._answers.acknowledgement(n)

    def on_fenced(self, attempt: NodeAttempt, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when the log says that this epoch is over; gives back a function that forgets it."""
        self._fence_callbacks[attempt] = callback

        def forget() -> None:
            self._fence_callbacks.pop(attempt, None)

        return forget

    # --- consumers of streams, and the interpreter ----------------------------------------------------------------

    def follow(self, run: str, path: str, restarted: asyncio.Event) -> Follower:
        """Read a stream from the log. `restarted` is set when the producer begins anew after reading began."""
        return self._follows.follow(run, path, restarted)

    def unfollow(self, follower: Follower) -> None:
        self._follows.unfollow(follower)

    def fact(self, run: str, path: str, type: str, payload: dict[str, Any]) -> None:
        """Pass on an event of the interpreter."""
        if type in RECONSTRUCTED and not self._has_room():
            return
        message = {"t": "fact", "run": run, "path": path, "type": type, "payload": payload}
        try:
            self._send(message)
        except InvalidNode:
            # A value from outside that Temporal's JSON holds and ours does not: the run must not lose its event.
            self._send({**message, "payload": mended(payload)})

    # --- life -----------------------------------------------------------------------------------------------------

    def load_plugins_by(self, load: Callable[[], Awaitable[None]]) -> None:
        """Call `load` when the gateway asks for the plugins to be loaded anew. To be said before `start`."""
        self._reloads = Reloads(self._connection.send_soon, load)

    def start_runs_by(self, place: StartPlace, start: Callable[[str, bytes], Awaitable[bool]]) -> None:
        """Call `start` when the gateway asks for a run to be started at this place. To be said before `start`."""
        self._starts = RunStarts(self._connection.send_soon, start)
        self._connection.starts_at(place)

    def start_no_runs(self) -> None:
        """Refuse to start runs from now on."""
        if self._starts is not None:
            self._starts.refuse()
            self._connection.starts_at(None)

    def start(self) -> None:
        self._availability.lost()
        frames = LinkFrames(
            queue=self._queue,
            limits=self._limits,
            answers=self._answers,
            follows=self._follows,
            availability=self._availability,
            fence_callbacks=self._fence_callbacks,
            send=self._send,
            reloads=self._reloads,
            interrupts=self.interrupts,
            starts=self._starts,
        )
        self._connection.start(frames)

    async def stop(self, drain_s: float = 2.0) -> None:
        """Send what is left, for at most `drain_s`, then close."""
        if self._queue and self.connected.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await self.acknowledged(self._queue.last_n)
        self._availability.stop()
        if self._reloads is not None:
            self._reloads.stop()
        if self._starts is not None:
            self._starts.stop()
        await self._connection.stop()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _send_open(
        self, attempt: NodeAttempt, type: str, resume: Epoch | None, *, reply: bool, keep: bool = False
    ) -> int:
        message = {"t": "open", **_address(attempt), "type": type, "reply": reply}
        optional = {"resume": resume, "keep": keep or None}
        given = {key: value for key, value in optional.items() if value is not None}
        return self._send({**message, **given}, at_once=reply)

    def _has_room(self) -> bool:
        """May another message be kept that can be done without? Says so once when the first one may not."""
        has_room = self._queue.has_room
        if not has_room and not self._is_dropping:
            log.warning("more than %d MB of events wait for the gateway: %s", MAX_WAITING // 1_000_000, _DROPPED)
        self._is_dropping = not has_room
        return has_room

    def _send_gap(self, attempt: NodeAttempt) -> None:
        if (gap := self._limits.take_gap(attempt)) is not None:
            self._send({"t": "gap", **_address(attempt), "from": gap[0], "to": gap[1]})

    def _send(self, message: dict[str, Any], stream: NodeAttempt | None = None, *, at_once: bool = True) -> int:
        queued = self._queue.append(message, stream)
        if stream is not None:
            self._limits.add(stream, len(queued.data))
        if at_once:
            self._end_linger()
            self._connection.send_soon(urgent=stream is None)
        elif self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(LINGER_S, self._linger_is_over)
        return queued.n

    def _linger_is_over(self) -> None:
        self._lingering = None
        self._connection.send_soon()

    def _end_linger(self) -> None:
        """What lingers goes with what is sent now: to wake up for it once more would be in vain."""
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None


class NullLink(GatewayLink):
    """Events off, for measuring the engine alone: nothing is sent and nothing waited for."""

    def __init__(self) -> None:
        super().__init__("http://off", "", "off")

    def _send(self, message: dict[str, Any], stream: NodeAttempt | None = None, *, at_once: bool = True) -> int:
        return 0

    def start(self) -> None:
        self._availability.is_given_up = True


def _address(attempt: NodeAttempt) -> dict[str, Any]:
    return {"run": attempt.run, "path": attempt.path, "epoch": attempt.epoch}
