"""`innkeeper usage`, and what `show` says of it: what requests to models took and cost, in words and tables."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from innkeeper.gateway.cli.live_view import clean
from innkeeper.gateway.cli.run_ids import before_moment
from innkeeper.gateway.client import GatewayClient

MAX_HINTS = 10
UNKNOWN = "unknown"


async def ask_usage(
    client: GatewayClient, *, by: str, since: str | None, until: str | None, limit: int, names: Mapping[str, str | None]
) -> dict[str, Any]:
    """The report of the gateway. Raises UnclearRun: a time is not understood."""
    now = datetime.datetime.now(datetime.UTC)
    times = {
        key: before_moment(text, now, option).astimezone(datetime.UTC).isoformat(timespec="milliseconds")
        for key, option, text in (("from", "--since", since), ("to", "--until", until))
        if text is not None
    }
    chosen = {key: value for key, value in names.items() if value is not None}
    return await client.usage({"groupBy": by, "limit": limit, **times, **chosen})


def usage_table(report: Mapping[str, Any]) -> Table:
    """The groups of a report, and what they took together."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in (str(report.get("groupBy")), "calls", "failed", "input", "cached", "output", "cost"):
        table.add_column(name, justify="left" if name == report.get("groupBy") else "right", overflow="fold")
    groups = report.get("groups") or ()
    for row in groups:
        key = row.get("key")
        label = Text(clean(key)) if isinstance(key, str) and key else Text("none", "dim")
        table.add_row(label, *_cells(row))
    if groups:
        table.add_section()
    table.add_row(Text("all", "bold"), *_cells(report.get("total") or {}))
    return table


def _cells(row: Mapping[str, Any]) -> Iterator[Text]:
    for name in ("calls", "failedCalls", "inputTokens", "cachedTokens", "outputTokens"):
        yield Text(f"{row.get(name) or 0:,}")
    yield Text(clean(cost_words(row)))


def cost_words(sums: Mapping[str, Any]) -> str:
    """What something cost; of what nobody knows it says so."""
    cost, unknown = sums.get("cost"), sums.get("unknownCost") or 0
    known = [] if cost is None else [f"{_amount(cost)} {sums.get('currency')}"]
    others = (sums.get("otherCosts") or {}).items()
    known += [f"{_amount(value)} {currency}" for currency, value in others]
    if not unknown:
        return " + ".join(known)
    return f"{' + '.join(known)} + {unknown} unknown" if known else UNKNOWN


def _amount(cost: float) -> str:
    """With as many digits as say something: requests may cost a thousandth of a cent."""
    return f"{cost:,.2f}" if cost == 0 or cost >= 1 else f"{cost:.6f}".rstrip("0") if cost >= 1e-6 else f"{cost:.1e}"


def usage_lines(status: Mapping[str, Any]) -> Iterator[str]:
    """What a run took so far, and what it may spend."""
    usage = status.get("usage")
    if not isinstance(usage, Mapping):
        return
    calls = usage.get("calls") or 0
    if calls:
        yield clean(f"models: {_calls_words(usage)}, {_token_words(usage)}, {_cost_or_not(usage)}")
    if isinstance(budget := usage.get("budget"), Mapping):
        blind = "; requests with an unknown price do not count" if usage.get("budgetBlind") else ""
        yield clean(f"budget: {_budget_words(budget, usage)}{blind}")


def _cost_or_not(usage: Mapping[str, Any]) -> str:
    words = cost_words(usage)
    return "cost unknown" if words == UNKNOWN else words


def _calls_words(usage: Mapping[str, Any]) -> str:
    calls = usage.get("calls") or 0
    states = ((usage.get("openCalls"), "under way"), (usage.get("failedCalls"), "failed"))
    more = ", ".join(f"{count} {word}" for count, word in states if count)
    return f"{calls:,} {'request' if calls == 1 else 'requests'}" + (f" ({more})" if more else "")


def _token_words(usage: Mapping[str, Any]) -> str:
    given, made = usage.get("inputTokens") or 0, usage.get("outputTokens") or 0
    about = "about " if usage.get("estimatedCalls") else ""
    return f"{about}{given:,} input and {made:,} output tokens"


def _budget_words(budget: Mapping[str, Any], usage: Mapping[str, Any]) -> str:
    words = []
    if (tokens := budget.get("tokens")) is not None:
        words.append(f"{tokens:,} tokens")
    if (money := budget.get("money")) is not None:
        words.append(f"{_amount(money)} {usage.get('currency')}")
    return " and ".join(words) + (" (default of the workflow)" if budget.get("scope") == "workflow" else "")


def price_hints(report: Mapping[str, Any]) -> Iterator[str]:
    """What to do about prices that nobody knows, or that are written wrongly."""
    problems: Iterable[Mapping[str, Any]] = report.get("priceProblems") or ()
    for problem in [*problems][:MAX_HINTS]:
        yield clean(f"prices.yaml, line {problem.get('line')}: {problem.get('message')}")
    if (report.get("total") or {}).get("unknownCost"):
        yield "some prices are unknown: write them to prices.yaml in the data directory (docs/usage.md)"
