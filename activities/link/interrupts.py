"""Runs that are being interrupted, as the gateway tells the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Interrupts:
    """What the gateway tells of interrupted runs, for who would otherwise notice it late.

    Attributes:
        are_told: This connection's gateway tells of every run that it interrupts from now on. False while it is away,
            and with a gateway of an older version.
    """

    def __init__(self) -> None:
        self.are_told = False
        self._listeners: list[Callable[[str], None]] = []

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with each run that is interrupted."""
        self._listeners.append(listener)

    def receive(self, runs: Sequence[str]) -> None:
        """Take the runs of one frame. An empty list only says that there will be others."""
        self.are_told = True
        for run in runs:
            for listener in self._listeners:
                listener(run)

    def lost(self) -> None:
        """The connection has ended."""
        self.are_told = False
