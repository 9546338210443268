"""Values arrive as they were given: order of keys, great numbers, odd texts; what was written before can be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.client import Client
from temporalio.converter import DataConverter

from innkeeper.nodes.node import NodeContext
from innkeeper.workflows.engine.workflow_context import RunStart
from innkeeper.workflows.payload_converter import DATA_CONVERTER
from innkeeper.workflows.plan import InterfaceOutput
from tests.workflows.toys import Toys, node, toy_worker

OURS = DATA_CONVERTER.payload_converter
SDK = DataConverter.default.payload_converter
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)  # halves of surrogate pairs too
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT
ANY_JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4), max_leaves=12
)


def there_and_back(value: Any) -> Any:
    return OURS.from_payloads(OURS.to_payloads([value]), [Any])[0]


def written(value: Any) -> list[Any]:
    """With the order of keys, which == on objects does not see."""
    if isinstance(value, dict):
        return ["object", *([key, written(item)] for key, item in value.items())]
    return ["list", *map(written, value)] if isinstance(value, list) else [type(value).__name__, value]


@given(ANY_JSON)
def test_any_json_comes_back_in_its_order(value: Any) -> None:
    assert written(there_and_back(value)) == written(value)


@given(ANY_JSON)
def test_what_the_sdk_wrote_is_read_and_the_sdk_reads_ours(value: Any) -> None:
    assert OURS.from_payloads(SDK.to_payloads([value]), [Any]) == [value]
    assert SDK.from_payloads(OURS.to_payloads([value]), [Any]) == [value]


def test_keys_keep_their_order_and_great_numbers_their_digits() -> None:
    value = {"role": "user", "content": "hi", "a": {"z": 1, "b": 10**30}}
    assert orjson.dumps(list(there_and_back(value))) == b'["role","content","a"]'
    assert there_and_back(value)["a"]["b"] == 10**30


@pytest.mark.parametrize("depth", [10, 250, 400])
def test_depth_is_no_matter(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    assert there_and_back(value) == value


def test_dataclasses_become_objects_and_come_back_by_their_type() -> None:
    start = RunStart(user_id="u", inputs={"z": 1, "a": [2]}, paused=True)
    (payload,) = OURS.to_payloads([start])
    assert payload == OURS.to_payloads([RunStart(user_id="u", inputs={"z": 1, "a": [2]}, paused=True)])[0]
    assert OURS.from_payloads([payload], [RunStart]) == [start]
    assert SDK.from_payloads([payload], [RunStart]) == [start]


@given(
    st.dictionaries(
        st.sampled_from(["user_id", "state_refs", "inputs", "streams", "repeat", "paused", "unknown"]),
        st.none() | st.booleans() | st.text(max_size=3) | st.lists(st.dictionaries(st.text(max_size=2), ANY_JSON)),
    )
)
def test_objects_become_the_dataclass_that_the_sdk_makes_of_them(fields: dict[str, Any]) -> None:
    payloads = OURS.to_payloads([fields])
    try:
        expected = SDK.from_payloads(payloads, [RunStart])
    except TypeError as refused:
        with pytest.raises(TypeError, match=f"^{re.escape(str(refused))}$"):
            OURS.from_payloads(payloads, [RunStart])
    else:
        assert OURS.from_payloads(payloads, [RunStart]) == expected


def test_damaged_payload_is_an_error_that_says_so() -> None:
    (payload,) = OURS.to_payloads([{"a": 1}])
    payload.data = b'{"a":'
    with pytest.raises(RuntimeError, match="could not be converted"):
        OURS.from_payloads([payload], [Any])


async def test_an_object_goes_from_node_to_node_in_its_order(temporal: Client, tmp_path: Path) -> None:
    toys = Toys()
    seen: list[Any] = []

    async def give(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        return {"out": {"role": "user", "content": "hi", "10": 1, "9": {"z": 1, "a": 2}}}

    async def take(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        seen.extend(inputs["in"])
        return {"out": inputs["in"][0]}

    toys.add("give", give)
    toys.add("take", take)
    async with toy_worker(temporal, toys, tmp_path) as worker:
        outputs = {"x": InterfaceOutput("b", "out")}  # type: ignore[arg-type]
        handle = await worker.start(node("a", "give"), node("b", "take", "a"), interface_outputs=outputs)
        result = await handle.result()
    wanted = written({"role": "user", "content": "hi", "10": 1, "9": {"z": 1, "a": 2}})
    assert [written(value) for value in (*seen, result["outputs"]["x"])] == [wanted, wanted]
