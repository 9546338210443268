"""Which limits a call stands under, by what the operator has written. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from innkeeper.gateway.usage.gcra import Rate
from innkeeper.nodes.services.llm.call_gate import CallStart

Kind = Literal["requests", "tokens", "concurrent"]
_WORDS: dict[Kind, str] = {
    "requests": "{} request{} a minute",
    "tokens": "{} token{} a minute",
    "concurrent": "{} request{} at once",
}


@dataclass(frozen=True)
class Limit:
    """One limit.

    Attributes:
        key: Names what is counted; limits of the same key share it.
        whose: `channel 'x'`, for people.
        amount: A minute, or at once.
        burst: Requests that may come at once; None for the usual share.
    """

    key: str
    kind: Kind
    whose: str
    amount: float
    burst: float | None = None

    @property
    def rate(self) -> Rate:
        return Rate.of(self.amount, self.burst)

    def cost(self, start: CallStart) -> float:
        """How much of it a call needs."""
        return start.input_tokens + start.output_tokens if self.kind == "tokens" else 1

    def __str__(self) -> str:
        words = _WORDS[self.kind].format(f"{self.amount:,.0f}", "" if self.amount == 1 else "s")
        return f"{words} of {self.whose}"


class Amounts(Protocol):
    """What may be said of a channel, a model or a user; None: no limit."""

    @property
    def requests_per_minute(self) -> int | None: ...
    @property
    def tokens_per_minute(self) -> int | None: ...
    @property
    def concurrent(self) -> int | None: ...
    @property
    def burst(self) -> int | None: ...


@dataclass(frozen=True)
class UserAmounts:
    """What each user may ask, by the settings of the gateway."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    burst: int | None = None


def limits_of(scope: str, whose: str, amounts: Amounts | None) -> Iterator[Limit]:
    """The limits that amounts make. `scope` names what they are of in keys."""
    if amounts is None:
        return
    if amounts.requests_per_minute is not None:
        yield Limit(f"requests {scope}", "requests", whose, amounts.requests_per_minute, amounts.burst)
    if amounts.tokens_per_minute is not None:
        yield Limit(f"tokens {scope}", "tokens", whose, amounts.tokens_per_minute)
    if amounts.concurrent is not None:
        yield Limit(f"concurrent {scope}", "concurrent", whose, amounts.concurrent)
