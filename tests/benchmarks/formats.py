"""Formats of the community: `python -m tests.benchmarks.formats`. Pure functions, beside a fixed piece of Python."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from tests.benchmarks import cards, prompts, world_info
from tests.benchmarks.measure import calibrate


def main() -> None:
    table = Table("what", "ms", "aim", "x loop", title="median of several rounds; 'loop' is a fixed piece of Python")
    loop_ms = calibrate()
    for name, took_ms, aim_s in rows():
        table.add_row(name, f"{took_ms:.1f}", f"{aim_s * 1000:.0f}", f"{took_ms / loop_ms:.1f}")
    Console().print(table)
    Console().print(f"loop: {loop_ms:.1f} ms before, {calibrate():.1f} ms after")


def rows() -> list[tuple[str, float, float]]:
    """(what, milliseconds, aim in seconds)."""
    found = [(name.replace("_", " "), ms, world_info.AIM_S) for name, ms in world_info.measure().items()]
    found.append(("prompt of 500 messages", prompts.measure() * 1000, prompts.AIM_S))
    return [*found, ("PNG card of 2 MB", cards.measure() * 1000, cards.AIM_S)]


if __name__ == "__main__":
    main()
