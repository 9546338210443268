"""What a core:ForEach or core:Loop repeats, and how far it is: data that survives continue-as-new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from temporalio.exceptions import ApplicationError

from innkeeper.nodes.call import OPEN_VALUE, is_blob, kind_of
from innkeeper.workflows.engine.engine_activities import engine_activity
from innkeeper.workflows.plan import PlannedNode

DEFAULT_CONCURRENCY = 8
MAX_CONCURRENCY = 100
DEFAULT_ITERATIONS = 100


@dataclass
class IterationState:
    """What is repeated, and how far it is.

    Attributes:
        items: The list, or a reference to it; of a loop None.
        shared: Inputs that every item gets.
        state: Of a loop: input key to value, the outputs of each round over it.
        next: Number of the item or round that comes next.
        pieces: References of finished outcomes `[[index, outcome], ...]`, stored apart.
        recent: Finished outcomes not yet stored: `{"outputs"}` or `{"error"}`.
        tables: References of the node tables of finished items.
        result_key: The output whose values the results are; `""`: all outputs, as objects.
        open: References of items begun and not finished: `[[number, own inputs, part of its node table], ...]`.
        counts: How many nodes of finished items ended in which status.
        table_bytes: JSON of the node tables of finished items.
    """

    kind: str
    items: Any = None
    item_key: str = ""
    concurrency: int = 1
    on_error: str = "fail"
    shared: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    condition_key: str = ""
    max_iterations: int = DEFAULT_ITERATIONS
    on_limit: str = "fail"
    next: int = 0
    total: int | None = None
    done: int = 0
    failed: dict[str, Any] | None = None
    pieces: list[dict[str, Any]] = field(default_factory=list)
    recent: list[list[Any]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    result_key: str = ""
    open: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    table_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def refused(path: str, message: str, code: str = "invalid_input") -> ApplicationError:
    return ApplicationError(f"node {path!r}: {message}", type=code, non_retryable=True)


def each_of(node: PlannedNode, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The beginning of a core:ForEach. Raises ApplicationError when its items are no list."""
    items = inputs.get("items")
    if not isinstance(items, list) and not is_blob(items):
        raise refused(node.id, f"'items' must be a list, found {kind_of(items)}")
    config = node.config
    return IterationState(
        "each",
        items=items,
        item_key=str(config.get("itemKey") or "item"),
        concurrency=min(max(int(config.get("concurrency") or DEFAULT_CONCURRENCY), 1), MAX_CONCURRENCY),
        on_error=str(config.get("onError") or "fail"),
        result_key=str(config.get("resultKey") or ""),
        shared={key: value for key, value in inputs.items() if key != "items"},
    ).to_json()


async def loop_of(node: PlannedNode, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The beginning of a core:Loop. Raises ApplicationError when its state is no object."""
    state = inputs.get("state")
    found = kind_of(state)
    if is_blob(state):
        opened = await engine_activity(OPEN_VALUE, {"value": state}, dict)
        state, found = opened["items"], opened["kind"]
    if not isinstance(state, Mapping):
        raise refused(node.id, f"'state' must be an object, found {found}")
    config = node.config
    return IterationState(
        "loop",
        state=dict(state),
        condition_key=str(config.get("conditionKey") or ""),
        max_iterations=int(config.get("maxIterations") or DEFAULT_ITERATIONS),
        on_limit=str(config.get("onLimit") or "fail"),
    ).to_json()
