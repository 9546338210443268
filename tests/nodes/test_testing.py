"""`run_node`: what authors of nodes test with."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.definition import Input, Mode, NodeDefinition, Output
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.node import Chunk, Outputs
from innkeeper.nodes.testing import run_node

TEXT = {"text": Output("STRING")}


def definition(execute: Any, **more: Any) -> NodeDefinition:
    inputs = {"text": Input("STRING", config={"default": "by default"})}
    return NodeDefinition("T", "c", "T", "A toy.", inputs=inputs, outputs=TEXT, execute=execute, **more)


async def test_a_node_gets_defaults_settings_and_what_is_given() -> None:
    async def execute(inputs: Any, context: Any) -> Any:
        context.warn("odd", "this is odd")
        context.progress(1, 2)
        return {"text": f"{inputs['text']} {context.config_values['tone']} {context.plugin_settings['key']}"}

    node = definition(execute, config_schema={"tone": Input("STRING", config={"default": "soft"})})
    run = await run_node(node, settings={"key": 1})
    assert run.outputs == {"text": "by default soft 1"}
    assert run.warnings == [{"code": "odd", "message": "this is odd"}]
    assert run.progress == [(1, 2)]
    run = await run_node(node, {"text": "given"}, config={"tone": "loud"}, settings={"key": 2})
    assert run.outputs == {"text": "given loud 2"}


async def test_a_stream_has_chunks_text_and_outputs() -> None:
    async def execute(inputs: Any, context: Any) -> Any:
        yield Chunk("text_chunk", "a")
        yield Chunk("custom", {"x": 1})
        yield Chunk("text_chunk", "b")
        yield Outputs(text="ab")

    run = await run_node(definition(execute))
    assert (run.text, len(run.chunks), run.outputs) == ("ab", 3, {"text": "ab"})


async def test_exceptions_come_through_and_missing_services_say_what_to_give() -> None:
    async def fails(inputs: Any, context: Any) -> Any:
        raise NodeInputError("no")

    async def asks(inputs: Any, context: Any) -> Any:
        return await context.services.http.request(None)

    with pytest.raises(NodeInputError):
        await run_node(definition(fails))
    with pytest.raises(AssertionError, match=r"services\.http: give run_node one"):
        await run_node(definition(asks))


async def test_a_mode_has_slots_and_code_of_its_own() -> None:
    async def low(inputs: Any, context: Any) -> Any:
        return {"text": inputs["n"] + context.mode_id}

    mode = Mode("low", "Low", {"n": Input("STRING", config={"default": "n"})}, TEXT, execute=low)
    node = definition(None, modes={"low": mode}, mode_config_key="mode")
    assert (await run_node(node, mode="low")).outputs == {"text": "nlow"}
