"""Reading presets."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.presets import (
    DEFAULT_ORDER,
    MARKERS,
    Preset,
    load_preset,
    parameters,
    read_preset,
    without_secrets,
)
from tests.effort import examples


def order_of(preset: Preset) -> list[str]:
    return [entry.identifier for entry in preset.order if entry.enabled]


def lists(*orders: tuple[Any, list[str]]) -> list[dict[str, Any]]:
    return [
        {"character_id": identity, "order": [{"identifier": name, "enabled": True} for name in names]}
        for identity, names in orders
    ]


def test_no_preset_gives_default_order_without_the_enhancement() -> None:
    preset = read_preset(None)
    assert order_of(preset) == [name for name in DEFAULT_ORDER if name != "enhanceDefinitions"]
    assert (preset.max_context, preset.max_tokens, preset.wi_format) == (4095, 300, "{0}")
    assert set(MARKERS) <= set(preset.prompts)


def test_defaults_of_a_prompt_with_nothing_but_an_identifier() -> None:
    prompt = read_preset({"prompts": [{"identifier": "x"}]}).prompts["x"]
    assert (prompt.role, prompt.content, prompt.system_prompt, prompt.in_chat) == ("system", "", None, False)
    assert (prompt.depth, prompt.order, prompt.triggers, prompt.forbid_overrides) == (4, 100, (), False)


def test_old_fields_become_prompts() -> None:
    old = {"main_prompt": "M", "nsfw_prompt": "N", "jailbreak_prompt": "J", "openai_max_context": 8000}
    prompts = read_preset(old).prompts
    assert [prompts[name].content for name in ("main", "nsfw", "jailbreak")] == ["M", "N", "J"]


def test_old_fields_do_not_hide_prompts() -> None:
    preset = read_preset({"main_prompt": "old", "prompts": [{"identifier": "main", "content": "new"}]})
    assert preset.prompts["main"].content == "new"


def test_prompt_manager_export_holds_its_order_directly() -> None:
    order = [{"identifier": "main", "enabled": True}, {"identifier": "x", "enabled": True}]
    data = {"prompts": [{"identifier": "x", "content": "X", "system_prompt": False}], "prompt_order": order}
    preset = read_preset({"version": 1, "type": "full", "data": data})
    assert order_of(preset) == ["main", "x"]
    assert preset.prompts["x"].content == "X"


@pytest.mark.parametrize("identity", [100001, "100001"])
def test_current_order_list_is_used_though_others_are_longer(identity: Any) -> None:
    raw = {"prompts": [], "prompt_order": lists((100000, ["main", "nsfw", "jailbreak"]), (identity, ["main"]))}
    preset = read_preset(raw)
    assert order_of(preset) == ["main"]
    assert preset.warnings == ()


def test_longest_order_list_serves_without_the_current_one_and_says_so() -> None:
    preset = read_preset({"prompt_order": lists((7, ["main"]), (100000, ["main", "nsfw"]))})
    assert order_of(preset) == ["main", "nsfw"]
    assert "100001" in preset.warnings[0]
    assert "'100000'" in preset.warnings[0]


def test_odd_orders_are_told() -> None:
    names = ["main", "main", "nothing"]
    preset = read_preset(
        {"prompts": [{"identifier": "x"}, {"identifier": "x"}], "prompt_order": lists((100001, names))}
    )
    assert order_of(preset) == ["main"]
    assert len(preset.warnings) == 3


def test_empty_order_takes_the_default_and_says_so() -> None:
    preset = read_preset({"prompt_order": lists((100001, []))})
    assert "main" in order_of(preset)
    assert "order is empty" in preset.warnings[0]


@pytest.mark.parametrize(
    ("entry", "is_on"),
    [
        ({}, False),
        ({"enabled": True}, True),
        ({"enabled": 1}, True),
        ({"enabled": "true"}, True),
        ({"enabled": 0}, False),
        ({"enabled": None}, False),
        ({"enabled": "false"}, False),
    ],
)
def test_entry_is_on_when_its_flag_is_set_in_whatever_way(entry: dict[str, Any], is_on: bool) -> None:
    raw = [{"character_id": 100001, "order": [{"identifier": "main", **entry}]}]
    assert order_of(read_preset({"prompt_order": raw})) == (["main"] if is_on else [])


def test_other_flags_may_be_numbers_too() -> None:
    preset = read_preset({"prompts": [], "squash_system_messages": 1, "continue_prefill": 1})
    assert (preset.squash_system_messages, preset.continue_prefill) == (True, True)


@pytest.mark.parametrize("raw", [{"temp": 0.7}, {"story_string": ""}, {"input_sequence": "", "name": "x"}])
def test_text_completion_presets_are_refused_by_name(raw: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="text-completion"):
        read_preset(raw)


@pytest.mark.parametrize("raw", [[], "text", 3])
def test_what_is_no_object_is_refused(raw: Any) -> None:
    with pytest.raises(FormatError, match="expected an object"):
        read_preset(raw)


def test_parameters_have_the_names_of_a_request() -> None:
    raw = {
        "temp_openai": 0.8,
        "freq_pen_openai": 0.1,
        "presence_penalty": 0,
        "top_p_openai": 0.9,
        "top_k_openai": 0,
        "min_p": 0.05,
        "repetition_penalty": 1,
        "openai_max_tokens": 300,
        "seed": -1,
        "n": 1,
        "stream_openai": True,
        "reasoning_effort": "auto",
        "verbosity": "low",
    }
    assert parameters(raw) == {
        "temperature": 0.8,
        "frequency_penalty": 0.1,
        "presence_penalty": 0,
        "top_p": 0.9,
        "min_p": 0.05,
        "max_tokens": 300,
        "verbosity": "low",
        "stream": True,
    }


def test_name_in_the_file_goes_before_the_name_in_memory() -> None:
    assert parameters({"temperature": 1, "temp_openai": 0.2}) == {"temperature": 1}


def test_seed_and_n_count_only_when_they_mean_something() -> None:
    assert parameters({"seed": 0, "n": 2}) == {"seed": 0, "n": 2}


def test_connection_fields_go_and_unknown_fields_stay() -> None:
    raw = {"prompts": [], "proxy_password": "s", "reverse_proxy": "s", "custom_include_headers": "s", "own": [1]}
    assert without_secrets({**raw, "openai_model": "m", "custom_url": "u"}) == {"prompts": [], "own": [1]}


CONNECTION_FIELDS = (
    "azure_base_url", "azure_deployment_name", "azure_api_version", "vertexai_region", "vertexai_express_project_id",
    "workers_ai_account_id", "siliconflow_endpoint", "custom_include_body", "brand_new_model", "some_api_key", "apiKey",
    "next_year_access_token", "oauth_secret", "server_url",
)  # fmt: skip
KEPT_FIELDS = (
    "openai_max_tokens", "openai_max_context", "chat_completion_source", "custom_prompt_post_processing",
    "names_behavior", "stream_openai", "temperature", "show_external_models", "bias_preset_selected", "user_prompt",
)  # fmt: skip


@pytest.mark.parametrize("field", CONNECTION_FIELDS)
def test_connection_fields_are_known_by_their_words(field: str) -> None:
    assert without_secrets({field: "x", "prompts": []}) == {"prompts": []}


@pytest.mark.parametrize("field", KEPT_FIELDS)
def test_other_fields_are_not_taken_for_connection_fields(field: str) -> None:
    assert without_secrets({field: "x"}) == {field: "x"}


def test_secrets_of_extensions_go_and_their_other_data_stays() -> None:
    scripts = [{"scriptName": "s", "findRegex": "/a/"}]
    book = {"entries": [{"key": ["host"], "body": "b"}]}
    extensions = {"regex_scripts": scripts, "tool": {"apiKey": "s", "proxy_url": "s", "book": book}}
    kept = {"regex_scripts": scripts, "tool": {"book": book}}
    assert without_secrets({"extensions": extensions}) == {"extensions": kept}


def test_file_with_bad_bytes_is_read_and_the_place_told() -> None:
    loaded = load_preset("p.json", b'{"a":"\xff\xfe"}')
    assert loaded["raw"] == {"a": "\ufffd\ufffd"}
    assert loaded["warnings"][0]["code"] == "not_utf8"
    assert "byte 6" in loaded["warnings"][0]["message"]


@pytest.mark.parametrize("data", [b"", b"{", b'{"a":NaN}', b'{"a":[1,],}', b"[]", b"\x00" * 20, b"[" * 100_000])
def test_files_that_are_no_preset_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        load_preset("p.json", data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PROMPT_KEYS = ("identifier", "content", "role", "injection_depth", "injection_order", "injection_trigger", "marker")
PROMPT = st.fixed_dictionaries({}, optional=dict.fromkeys(PROMPT_KEYS, JSON))
PRESET_KEYS = ("openai_max_context", "wi_format", "names_behavior", "extensions", "temperature")
RAW = st.fixed_dictionaries(
    {"prompts": JSON | st.lists(PROMPT, max_size=4), "prompt_order": JSON},
    optional=dict.fromkeys(PRESET_KEYS, JSON),
)


@examples(150)
@given(RAW)
def test_any_object_is_read_or_refused_with_a_reason(raw: dict[str, Any]) -> None:
    preset = read_preset(raw)
    assert all(entry.identifier in preset.prompts for entry in preset.order)
    json.dumps(preset.parameters, allow_nan=False)


@examples(100)
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_refused_with_a_reason(data: bytes) -> None:
    with contextlib.suppress(InnkeeperError):
        assert isinstance(load_preset("p.json", data)["raw"], dict)
