"""Which models the server of a channel says it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path

from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.json_values import whole_text
from innkeeper.nodes.services.channels import Channel
from innkeeper.nodes.services.http import DIRECT, AddressPolicy, Network
from innkeeper.nodes.services.llm.registry import OfferedAdapter, built_in_adapters

ASKING_S = 20.0
MAX_LISTED = 5_000
MAX_ID_CHARS = 256
NO_MODEL = ""


def network_of(environ: Mapping[str, str]) -> Network:
    """The way that the workers go to models: these are settings of theirs."""
    authorities = environ.get("INNKEEPER_LLM_CA_BUNDLE")
    return Network(environ.get("INNKEEPER_LLM_PROXY", ""), Path(authorities) if authorities else None)


async def models_of(
    channel: Channel,
    key: str,
    policy: AddressPolicy,
    network: Network = DIRECT,
    *,
    plugins: Callable[[], Iterable[OfferedAdapter]] = tuple,
) -> tuple[str, ...]:
    """The ids, in the server's order, each once. `plugins`: the protocols that plugins offer.

    Raises:
        ProviderError: It does not tell, or not within `ASKING_S`.
        RequestRefused: The policy does not let it be asked.
    """
    adapter = built_in_adapters(network, plugins).make(channel.adapter_type, policy)
    try:
        async with aclosing(adapter), asyncio.timeout(ASKING_S):
            listed = await adapter.list_models(channel.base_url, key, channel.traits_of(NO_MODEL))
    except TimeoutError:
        message = f"no answer within {ASKING_S:.0f} s"
        raise ProviderError(message, code="timeout_error", retryable=True) from None
    names = (model.get("id") for model in listed)
    plain = (whole_text(name) for name in names if isinstance(name, str) and 0 < len(name) <= MAX_ID_CHARS)
    return tuple(dict.fromkeys(plain))[:MAX_LISTED]
