"""The table of a chaos: what ran, what was done to it, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.crash.chaos.checks import Evidence
from tests.crash.chaos.faults import Faults

COLUMNS = (
    *("kind", "runs", "events", "chunks", "viewers", "reconnects", "answers", "posted", "interrupts", "pauses"),
    *("cached", "reused", "warnings", "executions", "repeated", "resets", "longest pause s"),
)


def report(seed: str, seconds: float, evidence: Sequence[Evidence], faults: Faults) -> str:
    """Both tables as text."""
    kinds = sorted({seen.told.plan.kind for seen in evidence})
    rows = [_row(kind, [seen for seen in evidence if seen.told.plan.kind == kind]) for kind in kinds]
    rows.append(_row("all", evidence))
    done = [
        (kind, target, count, f"{faults.longest_s[kind, target]:.1f}" if (kind, target) in faults.longest_s else "")
        for (kind, target), count in sorted(faults.counts.items())
    ]
    title = f"CHAOS_SEED={seed} CHAOS_SECONDS={seconds:g}: {len(evidence)} runs, {faults.counts.total()} faults"
    return "\n".join([title, *_table(COLUMNS, rows), "", *_table(("fault", "target", "times", "longest s"), done)])


def _row(kind: str, evidence: Sequence[Evidence]) -> tuple[object, ...]:
    viewers = [viewer for seen in evidence for viewer in seen.told.viewers]
    nodes = [node for seen in evidence for node in seen.status["nodeStatus"].values()]
    executions = [(line.run, line.path) for seen in evidence for line in seen.executions]
    return (
        *(kind, len(evidence), sum(seen.log.seq for seen in evidence), sum(seen.log.chunk_count for seen in evidence)),
        *(len(viewers), sum(viewer.connections - 1 for viewer in viewers)),
        *(sum(seen.told.answers for seen in evidence), sum(seen.told.events for seen in evidence)),
        *(sum(seen.told.interrupts for seen in evidence), sum(seen.told.pauses for seen in evidence)),
        *(sum(bool(node.get("cached")) for node in nodes), sum(len(seen.log.reused) for seen in evidence)),
        sum(len(node.get("warnings") or ()) for node in nodes),
        *(len(executions), len(executions) - len(set(executions)), sum(seen.log.resets for seen in evidence)),
        f"{max((seen.log.longest_pause_s for seen in evidence), default=0):.1f}",
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
