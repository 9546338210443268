"""Messages for language models."""
