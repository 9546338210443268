"""Regex rules of ComfyTavern: `{name, pattern, replacement, flags?, enabled?}`, applied as JavaScript's `replace` does.

Regex scripts of SillyTavern may stand among them (objects with `findRegex`). They are run by their own rules for
patterns and replacements, whatever their placement, stage and depth are; macros in them stay as they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from innkeeper.nodes.json_values import text_or_empty
from innkeeper.nodes.tavern.documents import CodedWarning, warnings_json
from innkeeper.nodes.tavern.environment import BadPattern, FormatError, JsMatch, JsRegexes, PatternTimeout
from innkeeper.nodes.tavern.file_kinds import CARD, PRESET, REGEX, refuse_other_kind
from innkeeper.nodes.tavern.js_regex import engine
from innkeeper.nodes.tavern.regex_script import MAX_SCRIPTS, read_scripts, script_items
from innkeeper.nodes.tavern.regex_scripts import MAX_TEXT, ResultTooLong, replace_bounded, run_script
from innkeeper.nodes.tavern.yaml_text import load_json_or_yaml

TOTAL_S = 8.0
_TOKEN = re.compile(r"\$(?:([$&`'])|([0-9]{1,2})|<([^>]*)>)")


def is_script(rule: Any) -> bool:
    """Is it a regex script of SillyTavern rather than a rule?"""
    return isinstance(rule, Mapping) and "findRegex" in rule and "pattern" not in rule


def collect_rules(*lists: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The rules to apply, in order, and what was left out and why.

    Of rules with the same name the first counts, also when it is disabled: it then switches the later ones off, and
    scripts of that name. Scripts do not hide each other. What is no list counts as empty.
    """
    kept: list[dict[str, Any]] = []
    warnings: list[str] = []
    names: set[str] = set()
    for rules in lists:
        for index, rule in enumerate(rules if isinstance(rules, list) else ()):
            problem = "" if is_script(rule) else _rule_problem(rule)
            if problem:
                warnings.append(f"regex rule {index} is left out: {problem}")
            elif _rule_name(rule) not in names:
                kept.append(rule)
                names.update([] if is_script(rule) else [_rule_name(rule)])
    return [rule for rule in kept if not _is_off(rule)], warnings


def _rule_problem(rule: Any) -> str:
    if not isinstance(rule, Mapping):
        return "it is no object"
    for key, is_needed in (("name", True), ("pattern", True), ("replacement", False)):
        if not isinstance(rule.get(key), str) or (is_needed and not rule[key]):
            return f"its {key} is no text" if key == "replacement" else f"its {key} is missing or no text"
    for key, kind in (("flags", str), ("description", str), ("enabled", bool)):
        if key in rule and not isinstance(rule[key], kind):
            return f"its {key} is no {'text' if kind is str else 'boolean'}"
    return ""


def _rule_name(rule: Mapping[str, Any]) -> str:
    return text_or_empty(rule.get("scriptName") if is_script(rule) else rule["name"])


def _is_off(rule: Mapping[str, Any]) -> bool:
    return bool(rule.get("disabled")) if is_script(rule) else rule.get("enabled") is False


def apply_rules(text: str, rules: Sequence[dict[str, Any]]) -> str:
    """Apply collected rules in order.

    Raises:
        BadPattern: JavaScript would refuse a pattern or its flags; with the rule's name.
        PatternTimeout: A pattern ran too long; with the rule's name.
        FormatError: Too many rules, too much text, or a replacement makes too much.
    """
    if len(rules) > MAX_SCRIPTS:
        raise FormatError(f"there are {len(rules)} regex rules; at most {MAX_SCRIPTS} are applied")
    if len(text) > MAX_TEXT:
        raise FormatError(f"the text has {len(text)} characters; regex rules take at most {MAX_TEXT}", code="too_large")
    regexes = engine(total_s=TOTAL_S)
    for rule in rules:
        text = _applied(text, rule, regexes)
    return text


