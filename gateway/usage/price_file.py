"""`prices.yaml`: what the user pays, where it differs from the public lists or they lack it. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import translate
from functools import cached_property
from typing import Any

from innkeeper.nodes.yaml_tree import InvalidFile, LineProblem, YamlTree, inside, read_yaml

PRICES_FILE = "prices.yaml"
USD = "USD"
MAX_PRICES = 2_000
MAX_KNOWN = 1_000
MAX_PRICE = 10**6
MAX_PATTERN_CHARS = 200
_TOP_KEYS = frozenset({"currency", "rates", "prices"})
_PATTERNS = ("model", "channel", "host")
_AMOUNTS = ("input", "output", "cachedInput", "perRequest")
_ENTRY_KEYS = frozenset({*_PATTERNS, *_AMOUNTS, "currency", "from"})
_CURRENCY = re.compile(r"[A-Z]{3}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class Taken:
    """What is priced: one request, and what it took. `host` is `name:port`, `at_ms` in milliseconds since 1970."""

    model: str
    answered: str
    channel: str
    host: str
    at_ms: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Cost:
    """`nanos`: billionths of a unit of the currency."""

    nanos: int
    currency: str


@dataclass(frozen=True)
class Rates:
    """Prices in units of the currency: of a million tokens, and of one request."""

    input: Decimal
    output: Decimal
    cached_input: Decimal
    per_request: Decimal

    def nanos(self, taken: Taken) -> int:
        fresh = taken.input_tokens - taken.cached_tokens
        tokens = fresh * self.input + taken.cached_tokens * self.cached_input + taken.output_tokens * self.output
        return int((tokens * 1000 + self.per_request * 10**9).to_integral_value())


@dataclass(frozen=True)
class Price:
    """One price of the file.

    Attributes:
        patterns: Of model, channel and host; `*` and `?` as in names of files.
        rates: None: it is written wrongly, so that what it fits costs nobody knows what.
        from_ms: It counts for requests from then on.
    """

    patterns: tuple[str, str, str]
    rates: Rates | None
    currency: str
    from_ms: int = 0

    @cached_property
    def _matchers(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(translate(pattern.lower())) for pattern in self.patterns)

    def fits(self, taken: Taken) -> bool:
        """By its names; its time is another matter."""
        model, channel, host = self._matchers
        names = (taken.model, taken.answered)
        # A pattern of a host may leave out the port.
        hosts = (taken.host, taken.host.rpartition(":")[0])
        return (
            any(name and model.match(name.lower()) for name in names)
            and channel.match(taken.channel.lower()) is not None
            and any(host.match(name.lower()) for name in hosts)
        )


@dataclass(frozen=True)
class PriceFile:
    """What a file says.

    Attributes:
        currency: Of prices that name none, of budgets, and of all sums.
        rates: How much of it one unit of another currency is worth.
        prices: The first that fits counts.
        known: Names of requests to the prices that fit them.
    """

    currency: str = USD
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    prices: tuple[Price, ...] = ()
    problems: tuple[LineProblem, ...] = ()
    known: dict[tuple[str, ...], tuple[Price, ...]] = field(default_factory=dict, compare=False, repr=False)

    def cost(self, taken: Taken) -> Cost | None:
        """By the first price that fits. Raises NoPrice: none does."""
        found = next((price for price in self._fitting(taken) if taken.at_ms >= price.from_ms), None)
        if found is None:
            raise NoPrice
        return None if found.rates is None else self.exchanged(Cost(found.rates.nanos(taken), found.currency))

    def _fitting(self, taken: Taken) -> tuple[Price, ...]:
        names = (taken.model, taken.answered, taken.channel, taken.host)
        if (found := self.known.get(names)) is None:
            if len(self.known) >= MAX_KNOWN:  # names come from strangers
                self.known.clear()
            found = self.known[names] = tuple(price for price in self.prices if price.fits(taken))
        return found

    def exchanged(self, cost: Cost) -> Cost:
        """In the currency of the file, where it says what the other one is worth."""
        rate = self.rates.get(cost.currency)
        return cost if rate is None else Cost(int((cost.nanos * rate).to_integral_value()), self.currency)


class NoPrice(LookupError):
    """The file says nothing of such a request."""


def read_prices(data: bytes) -> PriceFile:
    """Read and check a file. What is wrong is told with its line, and what is right counts."""
    try:
        tree = read_yaml(PRICES_FILE, data)
    except InvalidFile as error:
        return PriceFile(problems=error.problems)
    if tree.value is None:
        return PriceFile()
    if not isinstance(tree.value, Mapping):
        return PriceFile(problems=(LineProblem(1, "the file must hold a mapping with 'prices'"),))
    return _File(tree, tree.value).read()


class _File:
    """Reads the mapping of a file, and keeps what is wrong with it."""

    def __init__(self, tree: YamlTree, raw: Mapping[str, Any]) -> None:
        self._tree = tree
        self._raw = raw
        self._problems: list[LineProblem] = []

    def read(self) -> PriceFile:
        self._look_for_unknown(self._raw, _TOP_KEYS, "")
        currency = self._currency(self._raw, "") or USD
        rates = {} if self._raw.get("rates") is None else dict(self._rates(self._raw["rates"]))
        raw = self._raw.get("prices")
        if raw is not None and not isinstance(raw, list):
            self._complain("prices", "'prices' must be a list")
            raw = None
        items = raw or []
        if len(items) > MAX_PRICES:
            self._complain("prices", f"{len(items)} prices are too many; at most {MAX_PRICES} are read")
        found = (self._price(item, inside("prices", index), currency) for index, item in enumerate(items[:MAX_PRICES]))
        prices = tuple(price for price in found if price is not None)
        return PriceFile(currency, rates, prices, tuple(self._problems))

    def _rates(self, raw: Any) -> Iterator[tuple[str, Decimal]]:
        if not isinstance(raw, Mapping):
            self._complain("rates", "'rates' must be a mapping of a currency to what one unit of it is worth")
            return
        for name, value in raw.items():
            place = inside("rates", name)
            if not _CURRENCY.fullmatch(name):
                self._complain(place, "a currency has three capital letters, as USD")
            elif (rate := self._amount(value, place)) is not None:
                yield name, rate

    def _price(self, raw: Any, place: str, currency: str) -> Price | None:
        if not isinstance(raw, Mapping):
            self._complain(place, "a price must be a mapping, as {model: gpt-4o*, input: 2.5, output: 10}")
            return None
        known = len(self._problems)
        self._look_for_unknown(raw, _ENTRY_KEYS, place)
        patterns = [self._pattern(raw, key, place) for key in _PATTERNS]
        if None in patterns:
            return None
        own = self._currency(raw, place) or currency
        rates, from_ms = self._prices_of(raw, place), self._from(raw, place)
        is_sound = len(self._problems) == known
        model, channel, host = (pattern or "*" for pattern in patterns)
        return Price((model, channel, host), rates if is_sound else None, own, from_ms)

    def _pattern(self, raw: Mapping[str, Any], key: str, place: str) -> str | None:
        value = raw.get(key, "*")
        if isinstance(value, str) and 0 < len(value) <= MAX_PATTERN_CHARS and value.count("*") <= 10:
            return value
        self._complain(inside(place, key), f"{key!r} must be a text of at most {MAX_PATTERN_CHARS} characters")
        return None

    def _prices_of(self, raw: Mapping[str, Any], place: str) -> Rates | None:
        found = {key: self._amount(raw[key], inside(place, key)) for key in _AMOUNTS if raw.get(key) is not None}
        if ("input" in found) != ("output" in found) or not found:
            self._complain(place, "a price needs 'input' and 'output' (of a million tokens), or 'perRequest'")
        if None in found.values():
            return None
        given = {key: value for key, value in found.items() if value is not None}
        nothing = Decimal(0)
        tokens = given.get("input", nothing)
        cached = given.get("cachedInput", tokens)
        return Rates(tokens, given.get("output", nothing), cached, given.get("perRequest", nothing))

    def _amount(self, value: Any, place: str) -> Decimal | None:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_PRICE:
            return Decimal(str(value))
        self._complain(place, f"it must be a number from 0 to {MAX_PRICE:,}")
        return None

    def _currency(self, raw: Mapping[str, Any], place: str) -> str | None:
        value = raw.get("currency")
        if value is None or (isinstance(value, str) and _CURRENCY.fullmatch(value)):
            return value
        self._complain(inside(place, "currency"), "a currency has three capital letters, as USD")
        return None

    def _from(self, raw: Mapping[str, Any], place: str) -> int:
        value = raw.get("from")
        if value is None:
            return 0
        try:
            if isinstance(value, str) and _DAY.fullmatch(value):
                day = datetime.datetime.fromisoformat(value).replace(tzinfo=datetime.UTC)
                return int(day.timestamp() * 1000)
        except ValueError:
            pass
        self._complain(inside(place, "from"), "'from' must be a day, as 2030-01-31")
        return 0

    def _look_for_unknown(self, raw: Mapping[str, Any], known: frozenset[str], place: str) -> None:
        for key in raw.keys() - known:
            self._complain(inside(place, key), f"{key[:40]!r} is not known here; known are {', '.join(sorted(known))}")

    def _complain(self, place: str, message: str) -> None:
        self._problems.append(self._tree.problem(place, message))
