"""What a macro is: how many arguments it takes, and the function that makes its text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from innkeeper.nodes.tavern.macros.environment import MacroEnvironment

ANY = 1_000_000


class Resolver(Protocol):
    """What a macro may ask of the expansion that it is part of."""

    environment: MacroEnvironment

    def field(self, key: str, text: str) -> str:
        """A text of card or persona with its own macros replaced; '' inside of itself."""

    def spend(self, characters: int) -> None:
        """Raises MacroLimit when so much more text is too much."""


@dataclass(frozen=True)
class Call:
    """One use of a macro.

    Attributes:
        arguments: Evaluated and trimmed.
        scoped: The last argument is the text between an opening and a closing tag.
        source: The whole text that the macro stands in, and `offset`, where in it.
    """

    resolver: Resolver
    arguments: tuple[str, ...] = ()
    scoped: bool = False
    source: str = ""
    offset: int = 0

    @property
    def environment(self) -> MacroEnvironment:
        return self.resolver.environment

    def argument(self, index: int = 0) -> str:
        """'' when there are fewer."""
        return self.arguments[index] if index < len(self.arguments) else ""


Run = Callable[[Call], str | None]
"""Makes the text; None leaves the macro as it is written."""


@dataclass(frozen=True)
class Macro:
    run: Run
    least: int = 0
    most: int = 0


def local_time(environment: MacroEnvironment) -> datetime:
    """Now, in the zone of the environment; an unknown zone changes nothing."""
    if not environment.timezone:
        return environment.now
    try:
        return environment.now.astimezone(ZoneInfo(environment.timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return environment.now
