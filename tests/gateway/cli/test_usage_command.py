"""What the command line says of tokens and money."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from innkeeper.gateway.cli.run_ids import UnclearRun
from innkeeper.gateway.cli.usage_command import ask_usage, cost_words, price_hints, usage_lines, usage_table


def sums(**more: Any) -> dict[str, Any]:
    zero = dict.fromkeys(("calls", "openCalls", "failedCalls", "estimatedCalls", "inputTokens", "outputTokens"), 0)
    return {**zero, "cachedTokens": 0, "cost": 0.0, "currency": "USD", "unknownCost": 0, **more}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (sums(cost=1234.5), "1,234.50 USD"),
        (sums(), "0.00 USD"),
        (sums(cost=0.00158), "0.00158 USD"),
        (sums(cost=3e-8), "3.0e-08 USD"),
        (sums(cost=None, unknownCost=2), "unknown"),
        (sums(cost=2, unknownCost=1), "2.00 USD + 1 unknown"),
        (sums(cost=2, otherCosts={"EUR": 0.25}), "2.00 USD + 0.25 EUR"),
    ],
)
def test_a_cost_that_nobody_knows_is_told_as_unknown(told: dict[str, Any], words: str) -> None:
    assert cost_words(told) == words


def test_the_status_of_a_run_tells_what_it_took_and_what_it_may_spend() -> None:
    used = sums(calls=3, openCalls=1, failedCalls=1, estimatedCalls=1, inputTokens=1_200, outputTokens=34, cost=0.5)
    budget = {"scope": "workflow", "tokens": 9_000, "money": 2}
    lines = [*usage_lines({"usage": {**used, "budget": budget, "budgetBlind": True}})]
    assert lines == [
        "models: 3 requests (1 under way, 1 failed), about 1,200 input and 34 output tokens, 0.5 USD",
        "budget: 9,000 tokens and 2.00 USD (default of the workflow); requests with an unknown price do not count",
    ]
    assert [*usage_lines({"usage": sums(calls=1)})] == ["models: 1 request, 0 input and 0 output tokens, 0.00 USD"]
    (line,) = usage_lines({"usage": sums(calls=1, cost=None, unknownCost=1)})
    assert line.endswith("output tokens, cost unknown")
    assert [*usage_lines({})] == []


def test_a_report_is_a_table_with_its_sum_that_says_no_more_than_it_knows() -> None:
    rows = [{"key": "gpt[bold]", **sums(calls=2, cost=0.25)}, {"key": None, **sums(calls=1, cost=None, unknownCost=1)}]
    report = {"groupBy": "model", "groups": rows, "total": sums(calls=3, cost=0.25, unknownCost=1)}
    out = io.StringIO()
    Console(file=out, width=100).print(usage_table(report))
    lines = [line.split() for line in out.getvalue().splitlines() if line.strip()]
    assert lines[0] == ["model", "calls", "failed", "input", "cached", "output", "cost"]
    assert (lines[1][0], lines[1][-2:]) == ("gpt[bold]", ["0.25", "USD"])
    assert (lines[2][0], lines[2][-1]) == ("none", "unknown")
    assert lines[3][:2] == ["all", "3"]
    hints = [*price_hints({**report, "priceProblems": [{"line": 4, "message": "wrong\x1b[2J"}]})]
    assert hints[0].startswith("prices.yaml, line 4: wrong")
    assert "\x1b" not in hints[0]
    assert "prices.yaml in the data directory" in hints[1]


class FakeClient:
    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    async def usage(self, params: dict[str, Any]) -> dict[str, Any]:
        self.asked = params
        return {}


async def test_times_are_asked_for_in_utc() -> None:
    client: Any = FakeClient()
    names = {"run": None, "model": "m"}
    await ask_usage(client, by="day", since="2030-01-31T12:00:00+02:00", until="1d", limit=5, names=names)
    assert client.asked["from"] == "2030-01-31T10:00:00.000+00:00"
    assert client.asked.keys() == {"groupBy", "limit", "from", "to", "model"}
    with pytest.raises(UnclearRun, match=r"--since 'soon' is not understood"):
        await ask_usage(client, by="day", since="soon", until=None, limit=5, names={})
