"""Language models behind one interface: adapters that speak a provider's protocol, and one vocabulary of errors."""

from innkeeper.nodes.services.llm.adapter import LlmAdapter
from innkeeper.nodes.services.llm.dispatch import DemoEndpoint, DispatchingLlm
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from innkeeper.nodes.services.llm.openai_chat import OpenAIChat
from innkeeper.nodes.services.llm.registry import AdapterRegistry, AdapterType, adapter_type, built_in_adapters

__all__ = [
    "AdapterRegistry",
    "AdapterType",
    "DemoEndpoint",
    "DispatchingLlm",
    "LlmAdapter",
    "OpenAIChat",
    "ProtocolAdapter",
    "adapter_type",
    "built_in_adapters",
]
