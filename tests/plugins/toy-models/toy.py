"""A protocol of one line a word: `POST /say` gives `{"word": ...}` lines, and `{"end": "stop", "tokens": 3}`."""

import json

from innkeeper.nodes.node import ChatResponse
from innkeeper.nodes.services.llm.messages import read_messages
from innkeeper.nodes.services.llm.wire import Done, Fault, Finish, Text, Usage, WireRequest


class Toy:
    name = "toy"
    display_name = "Toy protocol"
    framing = "json_lines"  # or "sse"

    def request(self, ask, *, stream):
        prompt = "\n".join(f"{message.role}: {message.text}" for message in read_messages(ask.messages))
        headers = {"Authorization": f"Bearer {ask.api_key}"} if ask.api_key else {}
        body = {"model": ask.model, "prompt": prompt, "stream": stream, **ask.parameters}
        return WireRequest(f"{ask.base_url.rstrip('/')}/say", headers, body)

    def reader(self, ask):
        return Reader(ask.model)

    def models_request(self, base_url, api_key):
        return WireRequest(f"{base_url.rstrip('/')}/models")

    def models(self, data):
        return tuple({"id": name} for name in data["names"])


class Reader:
    def __init__(self, model):
        self.model = model

    def event(self, name, data):
        line = json.loads(data)
        if "error" in line:
            yield Fault(line)
        elif "word" in line:
            yield Text(line["word"])
        else:
            yield Usage({"completion_tokens": line["tokens"]})
            yield Finish(line["end"])
            yield Done()

    def whole(self, data):
        return Fault(data) if "error" in data else ChatResponse(data["text"], self.model, data["end"])


def make():
    return Toy()
