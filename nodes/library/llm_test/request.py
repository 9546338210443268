"""What the nodes with an endpoint in the graph share: from inputs to one request to a language model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.hosts import DEMO_MODEL, host_of, is_demo_model
from innkeeper.nodes.library.llm.parameters import number_of
from innkeeper.nodes.node import ChatRequest, Inputs, NodeContext, SecretRef

_DOUBTFUL = re.compile(r"[\\\s\x00-\x1f\x7f]")


async def chat_request(messages: list[dict[str, Any]], inputs: Inputs, context: NodeContext) -> ChatRequest:
    """A request of the slots `api_settings`, `model`, `temperature` and `max_tokens`, with the key revealed.

    Raises:
        NodeInputError: One of them cannot be used.
        ResourceError: The key is not there, or not meant for this server.
    """
    base_url, api_key = _endpoint(inputs.get("api_settings"))
    model = inputs.get("model")
    if not isinstance(model, str) or not model.strip():
        raise NodeInputError("'model' is empty; give the name of a model")
    parameters = {"temperature": number_of(inputs, "temperature"), "max_tokens": number_of(inputs, "max_tokens")}
    # The last step before the call: an earlier failure must not have touched the key.
    if isinstance(api_key, SecretRef):
        api_key = await context.services.secrets.reveal(api_key, host=_host(base_url))
    return ChatRequest(
        base_url=base_url,
        model=model,
        messages=messages,
        api_key=api_key,
        parameters={key: value for key, value in parameters.items() if value is not None},
        idempotency_key=context.idempotency_key,
    )


def _endpoint(settings: Any) -> tuple[str, str | SecretRef]:
    if not isinstance(settings, Mapping):
        raise NodeInputError(
            "'api_settings' must be an object with 'base_url' and 'api_key', as core:APISettings gives"
        )
    base_url, api_key = settings.get("base_url"), settings.get("api_key")
    if not isinstance(base_url, str) or not base_url.strip():
        raise NodeInputError("'api_settings' has no 'base_url'; it looks like 'https://host/v1'")
    if is_demo_model(base_url):
        return DEMO_MODEL, ""  # it needs no key, and gets none
    if "@" in base_url.partition("//")[2].partition("/")[0] and not _DOUBTFUL.search(base_url):
        raise NodeInputError("'api_settings': 'base_url' holds a user name or password; use 'api_key'")
    if "?" in base_url or "#" in base_url:
        # The path of the request is put behind it: a graph could choose any path of a server, and hide ours.
        raise NodeInputError("'api_settings': 'base_url' must not hold '?' or '#'; it looks like 'https://host/v1'")
    if not isinstance(api_key, str | SecretRef | None):
        raise NodeInputError("'api_settings': 'api_key' must be a text")
    return base_url.strip(), api_key or ""


def _host(base_url: str) -> str:
    """`name:port` of the server. Only http and https have a port when none is told."""
    host = host_of(base_url)
    # Programs disagree on where a host ends behind such characters, and the key goes where this one says.
    if host is None or urlsplit(base_url).scheme not in ("http", "https") or _DOUBTFUL.search(base_url):
        raise NodeInputError("'api_settings': 'base_url' is not an http or https URL; it looks like 'https://host/v1'")
    return host
