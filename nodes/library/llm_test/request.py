"""What the nodes with an endpoint in the graph share: from inputs to one request to a language model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.hosts import DEMO_MODEL, host_of, is_demo_model
from innkeeper.nodes.library.llm.parameters import Asking, parameters_of
from innkeeper.nodes.library.llm.settings import priority_of, times_of
from innkeeper.nodes.library.llm_test.slots import MAX_TOKENS, TEMPERATURE
from innkeeper.nodes.node import ChatRequest, Inputs, NodeContext, SecretRef

DEFAULT_ADAPTER = "openai"
_DOUBTFUL = re.compile(r"[\\\s\x00-\x1f\x7f]")
_SECRET_IN_QUERY = re.compile(r"[?&][^=&]*(key|token|secret|password|sig)[^=&]*=", re.IGNORECASE)
_SINGLE: Mapping[str, Input] = {"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS}


async def asking_of(messages: list[dict[str, Any]], inputs: Inputs, context: NodeContext) -> Asking:
    """What is asked by the slots `api_settings`, `model`, `temperature`, `max_tokens` and `parameters`.

    Raises:
        NodeInputError: One of them cannot be used.
        ResourceError: The key is not there, or not meant for this server.
    """
    settings = inputs.get("api_settings")
    base_url, api_key = _endpoint(settings)
    adapter = _adapter(settings)
    model = inputs.get("model")
    if not isinstance(model, str) or not model.strip():
        raise NodeInputError("'model' is empty; give the name of a model")
    parameters = parameters_of(inputs, _SINGLE, _SINGLE)
    times, priority = times_of(context), priority_of(context)
    # The last step before the call: an earlier failure must not have touched the key.
    if isinstance(api_key, SecretRef):
        api_key = await context.services.secrets.reveal(api_key, host=_host(base_url))
    request = ChatRequest(
        base_url=base_url,
        model=model,
        messages=messages,
        api_key=api_key.strip(),  # people paste a line end with it
        parameters=parameters.sent,
        idempotency_key=context.idempotency_key,
        adapter=DEFAULT_ADAPTER if base_url == DEMO_MODEL else adapter,
        times=times,
        priority=priority,
    )
    return Asking(request, parameters.unasked)


def _adapter(settings: Any) -> str:
    """The protocol that is spoken there; which ones there are is known to the worker that asks."""
    adapter = settings.get("adapter") if isinstance(settings, Mapping) else None
    if not isinstance(adapter, str | None):
        raise NodeInputError("'api_settings': 'adapter' must be a text like 'anthropic'")
    return (adapter or "").strip().lower() or DEFAULT_ADAPTER


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
    if not isinstance(api_key, str | SecretRef | None):
        raise NodeInputError("'api_settings': 'api_key' must be a text")
    if _SECRET_IN_QUERY.search(base_url):
        raise NodeInputError("'api_settings': 'base_url' holds a key in its query; use 'api_key'")
    # The adapter takes what people paste behind the base: the endpoint's path, a query that the server needs.
    return base_url.strip(), api_key or ""


def _host(base_url: str) -> str:
    """`name:port` of the server. Only http and https have a port when none is told."""
    host = host_of(base_url)
    # Programs disagree on where a host ends behind such characters, and the key goes where this one says.
    if host is None or urlsplit(base_url).scheme not in ("http", "https") or _DOUBTFUL.search(base_url):
        raise NodeInputError("'api_settings': 'base_url' is not an http or https URL; it looks like 'https://host/v1'")
    return host
