"""What a request cost: by the user's own prices first, then by public lists; else nobody knows."""

from __future__ import annotations

import asyncio
import datetime
import logging
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.gateway.usage.known_channels import KnownChannels
from innkeeper.gateway.usage.price_file import PRICES_FILE, USD, Cost, NoPrice, PriceFile, Taken, read_prices
from innkeeper.nodes.hosts import DEMO_MODEL
from innkeeper.nodes.services.files import FileStamp, stamp_of
from innkeeper.nodes.yaml_tree import MAX_BYTES, LineProblem

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

logger = logging.getLogger("innkeeper.gateway")

PublicPrices = Callable[[Taken, str | None], Cost | None]
"""What a request cost at a provider; None for that: the one whose host it is."""
LARGE = 20
"""From so many requests on they are priced in a thread: each takes up to 60 us."""


class Prices:
    """Prices at the time of a request.

    Args:
        file: `<data>/prices.yaml`, read again whenever it changes.
        load: Gives the public lists. Called once, in a thread, when the first request needs them.
        provider_of: The name that public lists have for the provider of a channel; None: its host tells.
    """

    def __init__(
        self,
        file: Path,
        load: Callable[[], PublicPrices] | None = None,
        *,
        provider_of: Callable[[str], str | None] = lambda channel: None,
    ) -> None:
        self._path = file
        self._load = load or load_public_prices
        self._provider_of = provider_of
        self._public: PublicPrices | None = None
        self._stamp: FileStamp | None = None
        self._file = PriceFile()
        self._reading = asyncio.Lock()
        self._loading: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, data_dir: Path, channels: KnownChannels) -> Prices:
        return cls(data_dir / PRICES_FILE, provider_of=channels.pricing_provider)

    async def costs(self, taken: Sequence[Taken], *, in_a_hurry: bool = False) -> list[Cost | None]:
        """What each request cost, in order; None: nobody knows.

        Args:
            in_a_hurry: Public lists that are not loaded yet are not waited for: what they know is not known then.
        """
        if not taken:
            return []
        await self.refresh()
        own = [self._own(each) for each in taken]
        if self._public is None and any(cost is _ASK_PUBLIC for cost in own):
            loading = self._begin_loading()
            if not in_a_hurry:
                await asyncio.shield(loading)
        if len(taken) >= LARGE:
            return await asyncio.to_thread(self._with_public, taken, own)
        return self._with_public(taken, own)

    async def refresh(self) -> PriceFile:
        """The user's file as it is now."""
        stamp = stamp_of(self._path)  # takes microseconds, where a thread would take hundreds
        if stamp != self._stamp:
            async with self._reading:  # nobody is priced by what has changed
                if stamp != self._stamp:
                    # In a thread: the parser may take seconds.
                    self._file, self._stamp = await asyncio.to_thread(_read, self._path), stamp
                    _tell(self._file)
        return self._file

    def _own(self, taken: Taken) -> Cost | None:
        if taken.host == DEMO_MODEL:
            return Cost(0, self._file.currency)
        try:
            return self._file.cost(taken)
        except NoPrice:
            return _ASK_PUBLIC

    def _with_public(self, taken: Sequence[Taken], own: Sequence[Cost | None]) -> list[Cost | None]:
        return [self._ask_public(each) if cost is _ASK_PUBLIC else cost for each, cost in zip(taken, own, strict=True)]

    def _ask_public(self, taken: Taken) -> Cost | None:
        found = self._public(taken, self._provider_of(taken.channel)) if self._public is not None else None
        return None if found is None else self._file.exchanged(found)

    def _begin_loading(self) -> asyncio.Task[None]:
        async def load() -> None:
            self._public = await asyncio.to_thread(self._loaded)

        if self._loading is None:
            self._loading = asyncio.create_task(load(), name="public-prices")
        return self._loading

    def _loaded(self) -> PublicPrices:
        try:
            return self._load()
        except Exception:  # a broken installation must not stop the accounts
            logger.exception("the public price lists cannot be loaded", extra={"event": "prices_missing"})
            return lambda taken, provider: None


_ASK_PUBLIC = Cost(-1, "")


def load_public_prices() -> PublicPrices:
    """The lists of `genai-prices`, which come with it: it asks no network. Takes 0.2 to 0.5 s at the first call."""
    from genai_prices import Usage
    from genai_prices.data_snapshot import get_snapshot

    providers = get_snapshot().providers

    # The library keeps every name that it was ever asked for; names come from strangers.
    @lru_cache(maxsize=1_000)
    def find(host: str, model: str, name: str | None) -> tuple[Provider, ModelInfo] | None:
        if name is not None:
            found = next((each for each in providers if each.id == name), None)
        else:
            found = next((each for each in providers if is_host_of(each.api_pattern, host)), None)
        info = found.find_model(model, all_providers=providers) if found is not None else None
        return None if found is None or info is None else (found, info)

    def price(taken: Taken, name: str | None) -> Cost | None:
        known = find(taken.host, taken.model, name) or find(taken.host, taken.answered, name)
        if known is None:
            return None
        provider, model = known
        usage = Usage(
            input_tokens=taken.input_tokens, cache_read_tokens=taken.cached_tokens, output_tokens=taken.output_tokens
        )
        moment = datetime.datetime.fromtimestamp(taken.at_ms / 1000, datetime.UTC)
        try:
            total = model.calc_price(usage, provider, genai_request_timestamp=moment).total_price
        except (LookupError, ValueError, ArithmeticError):
            return None
        return Cost(int((Decimal(total) * 10**9).to_integral_value()), USD)

    return price


def is_host_of(api_pattern: str, host: str) -> bool:
    """Is `name:443` where the API of this pattern is? The patterns are beginnings: they fit longer names, too."""
    name, _, port = host.rpartition(":")
    if port != "443" or "/" in name:
        return False
    url = f"https://{name}".lower()
    found = re.match(api_pattern, url)
    if found is None:
        return False
    rest = url[found.end() :]
    return not rest or (api_pattern.endswith(r"\.") and "." not in rest)


def _tell(file: PriceFile) -> None:
    for problem in file.problems:
        logger.warning("%s: %s", PRICES_FILE, problem, extra={"event": "prices_problem"})


def _read(path: Path) -> PriceFile:
    try:
        with path.open("rb") as file:
            return read_prices(file.read(MAX_BYTES + 1))
    except FileNotFoundError:
        return PriceFile()
    except (OSError, ValueError) as error:
        return PriceFile(problems=(LineProblem(0, f"the file cannot be read ({type(error).__name__})"),))
