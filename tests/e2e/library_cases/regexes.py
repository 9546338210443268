"""Regex rules and regex scripts."""

from __future__ import annotations

import json

from tests.e2e.library_cases.case import Case

RULES = (
    "- {name: vowels, pattern: '[aeiou]', replacement: '($&)', flags: g}\n- {name: off, pattern: x, enabled: false}\n"
)
SCRIPT = {"scriptName": "think", "findRegex": "/<think>[^]*?<\\/think>/g", "replaceString": "", "placement": [2]}
NEVER = {"name": "never", "pattern": "(?:a|a)*c", "replacement": ""}

CASES = [
    Case(
        "regex_rules_from_yaml",
        [
            {"id": "l", "fullType": "core:RegexRuleLoader", "configValues": {"ruleResource": "user://regex/r.yaml"}},
            {"id": "a", "fullType": "core:ApplyRegex", "inputs": {"inputText": "hello"}},
        ],
        ["l.regexRules > a.regexRules"],
        expect={"a": {"outputText": "h(e)ll(o)"}},
        files={"user://regex/r.yaml": RULES.encode()},
    ),
    Case(
        "regex_scripts_of_a_card",
        [
            {"id": "l", "fullType": "core:RegexRuleLoader", "configValues": {"ruleResource": "user://regex/c.json"}},
            {"id": "a", "fullType": "core:ApplyRegex", "inputs": {"inputText": "<think>a\nb</think>hello"}},
        ],
        ["l.regexRules > a.regexRules"],
        expect={"l": {"regexRules": [SCRIPT]}, "a": {"outputText": "hello"}},
        files={"user://regex/c.json": json.dumps({"data": {"extensions": {"regex_scripts": [SCRIPT]}}}).encode()},
    ),
    Case(
        "regex_without_end",
        [
            {
                "id": "a",
                "fullType": "core:ApplyRegex",
                "inputs": {"inputText": "a" * 60 + "bc", "inlineRegexRules": [NEVER]},
            },
            {"id": "b", "fullType": "core:ApplyRegex", "inputs": {"inputText": "still here"}},
        ],
        expect={"b": {"outputText": "still here"}},
        fails={"a": "pattern_timeout"},
    ),
]
