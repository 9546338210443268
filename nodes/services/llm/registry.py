"""The protocols that are spoken here, by the name that a channel gives as its `adapterType`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.services.http import DIRECT, AddressPolicy, Network
from innkeeper.nodes.services.llm.adapter import LlmAdapter
from innkeeper.nodes.services.llm.anthropic import AnthropicMessages
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from innkeeper.nodes.services.llm.gemini import GeminiContent
from innkeeper.nodes.services.llm.ollama import OllamaChat
from innkeeper.nodes.services.llm.openai_chat import OpenAIChat
from innkeeper.nodes.services.llm.openai_responses import OpenAIResponses
from innkeeper.nodes.services.llm.plugin_adapter import ThreadedAdapter
from innkeeper.nodes.services.llm.wire import WireProtocol

log = logging.getLogger("innkeeper.llm")


@dataclass(frozen=True)
class AdapterType:
    """One protocol. `make` gives an adapter that reaches what the policy allows.

    Attributes:
        remote_media: Beginnings of the web addresses that the provider fetches itself.
        source: What it was made from; another one is another adapter, though it has the same name.
    """

    name: str
    display_name: str
    make: Callable[[AddressPolicy], LlmAdapter]
    remote_media: tuple[str, ...] = ()
    source: object = None


class AdapterRegistry:
    """Adapter types by name. A name that is registered again is replaced, with a warning.

    Args:
        others: Further ones, asked for whenever a name is looked up; those in `types` win.
    """

    def __init__(self, *types: AdapterType, others: Callable[[], Iterable[AdapterType]] = tuple) -> None:
        self._types: dict[str, AdapterType] = {}
        self._others = others
        for kind in types:
            self.register(kind)

    def register(self, kind: AdapterType) -> None:
        if kind.name in self._types:
            log.warning("the adapter %r is registered again; the later one is used", kind.name)
        self._types[kind.name] = kind

    def __iter__(self) -> Iterator[AdapterType]:
        return iter(self._all().values())

    @property
    def names(self) -> Collection[str]:
        """The names that there are whenever it is looked into."""
        return _Names(self)

    def get(self, name: str) -> AdapterType:
        """Raises ProviderError when there is no such type (`invalid_request_error`)."""
        kind = self._types.get(name) or self._all().get(name)
        if kind is None:
            message = f"there is no adapter {name[:64]!r}; adapters are {', '.join(self._all())}"
            raise ProviderError(message, code="invalid_request_error", retryable=False)
        return kind

    def make(self, name: str, policy: AddressPolicy) -> LlmAdapter:
        """A new adapter. Raises as `get`."""
        return self.get(name).make(policy)

    def remote_media(self, name: str) -> tuple[str, ...]:
        """Beginnings of the web addresses that the provider behind an adapter fetches itself. Raises as `get`."""
        return self.get(name).remote_media

    def _all(self) -> dict[str, AdapterType]:
        return {kind.name: kind for kind in self._others()} | self._types


class _Names(Collection[str]):
    def __init__(self, registry: AdapterRegistry) -> None:
        self._registry = registry

    def __contains__(self, name: object) -> bool:
        return any(name == known for known in self)

    def __iter__(self) -> Iterator[str]:
        return (kind.name for kind in self._registry)

    def __len__(self) -> int:
        return sum(1 for _ in self)


PROTOCOLS: tuple[WireProtocol, ...] = (
    *(OpenAIChat(), OpenAIResponses(), AnthropicMessages(), GeminiContent(), OllamaChat()),
)
"""What Innkeeper speaks by itself."""
EVERY_ADDRESS = ("http://", "https://")


class OfferedAdapter(Protocol):
    """A protocol that a plugin offers. `make` is code of the plugin: it may fail and block."""

    @property
    def name(self) -> str: ...
    @property
    def display_name(self) -> str: ...
    @property
    def plugin(self) -> str: ...
    @property
    def make(self) -> Callable[[], Any]: ...


def adapter_type(protocol: WireProtocol, network: Network = DIRECT) -> AdapterType:
    """The adapter of one protocol."""

    def make(policy: AddressPolicy) -> LlmAdapter:
        return ProtocolAdapter(protocol, policy, network=network)

    remote_media = getattr(protocol, "remote_media", EVERY_ADDRESS)
    return AdapterType(protocol.name, protocol.display_name, make, tuple(remote_media))


def plugin_adapter_type(offered: OfferedAdapter, network: Network = DIRECT) -> AdapterType:
    """The adapter of a plugin's protocol; it lives in a thread of its own."""
    who = f"{offered.name!r} of the plugin {offered.plugin!r}"

    def make(policy: AddressPolicy) -> LlmAdapter:
        return ThreadedAdapter(who, lambda: ProtocolAdapter(_protocol_of(offered, who), policy, network=network))

    return AdapterType(offered.name, offered.display_name, make, source=offered)


def _protocol_of(offered: OfferedAdapter, who: str) -> WireProtocol:
    made = offered.make()
    parts = ("request", "reader", "models_request", "models")
    if getattr(made, "framing", None) not in ("sse", "json_lines") or not all(
        callable(getattr(made, part, None)) for part in parts
    ):
        message = f"the adapter {who} is no WireProtocol: it needs framing ('sse' or 'json_lines'), {', '.join(parts)}"
        raise ProviderError(message, code="server_error", retryable=False)
    protocol: WireProtocol = made
    return protocol


def built_in_adapters(
    network: Network = DIRECT, plugins: Callable[[], Iterable[OfferedAdapter]] = tuple
) -> AdapterRegistry:
    """The adapters of `PROTOCOLS`, and those that plugins offer at the time."""
    own = (adapter_type(protocol, network) for protocol in PROTOCOLS)
    return AdapterRegistry(*own, others=lambda: (plugin_adapter_type(offered, network) for offered in plugins()))
