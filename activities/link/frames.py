"""The frames of the worker socket, put together from what is pending and taken apart for who waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from innkeeper.activities.link.follows import Follows
from innkeeper.activities.link.frame_gap import FrameGap
from innkeeper.activities.link.gateway_availability import GatewayAvailability
from innkeeper.activities.link.gateway_frame import read_frame
from innkeeper.activities.link.interrupts import Interrupts
from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.activities.link.outgoing_queue import OutgoingQueue
from innkeeper.activities.link.pending_answers import PendingAnswers
from innkeeper.activities.link.reloads import Reloads
from innkeeper.activities.link.run_starts import RunStarts
from innkeeper.activities.link.stream_limits import StreamLimits


@dataclass(frozen=True, kw_only=True)
class LinkFrames:
    """Frames between the gateway and the parts of a link.

    Attributes:
        fence_callbacks: Called when the log says that an attempt's epoch is over.
        send: Queues a message of the link's own.
        reloads: Who loads the plugins anew; None: such requests are left alone.
        interrupts: Who hears of interrupted runs.
        starts: Who starts runs; None: such requests are left alone.
    """

    queue: OutgoingQueue
    limits: StreamLimits
    answers: PendingAnswers
    follows: Follows
    availability: GatewayAvailability
    fence_callbacks: dict[NodeAttempt, Callable[[], None]]
    send: Callable[[dict[str, Any]], int]
    reloads: Reloads | None = None
    starts: RunStarts | None = None
    frame_gap: FrameGap = field(default_factory=FrameGap)
    interrupts: Interrupts = field(default_factory=Interrupts)

    def connected(self) -> None:
        self.follows.follow_all_again()
        self.queue.resend_all()

    def disconnected(self) -> None:
        self.availability.lost()
        self.interrupts.lost()

    def next_frame(self) -> bytes | None:
        """Everything pending that fits, as one frame; None when nothing is pending."""
        messages = self.queue.next_batch()
        fields = [b'"m":[' + b",".join(messages) + b"]"] if messages else []
        fields += [b'"%b":%b' % (key.encode(), orjson.dumps(it)) for key, it in self.follows.take_changes().items()]
        if self.reloads is not None and (answer := self.reloads.take_answer()) is not None:
            fields.append(b'"reloaded":' + orjson.dumps(answer))
        if self.starts is not None and (answers := self.starts.take_answers()):
            fields.append(b'"started":' + orjson.dumps(answers))
        return b"{" + b",".join(fields) + b"}" if fields else None

    def gap_s(self) -> float:
        """How long chunks may gather after the frame that was sent last."""
        return self.frame_gap.sent(self.queue.in_frame, len(self.limits), time.monotonic())

    def receive(self, data: bytes | str) -> None:
        """Take one frame: answers, fences, chunks of followed streams, an acknowledgement, interrupted runs, requests
        to drain, to load the plugins anew and to start runs.

        Raises:
            MalformedFrame: It cannot be read. Nothing of it was taken.
        """
        frame = read_frame(data, self.queue.last_n)
        # Only a frame ends an outage: a gateway that accepts a connection and closes it again is still away.
        self.availability.found()
        self.answers.receive(frame.get("replies") or {})
        for run, path, epoch in frame.get("fenced") or ():
            callback = self.fence_callbacks.get(NodeAttempt(run, path, (epoch[0], epoch[1])))
            if callback is not None:
                callback()
        self.follows.receive(frame.get("streams") or ())
        if "ack" in frame:
            self._acknowledge(frame["ack"])
        if "interrupted" in frame:
            self.interrupts.receive(frame["interrupted"])
        if "drain" in frame:
            self.send({"t": "drained", "token": frame["drain"]})
        if "reload" in frame and self.reloads is not None:
            self.reloads.receive(frame["reload"])
        if self.starts is not None:
            self.starts.receive(frame.get("starts") or ())

    def _acknowledge(self, n: int) -> None:
        for message in self.queue.acknowledge(n):
            if message.stream is not None:
                self.limits.remove(message.stream, len(message.data))
        self.answers.acknowledge(n)
