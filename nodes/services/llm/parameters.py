"""Sampling parameters in the form that one model takes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.node import ChannelTraits


def shaped(parameters: Mapping[str, Any], traits: ChannelTraits) -> dict[str, Any]:
    """The parameters that are sent: with the channel's defaults and names, and without what the model refuses.

    A parameter that is None is left out, and so is the channel's default for it: that is how a node says "none".

    Example:
        >>> traits = ChannelTraits(rename={"max_tokens": "max_output"}, drop=("top_p",), defaults={"seed": 1})
        >>> shaped({"max_tokens": 9, "top_p": 1, "temperature": None}, traits)
        {'seed': 1, 'max_output': 9}
    """
    merged = {**_renamed(traits.defaults, traits.rename), **_renamed(parameters, traits.rename)}
    dropped = {*traits.drop, *(traits.rename[name] for name in traits.drop if name in traits.rename)}
    return {name: value for name, value in merged.items() if value is not None and name not in dropped}


def _renamed(parameters: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    # What already has the name that the server knows was meant so, and wins.
    given = parameters.keys() - names.keys()
    return {names.get(name, name): value for name, value in parameters.items() if names.get(name) not in given}
