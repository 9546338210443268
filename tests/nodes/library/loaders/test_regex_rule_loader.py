"""core:RegexRuleLoader."""

from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError, ResourceError
from innkeeper.nodes.library.loaders.regex_rule_loader import definition
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.testing import memory_services, run_node

RULE = {"name": "r", "pattern": "a", "replacement": "b", "own": [1]}
SCRIPT = {"scriptName": "s", "findRegex": "/a/g", "replaceString": "b", "placement": [2], "own": 1}


def loaded(path: str, data: bytes) -> Any:
    services = memory_services(files={path: data})
    return run_node(definition, {}, config={"ruleResource": path}, services=services)["regexRules"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([RULE], [RULE]),
        ([], []),
        (RULE, [RULE]),
        (SCRIPT, [SCRIPT]),
        ([SCRIPT, RULE], [SCRIPT, RULE]),
        ({"data": {"extensions": {"regex_scripts": [SCRIPT]}}}, [SCRIPT]),
        ({"extensions": {"regex_scripts": [SCRIPT]}}, [SCRIPT]),
    ],
)
def test_rules_come_out_as_they_stand_in_the_file(content: Any, expected: Any) -> None:
    assert loaded("user://rules.json", json.dumps(content).encode()) == expected


def test_yaml_is_read_by_its_name() -> None:
    data = b"- name: r\n  pattern: 'a\\d'\n  replacement: yes\n"
    assert loaded("user://rules.yaml", data) == [{"name": "r", "pattern": "a\\d", "replacement": "yes"}]


@pytest.mark.parametrize(
    ("path", "data", "problem"),
    [
        ("user://r.json", b"", "JSON"),
        ("user://r.json", b"{", "JSON"),
        ("user://r.json", b'"text"', "regex scripts are"),
        ("user://r.json", b'{"a": 1}', "regex scripts are"),
        ("user://r.json", b"[1]", "regex rule 0 is no object"),
        ("user://r.json", b'[{"pattern": 1}]', "regex rule 0 has no text"),
        ("user://r.json", b'[{"findRegex": null}]', "regex rule 0 has no text"),
        ("user://r.yaml", b"a: &a [*a]", "alias"),
        ("user://r.yaml", b"\xff\xfe", "UTF-8"),
    ],
)
def test_other_files_are_refused_with_path_and_reason(path: str, data: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem) as caught:
        loaded(path, data)
    assert path in caught.value.message


def test_no_file_and_missing_file_are_errors() -> None:
    with pytest.raises(NodeInputError):
        run_node(definition, {})
    with pytest.raises(ResourceError):
        run_node(definition, {}, config={"ruleResource": "user://none.json"})
