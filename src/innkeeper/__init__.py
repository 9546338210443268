"""Durable node graphs for LLM work: the names that authors of nodes and callers of a gateway need.

    from innkeeper import Input, NodeDefinition, Output

The packages `nodes`, `workflows`, `activities` and `gateway` of this repository are imported as `innkeeper.nodes` and
so on. Nothing is loaded before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from innkeeper.gateway.client import GatewayAway as GatewayAway
    from innkeeper.gateway.client import GatewayClient as GatewayClient
    from innkeeper.gateway.client import GatewayRefused as GatewayRefused
    from innkeeper.gateway.client.workflow_builder import Workflow as Workflow
    from innkeeper.nodes.definition import Input as Input
    from innkeeper.nodes.definition import NodeDefinition as NodeDefinition
    from innkeeper.nodes.definition import Output as Output
    from innkeeper.nodes.definition import Retry as Retry
    from innkeeper.nodes.errors import InnkeeperError as InnkeeperError
    from innkeeper.nodes.errors import InvalidNode as InvalidNode
    from innkeeper.nodes.errors import InvalidWorkflow as InvalidWorkflow
    from innkeeper.nodes.errors import NodeError as NodeError
    from innkeeper.nodes.errors import NodeInputError as NodeInputError
    from innkeeper.nodes.errors import NodeMustWait as NodeMustWait
    from innkeeper.nodes.errors import NodeTimeout as NodeTimeout
    from innkeeper.nodes.errors import PluginError as PluginError
    from innkeeper.nodes.errors import ProviderError as ProviderError
    from innkeeper.nodes.errors import ResourceError as ResourceError
    from innkeeper.nodes.errors import RunError as RunError
    from innkeeper.nodes.errors import RunNotActive as RunNotActive
    from innkeeper.nodes.errors import RunNotFound as RunNotFound
    from innkeeper.nodes.node import Chunk as Chunk
    from innkeeper.nodes.node import NodeContext as NodeContext
    from innkeeper.nodes.node import Outputs as Outputs

_MODULES = {
    "innkeeper.gateway.client": ("GatewayAway", "GatewayClient", "GatewayRefused"),
    "innkeeper.gateway.client.workflow_builder": ("Workflow",),
    "innkeeper.nodes.definition": ("Input", "NodeDefinition", "Output", "Retry"),
    "innkeeper.nodes.errors": (
        "InnkeeperError",
        "InvalidNode",
        "InvalidWorkflow",
        "NodeError",
        "NodeInputError",
        "NodeMustWait",
        "NodeTimeout",
        "PluginError",
        "ProviderError",
        "ResourceError",
        "RunError",
        "RunNotActive",
        "RunNotFound",
    ),
    "innkeeper.nodes.node": ("Chunk", "NodeContext", "Outputs"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'innkeeper' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
