"""What requests to models took and cost, and what may be spent."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypeAliasType, TypedDict

from innkeeper.gateway.api.models.base import CLOSED, OPEN, Count

UsageGroup = TypeAliasType("UsageGroup", Literal["run", "node", "workflow", "channel", "model", "user", "day"])
Money = Annotated[float, Field(ge=0)]


@with_config(OPEN)
class BudgetRequest(TypedDict, total=False):
    """The most that a run may spend on models. In a submission no other key is taken."""

    tokens: Annotated[float, Field(ge=0, le=10**15, multiple_of=1)] | None
    """Input and output of all requests together."""
    money: Annotated[float, Field(ge=0, le=10**9)] | None
    """In the currency of the accounts: USD, unless `prices.yaml` says another."""


@with_config(CLOSED)
class UsageSums(TypedDict):
    """What some requests took together. Each attempt is one request; those that were never sent do not count."""

    calls: Count
    openCalls: Count
    """Of those: under way. What they take is not in the sums yet."""
    failedCalls: Count
    """Of those: failed, cut short, or nobody told how they ended."""
    estimatedCalls: Count
    """Of those: the provider did not say how many tokens; they are estimated from the texts."""
    inputTokens: Count
    """With those that the provider had cached."""
    outputTokens: Count
    """With those of reasoning."""
    cachedTokens: Count
    reasoningTokens: Count
    totalTokens: Count
    cost: Money | None
    """Of all requests with a known price, in units of `currency`; null: no price is known."""
    currency: str
    unknownCost: Count
    """How many requests have an unknown price; they are not in `cost`."""
    otherCosts: NotRequired[dict[str, Money]]
    """Costs in other currencies."""


@with_config(CLOSED)
class RunBudget(TypedDict):
    """The budget of a run."""

    scope: Literal["run", "workflow"]
    """`workflow`: the default of the stored workflow."""
    tokens: NotRequired[Count]
    money: NotRequired[Money]


@with_config(CLOSED)
class RunUsage(UsageSums):
    """What the requests of a run took so far."""

    budget: NotRequired[RunBudget]
    budgetBlind: NotRequired[bool]
    """The budget limits money, and the run made requests with an unknown price, which do not count for it."""


@with_config(CLOSED)
class UsageRow(UsageSums):
    """A group of requests."""

    key: str | None
    """Run, path of the node, workflow, channel, model as it was asked for, user, or day (UTC); null: there is none."""


@with_config(CLOSED)
class PriceProblem(TypedDict):
    """Something wrong in `prices.yaml`."""

    line: Count
    """0: of the whole file."""
    message: str


@with_config(CLOSED)
class UsageReport(TypedDict):
    """A page of groups."""

    groupBy: UsageGroup
    groups: list[UsageRow]
    """Days: newest first; everything else: the most expensive first."""
    total: UsageSums
    """Of all groups, also those of other pages."""
    nextCursor: int | None
    """`cursor` of the next page; null on the last one."""
    priceProblems: list[PriceProblem]
