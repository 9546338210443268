"""Parameters of a request as the channel's traits shape them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.node import ChannelTraits


def shaped(parameters: Mapping[str, Any], traits: ChannelTraits) -> dict[str, Any]:
    """Renamed, with defaults, and without what the model refuses. Null asks for nothing and is left out."""
    found = {key: value for key, value in {**traits.defaults, **parameters}.items() if value is not None}
    named = {traits.rename.get(key, key): value for key, value in found.items() if key not in traits.drop}
    return {key: value for key, value in named.items() if key not in traits.drop}
