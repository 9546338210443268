"""Whatever comes into a slot, a node gives outputs or says in a few words what is wrong: it never breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.definition import Input, Mode, NodeDefinition
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.node import Chunk, Route
from innkeeper.nodes.services.function_call import to_json
from innkeeper.nodes.testing import MemoryChannels, collect, memory_services
from tests.effort import examples

MARK = "Kolibri"
"""A word of a user's text, which no message may repeat."""
MAX_MESSAGE = 1_000
RESOURCES = ("user://a.json", "user://a.yaml", "user://a.png", "user://a.jsonl", "user://missing.json")


NODES = tuple(load_catalogue().get_definitions())


def variants() -> Iterator[Any]:
    """Every node type, in every mode it has."""
    for definition in NODES:
        for mode in definition.modes or (None,):
            name = definition.type if mode is None else f"{definition.type}-{mode}"
            yield pytest.param(definition, mode, id=name)


TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        (
            MARK,
            "{{ bird }}",
            "{{ bird",
            f"[{MARK}",
            f"({MARK}",
            f"/{MARK}(/g",
            f'["{MARK}"',
            f"http://{MARK}@[::1",
            f"data:image/png;base64,{MARK}",
            "user://out.png",
            "user://out.txt",
            "user://../x",
            "\ud800",
            "\0",
            "[" * 3000,
            "NaN",
            "1e999",
            "[[1,2],[3]]",
            "[[1,2],[2,4]]",
            "0x" + "f" * 400,
            "9" * 5000,
            '[{"role":"user","content":"x"}]',
            '{"a":1}',
            "text/plain",
            "GET",
            "https://example.com/",
        )
    ),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.sampled_from((10**30, -(10**400), 2**63, 0.5, -0.0, 1e308, float("nan"), float("inf"), float("-inf"))),
    TEXTS,
)
_KNOWN_KEYS = """
    role content name text type entries prompts prompt_order order identifier data spec key keys extensions
    character_book depth_prompt prompt depth position mes is_user is_system swipes pattern replacement flags findRegex
    replaceString scriptName placement base_url api_key description first_mes mes_example system_prompt timed variables
    enabled uid probability maxTokens timezone now worldInfo mode timeoutSeconds injection_position
"""
# Keys that readers look for, so that what lies below is reached, too.
KEYS = st.sampled_from((*_KNOWN_KEYS.split(), MARK, "", "\ud800", "__proto__"))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
CHUNKS = st.lists(
    st.builds(Chunk, st.sampled_from(("text_chunk", "usage_chunk", "finish_reason_chunk", "error_chunk", "")), VALUES),
    max_size=3,
)


def values_of(slot: Input) -> st.SearchStrategy[Any]:
    if "FilePath" in slot.match_categories:
        # A path may be told.
        return st.sampled_from(RESOURCES) | SCALARS.filter(lambda value: MARK not in str(value))
    if slot.is_stream:
        # A run makes chunks of a list; what `run_node` would make of one is no stream.
        return CHUNKS | SCALARS
    choices: list[st.SearchStrategy[Any]] = [VALUES, TEXTS]
    if slot.multi:
        choices.append(st.lists(VALUES, max_size=4))
    if "BINARY" in slot.data_flow_type or "ImageData" in slot.match_categories:
        choices.append(st.binary(max_size=20))
    return st.one_of(choices)


def some_of(slots: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={key: values_of(slot) for key, slot in slots.items()})


FILES = st.one_of(
    st.binary(max_size=40),
    VALUES.map(to_json),
    TEXTS.map(lambda text: text.encode(errors="surrogatepass")),
    st.sampled_from((b"\x89PNG\r\n\x1a\n", b"%YAML 9\n---\na", b"a: &a [*a]", b"- !!python/object:os.system x")),
)


@pytest.mark.parametrize(("definition", "mode"), list(variants()))
@examples(60)
@given(data=st.data())
def test_node_gives_outputs_or_says_what_is_wrong(
    definition: NodeDefinition, mode: str | None, data: st.DataObject
) -> None:
    slots: NodeDefinition | Mode = definition.modes[mode] if mode else definition
    inputs = data.draw(some_of(slots.inputs))
    config = data.draw(some_of(definition.config_schema))
    if mode and definition.mode_config_key:
        config[definition.mode_config_key] = mode
    file = data.draw(FILES) if definition.category in ("Loaders", "文件") else b""
    services = memory_services(
        files=dict.fromkeys(RESOURCES[:-1], file),
        channels=MemoryChannels(Route("one", "m", "https://example.com/v1")),
    )
    try:
        chunks, outputs = collect(definition, inputs, config=config, services=services)
    except InnkeeperError as error:
        check_message(error)
    else:
        assert all(isinstance(chunk, Chunk) for chunk in chunks)
        assert all(isinstance(key, str) for key in outputs)


def check_message(error: InnkeeperError) -> None:
    # `script_failed` is what an error that is not ours becomes on its way out of a script.
    assert error.code != "script_failed", error.message
    assert 0 < len(error.message) <= MAX_MESSAGE
    assert MARK not in error.message
    assert MARK not in json.dumps(error.details, default=str)
    assert "Traceback" not in error.message


def test_all_nodes_of_the_library_are_tried() -> None:
    assert {"core:ContextBuilder", "core:HttpRequest", "core:SaveImage"} <= {node.full_type for node in NODES}
