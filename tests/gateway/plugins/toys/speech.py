"""A protocol that differs from OpenAI's in its name alone."""

from innkeeper.nodes.services.llm.openai_chat import OpenAIChat


class Speech(OpenAIChat):
    name = "toys-speech"
    display_name = "Toy speech"


def make():
    return Speech()