def _applied(text: str, rule: dict[str, Any], regexes: JsRegexes) -> str:
    try:
        if is_script(rule):
            return _run_script(text, rule, regexes)
        pattern = regexes.compile(rule["pattern"], rule.get("flags") or "")
        return replace_bounded(pattern, text, template(rule["replacement"], text))
    except (BadPattern, PatternTimeout, ResultTooLong) as error:
        raise type(error)(f"regex rule {_rule_name(rule)!r}: {error.message}", details=error.details) from None


def _run_script(text: str, rule: dict[str, Any], regexes: JsRegexes) -> str:
    (script,), _ = read_scripts(rule)
    return run_script(text, script, regexes, _unexpanded)[0] if script.find and text else text


def _unexpanded(text: str, *, original: str | None = None) -> str:
    return text


def template(replacement: str, text: str) -> Callable[[JsMatch], str]:
    """What JavaScript's `replace` makes of a replacement text: `$1`, `$<name>`, `$&`, `` $` ``, `$'`, `$$`."""
    if "$" not in replacement:
        return lambda match: replacement
    return lambda match: _TOKEN.sub(lambda token: _token(token, match, text), replacement)


def _token(token: re.Match[str], match: JsMatch, text: str) -> str:
    mark, digits, name = token.groups()
    whole = match.groups[0] or ""
    if mark:
        after = match.index + len(whole)
        return {"$": "$", "&": whole, "`": text[: match.index], "'": text[after:]}[mark]
    if name is not None:
        # Without named groups in the pattern this is plain text.
        return (match.named.get(name) or "") if match.named else token[0]
    return _numbered(digits, match, token[0])


def _numbered(digits: str, match: JsMatch, literal: str) -> str:
    """The group of two digits if there is one, else that of the first digit; group 0 is none."""
    for length in range(len(digits), 0, -1):
        number = int(digits[:length])
        if 0 < number < len(match.groups):
            return (match.groups[number] or "") + digits[length:]
    return literal


def load_rules(name: str, data: bytes = b"") -> dict[str, Any]:
    """`read_rules` with what is odd about the rules: `{"rules", "warnings"}`; warnings are `{"code", "message"}`.

    Raises:
        FormatError: As `read_rules`.
    """
    rules = read_rules(name, data)
    odd = [CodedWarning("rule_left_out", warning) for warning in collect_rules(rules)[1]]
    _, odd_scripts = read_scripts([rule for rule in rules if is_script(rule)])
    doubles = [CodedWarning("duplicate_id", warning) for warning in _doubles(rules)]
    return {"rules": rules, "warnings": warnings_json([*odd, *odd_scripts, *doubles], "odd_regex_script")}


def _doubles(rules: Sequence[dict[str, Any]]) -> list[str]:
    counts = Counter(rule["name"] for rule in rules if not is_script(rule) and isinstance(rule.get("name"), str))
    return [f"{count} regex rules are named {name!r}; the first counts" for name, count in counts.items() if count > 1]


def read_rules(name: str, data: bytes = b"") -> list[dict[str, Any]]:
    """Read a file of rules or scripts; also a card or preset that holds scripts. Items stay as they are.

    Raises:
        FormatError: Not JSON or YAML (by the ending of `name`), or no list of objects with a text `pattern` (rules) or
            `findRegex` (scripts).
    """
    raw = load_json_or_yaml(data, name)
    refuse_other_kind(raw, REGEX, CARD, PRESET)
    rules = [raw] if isinstance(raw, dict) and "pattern" in raw else script_items(raw)
    for index, rule in enumerate(rules):
        if not isinstance(rule, dict):
            raise FormatError(f"regex rule {index} is no object")
        if not isinstance(rule.get("findRegex" if is_script(rule) else "pattern"), str):
            raise FormatError(f"regex rule {index} has no text `pattern`, nor is it a script with a text `findRegex`")
    return rules
