"""The way of a chunk: all hops are found in the product, and what passes them is counted once."""

from __future__ import annotations

import importlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from innkeeper.activities.link.outgoing_queue import OutgoingQueue
from tests.benchmarks import hops_trace
from tests.benchmarks.hops import parts_of, since
from tests.benchmarks.hops_trace import CLIENT, GATEWAY, HOPS, SENT, WORKER, Hop, Trace, wrapped
from tests.benchmarks.streams_measure import Histogram


def _chunk(number: int, age_ms: float) -> dict[str, str]:
    return {"type": "text_chunk", "content": f"{number} {time.monotonic_ns() - int(age_ms * 1e6)}"}


@pytest.mark.parametrize("hop", [*WORKER, *GATEWAY], ids=lambda hop: hop.name)
def test_hop_is_a_method_of_the_product(hop: Hop) -> None:
    module, _, path = hop.target.partition(":")
    owner, _, name = path.partition(".")

    assert callable(getattr(getattr(importlib.import_module(module), owner), name))


def test_chunks_in_a_frame_are_noted_once_they_are_warm_and_the_frame_stays() -> None:
    trace, queue = Trace(), OutgoingQueue()
    for number in (0, 49, 50, 51):
        queue.append({"t": "chunk", "chunk": _chunk(number, age_ms=20)})
    queue.append({"t": "complete"})
    (hop,) = WORKER

    batch = wrapped(OutgoingQueue.next_batch, hop, trace)(queue)

    assert len(batch) == 5
    found = trace.hops[hop.name]
    assert found.count == 2
    assert 20 <= found.quantile(0.5) < 2_000


async def test_chunks_are_noted_before_or_after_a_call_that_waits() -> None:
    seen: list[dict[str, int]] = []

    class Log:
        async def append(self, frames: Sequence[bytes]) -> str:
            seen.append({name: histogram.count for name, histogram in trace.hops.items()})
            return "done"

    def frames(given: Mapping[str, Any], _: object) -> Sequence[bytes]:
        return given["frames"]  # type: ignore[no-any-return]

    trace = Trace()
    for before in (True, False):
        Log.append = wrapped(Log.append, Hop(str(before), "", frames, before), trace)  # type: ignore[method-assign]

    assert await Log().append([b'{"content":"70 1"}', b'{"content":"a word"}']) == "done"
    assert seen == [{"True": 1}]
    assert trace.hops["False"].count == 1


def test_hop_that_another_revision_does_not_have_is_left_out() -> None:
    target = "innkeeper.gateway.events.hub:Hub"
    hops_trace.install(
        [Hop("gone", f"{target}.nothing", lambda *_: ()), Hop("gone", "innkeeper.no:No.no", lambda *_: ())], Trace()
    )


def test_what_processes_noted_is_read_together_and_only_the_new_counts(tmp_path: Path) -> None:
    for process, age_ms in (("1", 10.0), ("2", 30.0)):
        trace = Trace()
        trace.note(SENT, [b'"content":"50 %d"' % (time.monotonic_ns() - int(age_ms * 1e6))])
        trace.write(tmp_path / f"{process}.json")
    found = hops_trace.read(tmp_path)
    assert found[SENT].total() == 2

    older = Counter(dict(list(found[SENT].items())[:1]))
    assert since({SENT: older}, found)[SENT].count == 1
    assert since(found, found)[SENT].count == 0


def test_table_has_a_line_for_each_hop_though_nothing_passed_it() -> None:
    delays = Histogram()
    delays.add(5)

    parts = {part.name: part.figures for part in parts_of("hops-1", {CLIENT: delays})}

    assert tuple(parts) == HOPS
    assert 5 <= parts[CLIENT]["p99"] < 5.2
    assert parts[SENT] == {}
