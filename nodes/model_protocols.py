"""The protocols of language models that Innkeeper speaks by itself; plugins may add others."""

BUILT_IN_ADAPTERS = ("openai", "openai-responses", "anthropic", "gemini", "ollama")
"""Their names, as a channel gives them as its `adapterType`."""
