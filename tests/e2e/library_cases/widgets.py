"""Nodes with fields of their own in the editor."""

from __future__ import annotations

from tests.e2e.library_cases.case import Case

CASES = [
    Case(
        "random_number",
        [
            {"id": "fixed", "fullType": "core:RandomNumber", "inputs": {"value": 7}},
            {"id": "next", "fullType": "core:RandomNumber", "inputs": {"value": 1, "mode": "增加"}},
            {"id": "last", "fullType": "core:RandomNumber", "inputs": {"value": 0, "mode": "decrement"}},
            {"id": "any", "fullType": "core:RandomNumber", "inputs": {"mode": "随机"}},
            {"id": "off", "fullType": "core:RandomNumber", "inputs": {"value": 3, "mode": "增加"}, "bypassed": True},
        ],
        edges=["fixed.number > next.value"],
        expect={
            "fixed": {"number": 7},
            "next": {"number": 8},
            "last": {"number": 0},
            "any": {"number": lambda value: isinstance(value, int) and 0 <= value < 2**32},
            "off": {"number": 3},
        },
    ),
    Case(
        "test_widgets",
        [
            {"id": "w", "fullType": "core:TestWidgets", "inputs": {"int_input": 3, "combo_select": "选项B"}},
            {"id": "off", "fullType": "core:TestWidgets", "bypassed": True},
        ],
        expect={
            "w": {"int_output": 3, "combo_output": "选项B", "boolean_output": True, "string_output": "这是默认文本"},
            "off": {
                "text_output": "这是默认的\n多行文本",
                "float_output": 0.5,
                "json_output": lambda value: set(value) == {"name", "type", "skill"},
                "float_with_suggestions_output": 7.5,
            },
        },
    ),
]
