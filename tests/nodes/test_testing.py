from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from innkeeper.nodes.definition import Input, Mode, NodeDefinition, Output
from innkeeper.nodes.errors import NodeError
from innkeeper.nodes.node import Chunk, Inputs, NodeContext, Outputs
from innkeeper.nodes.testing import collect, collect_async, run_node, text_of


def definition(execute: object, **fields: object) -> NodeDefinition:
    return NodeDefinition("Toy", "Test", "Toy", "A toy.", execute=execute, **fields)  # type: ignore[arg-type]


OUT = {"out": Output("WILDCARD")}


async def echo(inputs: Inputs, context: NodeContext) -> Inputs:
    return inputs


def test_slots_get_defaults_and_first_suggestions() -> None:
    slots = {
        "given": Input("STRING", config={"default": "no"}),
        "default": Input("STRING", config={"default": ""}),
        "suggested": Input("STRING", config={"suggestions": ({"value": "first", "label": "1"},)}),
        "open": Input("STRING"),
    }
    outputs = {key: Output("STRING") for key in slots}
    found = run_node(definition(echo, inputs=slots, outputs=outputs), {"given": "yes", "unknown": 1})
    assert found == {"given": "yes", "default": "", "suggested": "first"}


def test_a_mode_brings_its_slots_and_function() -> None:
    async def shout(inputs: Inputs, context: NodeContext) -> dict[str, str]:
        return {"out": f"{inputs['text']}! in {context.mode_id}"}

    loud = Mode("loud", "Loud", inputs={"text": Input("STRING", required=True)}, outputs=OUT, execute=shout)
    node = definition(
        echo,
        modes={"loud": loud},
        mode_config_key="volume",
        config_schema={"volume": Input("STRING", config={"default": "quiet"})},
    )
    assert run_node(node, {"text": "hi"}, config={"volume": "loud"}) == {"out": "hi! in loud"}
    assert run_node(node, {"text": "hi"}) == {}


async def test_a_list_of_chunks_is_a_stream() -> None:
    async def relay(inputs: Inputs, context: NodeContext) -> AsyncIterator[Chunk | Outputs]:
        async for chunk in inputs["source"]:
            yield chunk
        yield Outputs(done=True)

    outputs = {"out": Output("STRING", is_stream=True), "done": Output("BOOLEAN")}
    node = definition(relay, inputs={"source": Input("STRING", is_stream=True)}, outputs=outputs)
    source = [Chunk("text_chunk", "a"), Chunk("custom", 1), Chunk("text_chunk", "b")]
    chunks, found = await collect_async(node, {"source": source})
    assert (chunks, found, text_of(chunks)) == (source, {"done": True}, "ab")


@pytest.mark.parametrize("last", [Chunk("text_chunk", "late"), "text", None])
def test_what_a_stream_node_may_not_yield_is_told(last: object) -> None:
    async def wrong(inputs: Inputs, context: NodeContext) -> AsyncIterator[object]:
        if isinstance(last, Chunk):
            yield Outputs()
        yield last

    with pytest.raises(NodeError, match="yields"):
        collect(definition(wrong), {})


def test_a_node_of_a_plugin_gets_the_settings_of_the_test() -> None:
    async def show(inputs: Inputs, context: NodeContext) -> dict[str, object]:
        return {"out": context.plugin_settings["marks"]}

    assert run_node(definition(show, outputs=OUT), {}, plugin_settings={"marks": 3}) == {"out": 3}


def test_a_plain_function_waits_for_its_services_and_reads_its_streams() -> None:
    def shout(inputs: Inputs, context: NodeContext) -> Iterator[Chunk | Outputs]:
        key = context.services.secrets.reveal(inputs["key"]).result()  # type: ignore[attr-defined]
        for chunk in inputs["source"]:
            yield Chunk("text_chunk", chunk.content.upper())
        yield Outputs(out=key)

    def whole(inputs: Inputs, context: NodeContext) -> dict[str, str]:
        return {"out": "done"}

    slots = {"key": Input("STRING", secret=True), "source": Input("STRING", is_stream=True)}
    source = [Chunk("text_chunk", "a"), Chunk("text_chunk", "b")]
    chunks, outputs = collect(definition(shout, inputs=slots, outputs=OUT), {"key": "canary", "source": source})
    assert (text_of(chunks), outputs) == ("AB", {"out": "canary"})
    assert run_node(definition(whole, outputs=OUT), {}) == {"out": "done"}


def test_outputs_are_held_against_the_definition() -> None:
    with pytest.raises(NodeError, match="which it does not declare"):
        run_node(definition(echo, inputs={"a": Input("STRING")}, outputs=OUT), {"a": "x"})
