"""How large a document may be, and reading its JSON with a clear word on what is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.nodes.json_values import InvalidJson, TooDeep, json_depth, read_json

_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
MAX_PATH_BYTES = 800
"""UTF-8 of a node's path in a run. Ids of activities and child workflows are built from it, with a run's id or a number
beside it; the server takes 1,000 bytes and refuses a workflow task with more again and again."""
MAX_READ_DEPTH = 500
"""A document that is nested deeper than its limit is told how deep it is, up to this depth."""
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Limits:
    """What one document may hold. `max_depth` counts nested objects and lists, the outermost included."""

    max_bytes: int = 10_000_000
    max_depth: int = 100
    max_nodes: int = 10_000
    max_edges: int = 50_000
    max_containers: int = 1_000_000


DEFAULT_LIMITS = Limits()


def load_json(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Read JSON text within the limits.

    Raises:
        InvalidWorkflow: `malformed_json` with line and column, `document_too_large` or `document_too_deep`.
    """
    if len(data) > limits.max_bytes:
        raise InvalidWorkflow([over_limit("document_too_large", "bytes", len(data), limits.max_bytes)])
    # Before anything is built: millions of empty lists are few bytes, and much memory and time.
    if (count := count_containers(data, limits.max_containers)) > limits.max_containers:
        raise InvalidWorkflow([over_limit("document_too_large", "objects and lists", count, limits.max_containers)])
    try:
        value = read_json(data.removeprefix(_BOM), max_depth=MAX_READ_DEPTH)
    except TooDeep:
        found = f"over {MAX_READ_DEPTH}"
        raise InvalidWorkflow([over_limit("document_too_deep", "levels", found, limits.max_depth)]) from None
    except InvalidJson as error:
        raise InvalidWorkflow([_unreadable(error)]) from None
    depth = json_depth(value)
    if depth > limits.max_depth:
        raise InvalidWorkflow([over_limit("document_too_deep", "levels", depth, limits.max_depth)])
    return value


def count_containers(data: bytes, enough: int) -> int:
    """How many objects and lists JSON text holds. Brackets inside texts count too, unless that is more than enough."""
    crude = data.count(b"{") + data.count(b"[")
    if crude <= enough:
        return crude
    bare = _TEXT.sub(b"", data)
    return bare.count(b"{") + bare.count(b"[")


def _unreadable(error: InvalidJson) -> Problem:
    place = "" if error.position is None else f" at line {error.position[0]}, column {error.position[1]}"
    return Problem("malformed_json", f"this is not JSON: {error.reason}{place}")


def over_limit(code: str, unit: str, found: int | str, allowed: int) -> Problem:
    return Problem(code, f"the document has {found} {unit}; the limit is {allowed}")


def id_bytes(text: str) -> int:
    """Bytes of UTF-8, as the server counts ids."""
    return len(text.encode("utf-8", "surrogatepass"))


def count_problems(nodes: int, edges: int, limits: Limits = DEFAULT_LIMITS) -> list[Problem]:
    """Problems of a document with that many nodes and edges."""
    problems = []
    if nodes > limits.max_nodes:
        problems.append(over_limit("too_many_nodes", "nodes", nodes, limits.max_nodes))
    if edges > limits.max_edges:
        problems.append(over_limit("too_many_edges", "edges", edges, limits.max_edges))
    return problems
