"""core:APISettings: where a language model is asked, and with which key."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.hosts import is_demo_model
from innkeeper.nodes.library.utilities.text import is_truthy
from innkeeper.nodes.node import Inputs, NodeContext

_DEFAULT_PORTS = {"http": 80, "https": 443}


async def api_settings(inputs: Inputs, context: NodeContext) -> dict[str, dict[str, Any]]:
    """Bundle an endpoint and its key. The key stays a reference: this node never sees its value.

    With `use_env_vars`, OPENAI_API_BASE and OPENAI_API_KEY of the operator win over the inputs where they are set.

    Raises:
        NodeInputError: A user name or password stands in `base_url`, which is no place for a secret.
    """
    use_env_vars = is_truthy(inputs.get("use_env_vars"))
    base_url, api_key = inputs.get("base_url"), inputs.get("api_key")
    if use_env_vars:
        secrets = context.services.secrets
        base_url = secrets.setting("OPENAI_API_BASE") or base_url
        api_key = secrets.from_environment("OPENAI_API_KEY") or api_key
    settings = {"use_env_vars": use_env_vars, "base_url": _with_version(base_url, context), "api_key": api_key}
    adapter = inputs.get("adapter")
    return {"api_settings": settings | ({"adapter": adapter} if adapter else {})}


def _with_version(base_url: Any, context: NodeContext) -> Any:
    """Add `/v1` to an address without a path; any other path is taken as meant."""
    if not isinstance(base_url, str) or not base_url or is_demo_model(base_url):
        return base_url
    origin = _bare_origin(base_url)
    if origin is None:
        # The value stays out of the warning: it may hold a key.
        context.warn("invalid_url", "'base_url' is not an http or https URL; it is used as it is")
        return base_url
    if not origin and "@" in urlsplit(base_url).netloc:
        raise NodeInputError("'base_url' holds a user name or password, which would stay readable; use 'api_key'")
    return f"{origin}/v1" if origin else base_url


def _bare_origin(base_url: str) -> str | None:
    """`scheme://host[:port]` of a URL without a path, "" for one with a path, None for what is no URL."""
    try:
        parts = urlsplit(base_url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        return None
    if parts.path not in ("", "/"):
        return ""
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{shown_host}{shown_port}"


definition = NodeDefinition(
    type="APISettings",
    category="TEST-LLM",
    display_name="API settings",
    display_names={"zh": "API 设置"},
    description="The address of a model server and the key for it.",
    inputs={
        "use_env_vars": Input(
            "BOOLEAN",
            display_name="Use environment",
            description="Take OPENAI_API_BASE and OPENAI_API_KEY of the server where they are set.",
            required=True,
            config={"default": False},
        ),
        "base_url": Input(
            "STRING",
            display_name="Base URL",
            description="Such as https://host/v1; without a path it gets /v1. 'demo' is the demo model of the gateway.",
            required=True,
            match_categories=("Url",),
            config={"default": "https://api.openai.com/v1", "multiline": False},
        ),
        "api_key": Input(
            "STRING",
            display_name="API key",
            description="Stored encrypted; may stay empty for a server that needs none.",
            required=True,
            config={"default": "", "multiline": False},
            secret=True,
        ),
        "adapter": Input(
            "STRING",
            display_name="Protocol",
            description="What the server speaks: openai, openai-responses, anthropic, gemini, ollama, or a plugin's.",
            config={"default": "", "multiline": False},
        ),
    },
    outputs={
        "api_settings": Output(
            "OBJECT",
            display_name="API settings",
            description="Address and key for a node that asks a model.",
            match_categories=("LlmConfig",),
            secret_keys=("api_key",),
        )
    },
    execute=api_settings,
    placement="inline",
)
