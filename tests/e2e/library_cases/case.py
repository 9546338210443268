"""One graph that is played through the real stack, and what must come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A run that ends well, unless `fails` names the nodes that must fail.

    Attributes:
        nodes: As in an execution payload: `{"id", "fullType", "inputs", "configValues"}`. `{{BASE}}` in a text stands
            for the gateway's address (its demo model is `{{BASE}}/demo/v1`), `{{WEB}}` for a small web server.
        edges: `"source.slot > target.slot"`.
        expect: node id to its outputs, compared slot by slot; a callable is asked about the value.
        files: Logical path to content, written before the run; `data://` is the data directory itself, and names in
            braces are replaced in files there.
        fails: node id to a word of its error code or message.
    """

    name: str
    nodes: Sequence[Mapping[str, Any]]
    edges: Sequence[str] = ()
    expect: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    fails: Mapping[str, str] = field(default_factory=dict)
    interface_inputs: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[Any], bool]
