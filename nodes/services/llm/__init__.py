"""Language models behind one interface: adapters that speak a provider's protocol, and one vocabulary of errors."""

from nodes.services.llm.adapter import LlmAdapter
from nodes.services.llm.dispatch import DispatchingLlm
from nodes.services.llm.openai_adapter import OpenAIAdapter
from nodes.services.llm.registry import AdapterRegistry, AdapterType, built_in_adapters

__all__ = ["AdapterRegistry", "AdapterType", "DispatchingLlm", "LlmAdapter", "OpenAIAdapter", "built_in_adapters"]
