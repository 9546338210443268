"""Language models behind one interface: adapters that speak a provider's protocol, and one vocabulary of errors."""

from nodes.services.llm.adapter import LlmAdapter
from nodes.services.llm.openai_adapter import OpenAIAdapter

__all__ = ["LlmAdapter", "OpenAIAdapter"]
