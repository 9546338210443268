"""The node types that workflows made elsewhere rely on: names, slots, types and defaults, one line per fact.

A slot is `key TYPE`, `~TYPE` for a stream, then `req`, `multi`, config items as `name=JSON`, and `#Category` marks.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from innkeeper.nodes.catalogue.checks import check_definition
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.testing import run_node

TABLE: dict[str, str] = {
    "GroupInput": """
        category Group
        out output_0 CONVERTIBLE_ANY #BehaviorConvertible
    """,
    "GroupOutput": """
        category Group
        in input_0 CONVERTIBLE_ANY #BehaviorConvertible
    """,
    "GenericLlmRequest": """
        category LLM
        width 350
        bypass mute
        in messages STRING default="[]" languageHint="json" multiline=true #Json #ChatHistory #NoDefaultEdit #UiBlock
        in parameters STRING default="{}" languageHint="json" #Json #LlmConfig #NoDefaultEdit
        in activated_model_id STRING
        in temperature FLOAT default=0.7 min=0 max=2 step=0.01
        in max_tokens INTEGER default=2048 min=1 max=65536 step=64
        in top_p FLOAT default=1.0 min=0 max=1 step=0.01
        in seed INTEGER default=0 min=0 step=1
        in stream BOOLEAN default=false
        in responseSchema OBJECT #Json
        out response OBJECT #LlmOutput
        out responseText STRING #LlmOutput
        out usage OBJECT #LlmOutput
        out stream_output ~STRING #StreamChunk
        out finish_reason STRING #LlmOutput
        out reasoning STRING #LlmOutput
        out tool_calls ARRAY #LlmOutput
        out data OBJECT #Json #LlmOutput
        config required_capabilities STRING default="llm,chat"
        config first_token_timeout FLOAT default=600 min=0 max
        config total_timeout FLOAT default=0 min=0 max
        config on_crash STRING default="restart" suggestions=["restart","continue","accept"] #ComboOption
    """,
    "CreateMessage": """
        category LLM
        width 300
        in role STRING req default="user" suggestions=["system","user","assistant"] #ComboOption
        in content STRING req default="" multiline=true #UiBlock #CanPreview
        out messages STRING #Json #ChatHistory
    """,
    "MergeMessages": """
        category LLM
        width 200
        bypass {"passThrough":{},"defaults":{"messages":"[]"}}
        in message_inputs STRING req multi #Json #ChatMessage #ChatHistory
        out messages STRING #Json #ChatHistory
    """,
    "APISettings": """
        category TEST-LLM
        in use_env_vars BOOLEAN req default=false
        in base_url STRING req default="https://api.openai.com/v1" multiline=false #Url
        in api_key STRING req default="" multiline=false
        in adapter STRING default multiline
        out api_settings OBJECT #LlmConfig
    """,
    "OpenAI": """
        category TEST-LLM
        bypass mute
        in api_settings OBJECT req #LlmConfig
        in model STRING req default="deepseek-chat" suggestions=["deepseek-chat","chatgpt-4o-latest",\
"claude-sonnet-4-20250514","gemini-2.5-flash-preview-05-20"]
        in temperature FLOAT req default=0.7 min=0 max=2 step=0.1
        in max_tokens INTEGER req default=512 min=1 max=16384
        in system_prompt STRING req default="" multiline=true #Prompt #UiBlock
        in prompt STRING req default="" multiline=true #Prompt #UiBlock
        in history STRING #ChatHistory #Json
        in image STRING #ImageData #Url
        in stream BOOLEAN default=false
        in parameters STRING default="{}" languageHint="json" #Json #LlmConfig #NoDefaultEdit
        out response STRING #LlmOutput
        out stream_output ~STRING #LlmOutput #TextStream
        out finish_reason STRING #LlmOutput
        out reasoning STRING #LlmOutput
        out usage OBJECT #LlmOutput
        config first_token_timeout FLOAT default=600 min=0 max
        config total_timeout FLOAT default=0 min=0 max
        config on_crash STRING default="restart" suggestions=["restart","continue","accept"] #ComboOption
    """,
    "OpenAIChat": """
        category TEST-LLM
        bypass mute
        in api_settings OBJECT req #LlmConfig
        in model STRING req default="gpt-4o" placeholder
        in temperature FLOAT req default=0.7 min=0 max=2 step=0.1
        in max_tokens INTEGER req default=512 min=1 max=16384
        in system_prompt STRING req multiline=true #Prompt
        in clear_history BOOLEAN req default=false
        in user_input STRING req multiline=true #Prompt
        in external_history STRING #ChatHistory #Json
        in image STRING #ImageData #Url
        in parameters STRING default="{}" languageHint="json" #Json #LlmConfig #NoDefaultEdit
        out full_conversation STRING #ChatHistory
        out current_output STRING #LlmOutput
        out history STRING #ChatHistory #Json
        out finish_reason STRING #LlmOutput
        out reasoning STRING #LlmOutput
        out usage OBJECT #LlmOutput
        config first_token_timeout FLOAT default=600 min=0 max
        config total_timeout FLOAT default=0 min=0 max
        config on_crash STRING default="restart" suggestions=["restart","continue","accept"] #ComboOption
    """,
    "History": """
        category TEST-LLM
        bypass {"passThrough":{},"defaults":{"history":"[]"}}
        in role1 STRING suggestions=["user","assistant","system"] #ComboOption
        in content1 STRING multiline=true
        in role2 STRING suggestions=["user","assistant","system"] #ComboOption
        in content2 STRING multiline=true
        in role3 STRING suggestions=["user","assistant","system"] #ComboOption
        in content3 STRING multiline=true
        in role4 STRING suggestions=["user","assistant","system"] #ComboOption
        in content4 STRING multiline=true
        out history STRING #ChatHistory #Json
    """,
    "MergeHistory": """
        category TEST-LLM
        bypass {"passThrough":{"history":"history1"},"defaults":{}}
        in history1 STRING #ChatHistory #Json
        in history2 STRING #ChatHistory #Json
        in history3 STRING #ChatHistory #Json
        in history4 STRING #ChatHistory #Json
        out history STRING #ChatHistory #Json
    """,
    "CharacterCardLoader": """
        category Loaders
        width 300
        bypass mute
        in path STRING #ResourceId #FilePath
        out characterData OBJECT #CharacterProfile
        config cardResource STRING req acceptedTypes=["json","png"] placeholder #ResourceId #FilePath
    """,
    "HistoryLoader": """
        category Loaders
        width 300
        bypass {"passThrough":{},"defaults":{"historyMessages":[]}}
        out historyMessages ARRAY #ChatHistory
        config historyResource STRING req acceptedTypes=["json"] placeholder #ResourceId #FilePath
    """,
    "PresetLoader": """
        category Loaders
        width 300
        bypass mute
        out presetData OBJECT
        config presetResource STRING req acceptedTypes=["json"] placeholder #ResourceId #FilePath
    """,
    "RegexRuleLoader": """
        category Loaders
        width 300
        bypass {"passThrough":{},"defaults":{"regexRules":[]}}
        out regexRules ARRAY #RegexRuleArray
        config ruleResource STRING req acceptedTypes=["json","yaml"] placeholder #ResourceId #FilePath
    """,
    "WorldBookLoader": """
        category Loaders
        width 300
        bypass mute
        out worldBookData OBJECT
        config worldBookResource STRING req acceptedTypes=["json","yaml"] placeholder #ResourceId #FilePath
    """,
    "ApplyRegex": """
        category Processors
        width 300
        bypass {"passThrough":{"outputText":"inputText"},"defaults":{}}
        in inputText STRING req
        in inlineRegexRules ARRAY defaultValue=[] #RegexRuleArray
        in regexRules ARRAY #RegexRuleArray
        out outputText STRING
    """,
    "ContextBuilder": """
        category Processors
        width 350
        bypass {"passThrough":{"finalMessages":"historyMessages"},"defaults":{}}
        in presetData OBJECT
        in worldBookData OBJECT
        in characterData OBJECT #CharacterProfile
        in historyMessages ARRAY #ChatHistory
        in userName STRING
        in persona WILDCARD
        in authorsNote WILDCARD
        in regexScripts ARRAY #RegexRuleArray
        in chatState OBJECT
        in variables OBJECT
        in settings OBJECT
        in maxContext INTEGER
        in seed WILDCARD
        out finalMessages ARRAY #ChatHistory
        out report OBJECT
        out chatState OBJECT
    """,
    "MathOperation": """
        category 数学
        in a FLOAT req
        in b FLOAT req
        in clamp BOOLEAN default=false
        out result FLOAT
        config operationMode STRING req default="add" searchable=true suggestions #ComboOption
    """,
    "MatrixOperation": """
        category 数学
        in a OBJECT req default="[[1, 0], [0, 1]]" #Matrix
        in b OBJECT req default="[[1, 0], [0, 1]]" #Matrix
        out result WILDCARD
        config operationMode STRING req default="add" searchable=true suggestions #ComboOption
    """,
    "TextMerge": """
        category 实用工具
        in separator STRING default="\\\\n" multiline=false
        in text_inputs STRING req multi #UiBlock
        out merged_text STRING
    """,
    "StreamLogger": """
        category 实用工具
        bypass {"passThrough":{"outputStream":"inputStream"},"defaults":{}}
        in inputStream ~WILDCARD req
        out outputStream ~WILDCARD
    """,
    "StreamSuffixRelay": """
        category 实用工具
        bypass {"passThrough":{"outputStream":"inputStream"},"defaults":{}}
        in inputStream ~STRING req
        in suffix STRING default="---" multiline=false
        out outputStream ~STRING
    """,
    "StreamAggregator": """
        category 实用工具
        in input_stream ~WILDCARD req
        out aggregated_text STRING
        out chunk_list ARRAY
        config aggregation_mode STRING default="collect_chunks_array"\
 suggestions=["collect_chunks_array","concatenate_text"] #ComboOption
        config timeout_ms INTEGER default=0 min=0
        config max_chunks_count INTEGER default=0 min=0
    """,
    "RandomNumber": """
        category 实用工具
        width 260
        script client-scripts/RandomNumberNode.js
        bypass {"passThrough":{"number":"value"},"defaults":{}}
        in mode STRING default="固定" suggestions=["固定","增加","减少","随机"] #ComboOption
        in value INTEGER default=0 min=0 max=4294967295
        in reroll WILDCARD label #Trigger
        out number INTEGER
    """,
    "TestWidgets": """
        category 实用工具
        in string_input STRING req default="这是默认文本" placeholder
        in text_input STRING req default="这是默认的\\n多行文本" multiline=true #UiBlock #CanPreview
        in markdown_input STRING default languageHint="markdown" multiline=true #Markdown #CanPreview #UiBlock
        in int_input INTEGER req default=10 min=0 max=100 step=1
        in float_input FLOAT req default=0.5 min=0 max=1 step=0.01
        in boolean_toggle BOOLEAN req default=true
        in combo_select STRING req default="选项A" suggestions=["选项A","选项B","选项C"] #ComboOption
        in json_input OBJECT default #Json #CanPreview #UiBlock
        in javascript_code_input STRING default languageHint="javascript" #Code #JavaScript #CanPreview
        in string_with_suggestions STRING default="默认值" suggestions=["预设A","预设B","另一个预设"]
        in int_with_suggestions INTEGER default=512 min=64 max=4096 step=64 suggestions=[256,512,1024,2048]
        in float_with_suggestions FLOAT default=7.5 min=0 max=15 step=0.5 suggestions=[1,5,7.5,10,12.5]
        in button_trigger WILDCARD label #Trigger
        out string_output STRING
        out text_output STRING
        out markdown_output STRING #Markdown
        out int_output INTEGER
        out float_output FLOAT
        out boolean_output BOOLEAN
        out combo_output STRING
        out json_output OBJECT #Json
        out javascript_code_output STRING #Code #JavaScript
        out string_with_suggestions_output STRING
        out int_with_suggestions_output INTEGER
        out float_with_suggestions_output FLOAT
    """,
}
MATH_MODES = {
    "a b": "add subtract multiply divide min max lessThan greaterThan modulo",
    "val1 val2 val3": "multiply_add",
    "base exponent": "power",
    "value base": "logarithm",
    "value": "sqrt inverse_sqrt absolute exp sign round floor ceil truncate fraction"
    " sin cos tan asin acos atan sinh cosh tanh",
    "y x": "atan2",
    "degrees": "to_radians",
    "radians": "to_degrees",
}
MATRIX_MODES = {"a b": "add subtract multiply", "matrix": "transpose invert det"}
_OPEN_CONFIG = {"acceptedTypes"}
"""A list in which further items are no harm."""


NODES = {definition.type: definition for definition in load_catalogue().get_definitions()}


@pytest.mark.parametrize("type", TABLE)
def test_node_type_is_as_workflows_know_it(type: str) -> None:
    node = NODES[type]
    assert told(node, TABLE[type]) == [" ".join(line.split()) for line in TABLE[type].strip().splitlines()]


def told(node: NodeDefinition, expected: str) -> list[str]:
    """The node's facts in the table's words; of a config item without a value in the table only its name."""
    data = node.to_json()
    lines = [f"category {node.category}"]
    lines += [f"width {node.width}"] if node.width else []
    lines += [f"script {node.client_script_url}"] if node.client_script_url else []
    bypass = data.get("bypassBehavior")
    if "bypass " in expected:
        text = bypass if isinstance(bypass, str) else json.dumps(bypass, separators=(",", ":"))
        lines.append(f"bypass {text}")
    sides: tuple[tuple[str, Any], ...] = (("in", node.inputs), ("out", node.outputs), ("config", node.config_schema))
    for side, slots in sides:
        for key, slot in slots.items():
            line = next((line for line in expected.splitlines() if line.split()[:2] == [side, key]), "")
            lines.append(f"{side} {key} {words(slot, ' '.join(line.split()))}")
    return lines


def words(slot: Input | Output, line: str) -> str:
    parts = [("~" if slot.is_stream else "") + slot.data_flow_type]
    if isinstance(slot, Input):
        parts += ["req"] if slot.required is True else []
        parts += ["multi"] if slot.multi else []
        parts += [item for name in ordered(slot, line) if (item := config_word(name, slot.config[name], line))]
    parts += [f"#{category}" for category in slot.match_categories]
    return " ".join(parts)


def ordered(slot: Input, line: str) -> list[str]:
    names = [word.split("=")[0] for word in line.split()[3:]]
    return sorted(slot.config, key=lambda name: names.index(name) if name in names else len(names))


def config_word(name: str, value: Any, line: str) -> str:
    if f" {name}=" not in line:
        # Placeholders and labels are ours to word, and to add.
        return name if f" {name} " in f"{line} " or name not in ("placeholder", "label") else ""
    if isinstance(value, tuple):
        value = [item["value"] if isinstance(item, dict) else item for item in value]
    if name in _OPEN_CONFIG:
        named = json.JSONDecoder().raw_decode(line.split(f" {name}=", 1)[1])[0]
        value = [item for item in value if item in named]
    compact = (",", ":") if isinstance(value, list) else None
    return f"{name}={json.dumps(value, ensure_ascii=False, separators=compact)}"


@pytest.mark.parametrize(("type", "modes"), [("MathOperation", MATH_MODES), ("MatrixOperation", MATRIX_MODES)])
def test_modes_have_the_slots_workflows_know(type: str, modes: dict[str, str]) -> None:
    node = NODES[type]
    slots = {mode: keys for keys, names in modes.items() for mode in names.split()}
    found = {id: " ".join(key for key in mode.inputs if key != "clamp") for id, mode in node.modes.items()}
    assert found == slots
    assert (node.default_mode_id, node.mode_config_key, node.falls_back_to_default_mode) == (
        "add",
        "operationMode",
        True,
    )
    assert all(list(mode.outputs) == ["result"] for mode in node.modes.values())
    assert all(("clamp" in mode.inputs) == (type == "MathOperation") for mode in node.modes.values())
    suggested = [item["value"] for item in node.config_schema["operationMode"].config["suggestions"]]
    assert sorted(suggested) == sorted(slots)


def test_matrix_modes_without_a_second_matrix_give_what_workflows_know() -> None:
    modes = NODES["MatrixOperation"].modes
    outputs = {id: modes[id].outputs["result"] for id in ("transpose", "invert", "det")}
    assert {id: (slot.data_flow_type, slot.match_categories) for id, slot in outputs.items()} == {
        "transpose": ("OBJECT", ("Matrix",)),
        "invert": ("OBJECT", ("Matrix",)),
        "det": ("FLOAT", ()),
    }
    assert all("default" not in modes[id].inputs["matrix"].config for id in outputs)


@pytest.mark.parametrize("type", NODES)
def test_node_type_is_sound_and_named_in_both_languages(type: str) -> None:
    node = NODES[type]
    check_definition(node)
    assert node.display_name.isascii()
    assert node.display_names.get("zh")
    assert node.description.isascii()
    for slot in (*node.inputs.values(), *node.outputs.values(), *node.config_schema.values()):
        assert slot.display_name is None or slot.display_name.isascii()


def test_rules_edited_in_the_node_open_their_panel() -> None:
    (action,) = NODES["ApplyRegex"].inputs["inlineRegexRules"].actions
    assert action["id"] == "edit_inline_rules"
    assert (action["handlerType"], action["handlerArgs"]["panelId"]) == ("open_panel", "RegexEditorModal")


USES_SERVICES = {
    *("GenericLlmRequest", "OpenAI", "OpenAIChat", "HttpRequest", "Template", "JsonExtract", "ApplyRegex"),
    *("ContextBuilder", "CharacterCardLoader", "HistoryLoader", "PresetLoader", "RegexRuleLoader", "WorldBookLoader"),
    *("LoadImage", "SaveImage", "SaveText"),
}


def test_nodes_that_wait_run_in_activities_of_their_own() -> None:
    assert {type for type in USES_SERVICES if NODES[type].placement != "activity"} == set()
    assert {type for type in ("HttpRequest", "SaveText", "SaveImage") if not NODES[type].side_effects} == set()


LONG = [{"role": "user", "content": "word " * 40}] * 200
GREAT = [[float((row * 7 + column) % 5) + (row == column) for column in range(20)] for row in range(20)]
BIG_INPUTS: dict[str, dict[str, Any]] = {
    "TextMerge": {"text_inputs": ["word " * 1000] * 200},
    "MergeMessages": {"message_inputs": [json.dumps(LONG), LONG]},
    "MergeHistory": {"history1": json.dumps(LONG), "history2": LONG},
    "CreateMessage": {"content": "word " * 20_000},
    "History": {"role1": "user", "content1": "word " * 20_000},
    "MatrixOperation": {"a": GREAT, "b": json.dumps(GREAT)},
}


@pytest.mark.parametrize("type", BIG_INPUTS)
def test_inline_node_is_quick_with_much_to_do(type: str) -> None:
    node = NODES[type]
    assert node.placement == "inline"
    assert min(seconds(node, BIG_INPUTS[type]) for _ in range(5)) < 0.02


def seconds(node: NodeDefinition, inputs: dict[str, Any]) -> float:
    started = time.thread_time()
    run_node(node, inputs)
    return time.thread_time() - started
