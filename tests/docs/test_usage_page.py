"""The examples of docs/usage.md are what is read."""

from __future__ import annotations

import re
from dataclasses import replace

from innkeeper.gateway.api.models.usage import UsageSums
from innkeeper.gateway.usage.budgets import submitted_budget
from innkeeper.gateway.usage.price_file import _ENTRY_KEYS, Cost, Taken, read_prices
from innkeeper.workflows.document.budget import NANOS
from tests.docs.pages import DOCS, examples

PAGE = DOCS / "usage.md"


def test_the_prices_of_the_page_are_read() -> None:
    found = re.search(r"<!-- example: prices.yaml -->\n```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    file = read_prices(found[1].encode())
    assert file.problems == ()
    asked = Taken("qwen-max", "", "", "dashscope.aliyuncs.com:443", 0, 1_000_000, 0, 0)
    assert file.cost(asked) == Cost(round(2.4 * 0.14 * NANOS), "USD")
    assert file.cost(replace(asked, model="x", host="localhost:11434")) == Cost(0, "USD")


def test_the_page_names_every_key_of_a_price_and_every_count_of_a_report() -> None:
    text = PAGE.read_text()
    assert [key for key in sorted(_ENTRY_KEYS) if f"`{key}`" not in text] == []
    counts = UsageSums.__annotations__.keys() - {"totalTokens"}
    assert [key for key in sorted(counts) if f"`{key}`" not in text] == []


def test_the_budget_of_the_page_is_one() -> None:
    budget = submitted_budget(examples()["budget"])
    assert budget is not None
    assert budget.budget.to_json() == {"tokens": 200_000, "money": 1.5}
