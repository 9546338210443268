"""What a request cost: the user's prices first, public lists then, and never a price that nobody knows."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from innkeeper.gateway.usage.price_file import Cost, NoPrice, Taken, read_prices
from innkeeper.gateway.usage.prices import Prices, PublicPrices, is_host_of, load_public_prices

AT = 1_900_000_000_000
ASKED = Taken("m", "", "c", "host.example:443", AT, 1_000_000, 400_000, 500_000)


def priced(text: str, taken: Taken = ASKED) -> Cost | None:
    file = read_prices(text.encode())
    assert file.problems == ()
    return file.cost(taken)


def complaint(text: str) -> str:
    (problem,) = read_prices(text.encode()).problems
    return str(problem)


@pytest.mark.parametrize(
    ("price", "units"),
    [
        ("{model: m, input: 1.25, output: 10, cachedInput: 0.125}", 0.6 * 1.25 + 0.4 * 0.125 + 5),
        ("{model: m, input: 1, output: 0}", 1),  # cached input costs what input costs
        ("{model: m, perRequest: 0.003}", 0.003),
        ("{model: m, input: 0, output: 0}", 0),
        ("{model: m, input: 0.1, output: 0.2, perRequest: 0.7}", 0.9),  # to the last digit
    ],
)
def test_a_price_counts_tokens_and_requests(price: str, units: float) -> None:
    cost = priced(f"prices: [{price}]")
    assert cost == Cost(round(units * 10**9), "USD")


@pytest.mark.parametrize(
    ("price", "fits"),
    [
        ("model: M*", True),
        ("model: other", False),
        ("channel: c", True),
        ("channel: d", False),
        ("host: host.example", True),
        ("host: host.example:443", True),
        ("host: '*.example'", True),
        ("host: example", False),
        ("model: m, channel: d", False),
    ],
)
def test_a_price_fits_by_all_its_patterns(price: str, fits: bool) -> None:
    text = f"prices: [{{{price}, input: 1, output: 1}}]"
    if fits:
        assert priced(text) is not None
    else:
        with pytest.raises(NoPrice):
            priced(text)


def test_the_first_price_that_fits_counts_by_the_time_of_the_request() -> None:
    text = """
    prices:
      - {model: m, perRequest: 2, from: 2030-03-01}
      - {model: m, perRequest: 1, from: 2030-02-01}
      - {perRequest: 9}
    """
    day = 86_400_000
    march = 1_898_553_600_000  # 2030-03-01
    moments = {march: 2, march - 1: 1, march - 28 * day: 1, march - 28 * day - 1: 9}
    assert {at: priced(text, replace(ASKED, at_ms=at)) for at in moments} == {
        at: Cost(units * 10**9, "USD") for at, units in moments.items()
    }


def test_currencies_are_exchanged_where_the_file_says_how() -> None:
    text = """
    currency: CNY
    rates: {USD: 7.2}
    prices:
      - {model: m, perRequest: 2, currency: USD}
      - {model: n, perRequest: 2, currency: EUR}
      - {model: o, perRequest: 2}
    """
    costs = [priced(text, replace(ASKED, model=model)) for model in "mno"]
    assert costs == [Cost(14_400_000_000, "CNY"), Cost(2 * 10**9, "EUR"), Cost(2 * 10**9, "CNY")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prices: 5", "line 1: 'prices' must be a list"),
        ("- 5", "line 1: the file must hold a mapping with 'prices'"),
        ("prices:\n- 5", "line 2: a price must be a mapping, as {model: gpt-4o*, input: 2.5, output: 10}"),
        ("prices:\n- {model: m}", "line 2: a price needs 'input' and 'output' (of a million tokens), or 'perRequest'"),
        ("prices:\n- model: m\n  input: 1", "line 2: a price needs 'input' and 'output' (of a million tokens), or"),
        ("prices:\n- model: m\n  input: 1\n  output: -1", "line 4: it must be a number from 0 to 1,000,000"),
        ("prices:\n- model: m\n  input: 1\n  output: '1'", "line 4: it must be a number from 0 to 1,000,000"),
        ("prices:\n- model: m\n  input: 1\n  output: true", "line 4: it must be a number from 0 to 1,000,000"),
        ("prices:\n- model: m\n  input: 1\n  output: .nan", "line 4: it must be a number from 0 to 1,000,000"),
        ("prices:\n- {model: m, perRequest: 1, from: soon}", "line 2: 'from' must be a day, as 2030-01-31"),
        ("prices:\n- {model: m, perRequest: 1, from: 2030-13-01}", "line 2: 'from' must be a day, as 2030-01-31"),
        ("prices:\n- {model: m, perRequest: 1, currency: dollar}", "line 2: a currency has three capital letters, as"),
        ("prices:\n- {modell: m, perRequest: 1}", "line 2: 'modell' is not known here; known are cachedInput, "),
        ("currency: [", "line 1: "),
        ("rates: {usd: 1}", "line 1: a currency has three capital letters, as USD"),
        ("prices: [" + "*" * 3 + "]", "line 1: "),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, told: str) -> None:
    assert complaint(text).startswith(told)


def test_what_a_wrong_price_fits_costs_nobody_knows_what() -> None:
    """A typing error must not make a later, or a public, price count."""
    file = read_prices(b"prices:\n- {model: m, input: 1, output: 1o}\n- {model: '*', perRequest: 1}")
    assert file.cost(ASKED) is None
    assert file.cost(replace(ASKED, model="n")) == Cost(10**9, "USD")


def test_patterns_take_no_time() -> None:
    text = "prices: [{model: '" + "a*" * 10 + "b', perRequest: 1}]"
    with pytest.raises(NoPrice):
        priced(text, replace(ASKED, model="a" * 500))
    assert complaint("prices: [{model: '" + "*" * 11 + "', perRequest: 1}]").startswith("line 1: 'model' must be")


# --- the public lists -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "host", "is_it"),
    [
        (r"https://api\.openai\.com", "api.openai.com:443", True),
        (r"https://api\.openai\.com", "api.openai.com.evil.example:443", False),
        (r"https://api\.openai\.com", "api.openai.community:443", False),
        (r"https://api\.openai\.com", "api.openai.com:8080", False),
        (r"https://api\.openai\.com", "xapi.openai.com:443", False),
        (r"https://api\.arcee\.ai(?:/|$)", "api.arcee.ai:443", True),
        (r"https://api\.moonshot\.", "api.moonshot.cn:443", True),
        (r"https://api\.moonshot\.", "api.moonshot.cn.evil.example:443", False),
    ],
)
def test_a_public_price_counts_only_at_the_providers_own_host(pattern: str, host: str, is_it: bool) -> None:
    assert is_host_of(pattern, host) is is_it


def test_public_prices_are_known_without_a_network_and_only_where_they_are() -> None:
    price = load_public_prices()
    asked = Taken("gpt-4o", "gpt-4o-2024-08-06", "c", "api.openai.com:443", AT, 1_000, 400, 500)
    assert price(asked, None) == Cost(7_000_000, "USD")
    # The name that was asked for is unknown; the answer tells another one.
    assert price(replace(asked, model="my-alias"), None) == Cost(7_000_000, "USD")
    assert price(replace(asked, host="127.0.0.1:443"), None) is None
    assert price(replace(asked, model="nonsense", answered=""), None) is None
    assert price(replace(asked, model="\ud83d", answered="x" * 500), None) is None
    # A channel may say whose prices count, whatever its host is.
    elsewhere = replace(asked, host="proxy.example:443")
    assert [price(elsewhere, name) for name in ("openai", "nobody")] == [Cost(7_000_000, "USD"), None]


async def test_the_users_prices_come_first_and_are_read_again_when_they_change(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    prices = Prices(file, lambda: lambda taken, provider: Cost(5, "USD"))
    assert await prices.costs([ASKED]) == [Cost(5, "USD")]
    file.write_text("prices: [{model: m, perRequest: 1}]")
    assert await prices.costs([ASKED]) == [Cost(10**9, "USD")]
    file.write_text("prices: [{model: m, perRequest: 2}]")
    os.utime(file, (1, 1))
    assert await prices.costs([ASKED, replace(ASKED, model="n")]) == [Cost(2 * 10**9, "USD"), Cost(5, "USD")]
    assert await prices.costs([replace(ASKED, host="demo")]) == [Cost(0, "USD")]
    file.unlink()
    file.mkdir()  # it cannot be read: that is told, and public prices count
    assert await prices.costs([ASKED]) == [Cost(5, "USD")]
    assert [problem.line for problem in (await prices.refresh()).problems] == [0]


async def test_who_is_in_a_hurry_does_not_wait_for_the_public_lists(tmp_path: Path) -> None:
    may_load = threading.Event()

    def load() -> PublicPrices:
        may_load.wait(10)
        return lambda taken, provider: Cost(5, "USD")

    prices = Prices(tmp_path / "prices.yaml", load)
    assert await prices.costs([ASKED], in_a_hurry=True) == [None]
    asking = asyncio.create_task(prices.costs([ASKED]))
    await asyncio.sleep(0.05)
    assert not asking.done()
    asking.cancel()  # nobody else loses the lists by that
    may_load.set()
    assert await prices.costs([ASKED]) == [Cost(5, "USD")]
    assert await prices.costs([ASKED], in_a_hurry=True) == [Cost(5, "USD")]


async def test_lists_that_cannot_be_loaded_leave_prices_unknown(tmp_path: Path) -> None:
    def broken() -> None:
        raise ImportError("damaged")

    prices = Prices(tmp_path / "prices.yaml", broken)  # type: ignore[arg-type]
    assert await asyncio.gather(prices.costs([ASKED]), prices.costs([ASKED] * 30)) == [[None], [None] * 30]
