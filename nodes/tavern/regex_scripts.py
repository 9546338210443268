"""Running regex scripts of SillyTavern: find and replace rules for messages, prompts and world info."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from innkeeper.nodes.tavern.environment import (
    BadPattern,
    Expand,
    FormatError,
    JsMatch,
    JsPattern,
    JsRegexes,
    PatternTimeout,
)
from innkeeper.nodes.tavern.regex_script import (
    AI_OUTPUT,
    FIRST_LINE,
    MAX_SCRIPTS,
    PLACEMENTS,
    REASONING,
    SLASH_COMMAND,
    USER_INPUT,
    WORLD_INFO,
    RegexScript,
    read_scripts,
    script_items,
)

__all__ = [
    "AI_OUTPUT",
    "MAX_SCRIPTS",
    "MAX_TEXT",
    "PLACEMENTS",
    "REASONING",
    "SLASH_COMMAND",
    "USER_INPUT",
    "WORLD_INFO",
    "Applied",
    "RegexScript",
    "ResultTooLong",
    "ScriptReport",
    "Stage",
    "apply_scripts",
    "compile_find",
    "read_scripts",
    "replace_bounded",
    "run_script",
    "script_items",
]

Stage = Literal["stored", "display", "prompt"]
MAX_TEXT = 1024 * 1024
"""Characters of a text that scripts run on, and of what they make of it."""

_SCRIPT_FLAGS = frozenset("gmixXsuUAJ")
_LETTERS = re.compile("[A-Za-z]*")
_REFERENCE = re.compile(r"\$([0-9]+)|\$<([^>]+)>|(\{\{match\}\})", re.IGNORECASE)
_SPECIAL = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\f": "\\f", "\0": "\\0"}
_TO_ESCAPE = re.compile(r"[\n\r\t\v\f\0.^$*+?{}\[\]\\/|()]")
# Stand in for captured texts while macros are expanded around them; no text has a use for them.
_HOLE = re.compile("\ue0f0([0-9]+)\ue0f1")


@dataclass(frozen=True)
class ScriptReport:
    """What became of one script on one text.

    Attributes:
        index: Its place in the list, from 0.
        outcome: `failed` leaves the text as it was.
        position: Where the pattern is at fault, in characters from 0, if that is known.
        text_length: Characters of the text it was given.
        seconds: What a pattern took that ran too long.
    """

    index: int
    name: str
    outcome: Literal["ran", "skipped", "failed"]
    reason: str = ""
    matches: int = 0
    text_length: int = 0
    position: int | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        values = {
            "index": self.index,
            "name": self.name,
            "outcome": self.outcome,
            "reason": self.reason,
            "matches": self.matches,
            "textLength": self.text_length,
            "position": self.position,
            "seconds": self.seconds,
        }
        return {key: value for key, value in values.items() if value not in (None, "")}


@dataclass(frozen=True)
class Applied:
    text: str
    report: tuple[ScriptReport, ...] = ()


class ResultTooLong(FormatError):
    """A replacement made more text than is allowed."""

    code = "too_large"


def apply_scripts(
    text: str,
    scripts: Sequence[RegexScript],
    *,
    placement: int,
    stage: Stage,
    depth: int | None = None,
    regexes: JsRegexes,
    expand: Expand,
    is_edit: bool = False,
    expand_captures: bool = True,
    fail_on_timeout: bool = False,
) -> Applied:
    """Run the scripts that fit on a text, one after the other; the output of one feeds the next.

    A script whose pattern is bad, that runs too long or makes too much text leaves the text as it was; the report
    says so. The order of `scripts` is global ones, then those of the preset, then those of the character.

    Args:
        depth: How far from the newest message the text is; depth limits count only when it is given.
        is_edit: A user changed the text: only scripts that ask for it run.
        expand_captures: Macros in captured text are expanded too, as SillyTavern does. False expands those of the
            script alone, so that what a model writes cannot use macros.
        fail_on_timeout: Raise PatternTimeout, with the script's name, instead of skipping.
    """
    report = []
    for index, script in enumerate(scripts):
        reason = _skip_reason(script, text, placement=placement, stage=stage, depth=depth, is_edit=is_edit)
        if reason:
            report.append(ScriptReport(index, script.title, "skipped", reason, text_length=len(text)))
            continue
        text, outcome = _outcome(_Run(script, regexes, expand, expand_captures), text, index, fail_on_timeout)
        report.append(outcome)
    return Applied(text, tuple(report))


def run_script(
    text: str, script: RegexScript, regexes: JsRegexes, expand: Expand, *, expand_captures: bool = True
) -> tuple[str, int]:
    """Run one script, whatever it is meant for; gives the text and how many matches were replaced.

    Raises:
        BadPattern, PatternTimeout, ResultTooLong.
    """
    run = _Run(script, regexes, expand, expand_captures)
    return run.apply(text), run.matches


def _skip_reason(
    script: RegexScript, text: str, *, placement: int, stage: Stage, depth: int | None, is_edit: bool
) -> str:
    stages = [stage for stage, is_on in (("display", script.markdown_only), ("prompt", script.prompt_only)) if is_on]
    checks = (
        (script.disabled, "disabled"),
        (not script.find, "no pattern"),
        (not text, "no text"),
        (stage not in (stages or ["stored"]), f"not for stage {stage}"),
        (is_edit and not script.run_on_edit, "not for edits"),
        (depth is not None and not _is_within(script, depth), "depth outside its limits"),
        (placement not in script.placement, f"not for placement {placement}"),
        (len(text) > MAX_TEXT, f"the text has more than {MAX_TEXT} characters"),
    )
    return next((reason for applies, reason in checks if applies), "")


def _is_within(script: RegexScript, depth: int) -> bool:
    if script.min_depth is not None and script.min_depth >= -1 and depth < script.min_depth:
        return False
    return script.max_depth is None or script.max_depth < 0 or depth <= script.max_depth


def _outcome(run: _Run, text: str, index: int, fail_on_timeout: bool) -> tuple[str, ScriptReport]:
    report = ScriptReport(index, run.script.title, "ran", text_length=len(text))
    try:
        result = run.apply(text)
    except (BadPattern, ResultTooLong) as error:
        position = error.details.get("position")
        return text, replace(report, outcome="failed", reason=error.message, position=position)
    except PatternTimeout as error:
        if fail_on_timeout:
            raise PatternTimeout(f"regex script {run.script.title!r}: {error.message}", details=error.details) from None
        seconds = error.details.get("seconds")
        return text, replace(report, outcome="failed", reason=error.message, seconds=seconds)
    return result, replace(report, matches=run.matches)


@dataclass
class _Run:
    """One script on its way over a text."""

    script: RegexScript
    regexes: JsRegexes
    expand: Expand
    expand_captures: bool
    matches: int = 0

    def apply(self, text: str) -> str:
        pattern = compile_find(_find_text(self.script, self.expand), self.regexes)
        trims = [trim for trim in map(self.expand, self.script.trim) if trim]
        return replace_bounded(pattern, text, lambda match: self._new(match, trims))

    def _new(self, match: JsMatch, trims: Sequence[str]) -> str:
        self.matches += 1
        if self.expand_captures:
            return self.expand(_REFERENCE.sub(lambda found: _inserted(found, match, trims), self.script.replace))
        captures: list[str] = []
        return _filled(
            self.expand(_REFERENCE.sub(lambda found: _hole(found, match, trims, captures), self.script.replace)),
            captures,
        )


def _hole(found: re.Match[str], match: JsMatch, trims: Sequence[str], captures: list[str]) -> str:
    captures.append(_inserted(found, match, trims))
    return f"\ue0f0{len(captures) - 1}\ue0f1"


def _filled(text: str, captures: Sequence[str]) -> str:
    def capture(found: re.Match[str]) -> str:
        number = int(found[1][:9])
        return captures[number] if number < len(captures) else ""

    return _HOLE.sub(capture, text)


def _inserted(found: re.Match[str], match: JsMatch, trims: Sequence[str]) -> str:
    number, name, _ = found.groups()
    if name is not None:
        capture = match.named.get(name)
    else:
        index = _group_number(number) if number else 0
        capture = match.groups[index] if index < len(match.groups) else None
    for trim in trims:
        capture = capture.replace(trim, "") if capture else capture
    return capture or ""


def _group_number(digits: str) -> int:
    # More digits than any pattern has groups; int() would take its time over a million of them.
    return int(digits.lstrip("0")[:6] or "0")


def replace_bounded(pattern: JsPattern, text: str, new: Callable[[JsMatch], str]) -> str:
    """`pattern.replace`, with ResultTooLong when the text grows past `MAX_TEXT`."""
    inserted = 0

    def counted(match: JsMatch) -> str:
        nonlocal inserted
        piece = new(match)
        inserted += len(piece) - len(match.groups[0] or "")
        if len(text) + inserted > MAX_TEXT:
            raise ResultTooLong(f"it makes a text of more than {MAX_TEXT} characters")
        return piece

    return pattern.replace(text, counted)


def compile_find(find: str, regexes: JsRegexes) -> JsPattern:
    """Compile `/pattern/flags`, or a bare pattern, as regex scripts write it. Raises BadPattern.

    The pattern ends at the last slash of its line and may hold others. With flags that no script has, the whole text is
    a bare pattern.
    """
    line = FIRST_LINE.search(find)
    body, flags = _split_find(line[0]) if line else (find, "")
    if flags and (set(flags) - _SCRIPT_FLAGS or len(set(flags)) < len(flags)):
        return regexes.compile(find)
    return regexes.compile(body, flags)


def _split_find(line: str) -> tuple[str, str]:
    end = line.rfind("/")
    if not line.startswith("/") or end < 2:
        return line, ""
    letters = _LETTERS.match(line, end + 1)
    return line[1:end], letters[0] if letters else ""


def _find_text(script: RegexScript, expand: Expand) -> str:
    if script.substitute == 0:
        return script.find
    if script.substitute == 1:
        return expand(script.find)
    return "".join(_escaped(part, expand) if is_macro else part for part, is_macro in _macros(script.find))


def _escaped(macro: str, expand: Expand) -> str:
    value = expand(macro)
    if value == macro:
        return macro
    return _TO_ESCAPE.sub(lambda found: _SPECIAL.get(found[0], f"\\{found[0]}"), value)


def _macros(text: str) -> list[tuple[str, bool]]:
    """The text in parts; outermost `{{...}}` are macros."""
    parts: list[tuple[str, bool]] = []
    depth = start = position = 0
    while position < len(text):
        mark = text[position : position + 2]
        if mark == "{{":
            if depth == 0:
                parts.append((text[start:position], False))
                start = position
            depth += 1
        elif mark == "}}" and depth:
            depth -= 1
            if depth == 0:
                parts.append((text[start : position + 2], True))
                start = position + 2
        position += 2 if mark in ("{{", "}}") else 1
    return [*parts, (text[start:], False)]
