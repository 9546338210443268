"""The protocols that are spoken here, by the name that a channel gives as its `adapterType`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.services.http import DIRECT, AddressPolicy, Network
from innkeeper.nodes.services.llm.adapter import LlmAdapter
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from innkeeper.nodes.services.llm.openai_chat import OpenAIChat
from innkeeper.nodes.services.llm.wire import WireProtocol

log = logging.getLogger("innkeeper.llm")


@dataclass(frozen=True)
class AdapterType:
    """One protocol. `make` gives an adapter that reaches what the policy allows."""

    name: str
    display_name: str
    make: Callable[[AddressPolicy], LlmAdapter]


class AdapterRegistry:
    """Adapter types by name. A name that is registered again is replaced, with a warning."""

    def __init__(self, *types: AdapterType) -> None:
        self._types: dict[str, AdapterType] = {}
        for kind in types:
            self.register(kind)

    def register(self, kind: AdapterType) -> None:
        if kind.name in self._types:
            log.warning("the adapter %r is registered again; the later one is used", kind.name)
        self._types[kind.name] = kind

    def __iter__(self) -> Iterator[AdapterType]:
        return iter(self._types.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._types)

    def make(self, name: str, policy: AddressPolicy) -> LlmAdapter:
        """A new adapter.

        Raises:
            ProviderError: There is no such type (`invalid_request_error`).
        """
        if name not in self._types:
            message = f"there is no adapter {name!r}; adapters are {', '.join(self._types)}"
            raise ProviderError(message, code="invalid_request_error", retryable=False)
        return self._types[name].make(policy)


PROTOCOLS: tuple[WireProtocol, ...] = (OpenAIChat(),)
"""What Innkeeper speaks by itself."""


def adapter_type(protocol: WireProtocol, network: Network = DIRECT) -> AdapterType:
    """The adapter of one protocol."""

    def make(policy: AddressPolicy) -> LlmAdapter:
        return ProtocolAdapter(protocol, policy, network=network)

    return AdapterType(protocol.name, protocol.display_name, make)


def built_in_adapters(network: Network = DIRECT) -> AdapterRegistry:
    """The adapters of `PROTOCOLS`."""
    return AdapterRegistry(*(adapter_type(protocol, network) for protocol in PROTOCOLS))
