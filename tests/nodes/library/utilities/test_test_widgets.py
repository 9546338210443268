from __future__ import annotations

from innkeeper.nodes.library.utilities.test_widgets import definition
from innkeeper.nodes.testing import run_node

OUTPUT_OF = dict(zip(definition.inputs, definition.outputs, strict=False))


def test_defaults_come_back() -> None:
    outputs = run_node(definition, {})
    assert {key: slot.config["default"] for key, slot in definition.inputs.items() if "default" in slot.config} == {
        key: outputs[OUTPUT_OF[key]] for key in OUTPUT_OF
    }
    assert outputs["string_output"] == "这是默认文本"
    assert outputs["text_output"] == "这是默认的\n多行文本"
    assert (outputs["int_output"], outputs["float_output"], outputs["boolean_output"]) == (10, 0.5, True)
    assert (outputs["combo_output"], outputs["string_with_suggestions_output"]) == ("选项A", "默认值")
    assert (outputs["int_with_suggestions_output"], outputs["float_with_suggestions_output"]) == (512, 7.5)
    assert all(isinstance(outputs[key], str) for key in ("markdown_output", "javascript_code_output"))


def test_values_come_back_as_they_are() -> None:
    given = {key: {"of": [key, None, 0.5]} for key in definition.inputs}
    outputs = run_node(definition, given)
    assert outputs == {OUTPUT_OF[key]: value for key, value in given.items() if key in OUTPUT_OF}


def test_the_button_has_no_output() -> None:
    assert set(definition.inputs) - set(OUTPUT_OF) == {"button_trigger"}
    assert "Trigger" in definition.inputs["button_trigger"].match_categories


def test_each_output_has_the_type_of_its_input() -> None:
    for key, output in OUTPUT_OF.items():
        assert definition.outputs[output].data_flow_type == definition.inputs[key].data_flow_type
