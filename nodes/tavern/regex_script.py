"""A regex script of SillyTavern, and how files, cards and presets hold it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from innkeeper.nodes.json_values import is_number, text_or_empty, texts_of
from innkeeper.nodes.tavern.documents import parse_json
from innkeeper.nodes.tavern.environment import FormatError

USER_INPUT, AI_OUTPUT, SLASH_COMMAND, WORLD_INFO, REASONING = 1, 2, 3, 5, 6
PLACEMENTS = (USER_INPUT, AI_OUTPUT, SLASH_COMMAND, WORLD_INFO, REASONING)
MAX_SCRIPTS = 1_000
FIRST_LINE = re.compile("[^\n\r\u2028\u2029]+")
_OLD_DISPLAY, _OLD_SEND_AS = 0, 4
_MAX_NUMBER = 1_000_000_000


@dataclass(frozen=True)
class RegexScript:
    """One script.

    Attributes:
        find: The pattern, bare or as `/pattern/flags`.
        placement: Where it runs: `USER_INPUT`, `AI_OUTPUT`, `SLASH_COMMAND`, `WORLD_INFO`, `REASONING`.
        markdown_only: For display; with `prompt_only` for both, without either for the stored text.
        substitute: Macros in `find`: 0 stay, 1 are expanded, 2 are expanded with their values escaped.
        min_depth: The newest message it runs on (0 is the newest of all); None is no limit.
    """

    id: str = ""
    name: str = ""
    find: str = ""
    replace: str = ""
    trim: tuple[str, ...] = ()
    placement: tuple[int, ...] = ()
    disabled: bool = False
    markdown_only: bool = False
    prompt_only: bool = False
    run_on_edit: bool = False
    substitute: Literal[0, 1, 2] = 0
    min_depth: float | None = None
    max_depth: float | None = None

    @property
    def title(self) -> str:
        return self.name or self.id or "(without a name)"


def read_scripts(raw: Any) -> tuple[tuple[RegexScript, ...], tuple[str, ...]]:
    """Read scripts, and say what was odd about them.

    Args:
        raw: A script, a list of them, or a card or preset that holds some in its `extensions`; also as JSON text. None
            is no script.

    Raises:
        FormatError: It is none of these, or there are more than `MAX_SCRIPTS`.
    """
    items = script_items(parse_json(raw) if isinstance(raw, str) else raw)
    warnings: list[str] = []
    scripts = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            warnings.append(f"regex script {index} is no object and is left out")
            continue
        script = _script(item)
        scripts.append(script)
        warnings += [f"regex script {index} ({script.title}): {warning}" for warning in _odd(script)]
    return tuple(scripts), tuple(warnings)


def script_items(raw: Any) -> list[Any]:
    """The raw scripts of a file, card or preset, unread. Raises FormatError."""
    found = _held(raw) if isinstance(raw, dict) else raw
    if found is None:
        return []
    if not isinstance(found, list):
        raise FormatError("regex scripts are an object with findRegex or a list of such, also in a card or preset")
    if len(found) > MAX_SCRIPTS:
        raise FormatError(f"there are {len(found)} regex scripts; at most {MAX_SCRIPTS} are read")
    return found


def _held(raw: dict[str, Any]) -> Any:
    if "findRegex" in raw or "scriptName" in raw:
        return [raw]
    for holder in (raw.get("data"), raw):
        extensions = holder.get("extensions") if isinstance(holder, dict) else None
        if isinstance(extensions, dict) and "regex_scripts" in extensions:
            return extensions["regex_scripts"]
    return raw.get("regex_scripts") if "regex_scripts" in raw else raw


def _odd(script: RegexScript) -> list[str]:
    line = FIRST_LINE.search(script.find)
    warnings = []
    if line and script.find not in (line[0], f"{line[0]}\n"):
        warnings.append("a line break cuts its pattern; what follows is lost")
    if not script.placement:
        warnings.append("it has no placement and never runs")
    return warnings


def _script(item: dict[str, Any]) -> RegexScript:
    placement, is_old_display = _placement(item.get("placement"))
    return RegexScript(
        id=text_or_empty(item.get("id")),
        name=text_or_empty(item.get("scriptName")),
        find=text_or_empty(item.get("findRegex")),
        replace=text_or_empty(item.get("replaceString")),
        trim=_trims(item.get("trimStrings")),
        placement=placement,
        disabled=bool(item.get("disabled")),
        markdown_only=bool(item.get("markdownOnly")) or is_old_display,
        prompt_only=bool(item.get("promptOnly")) or is_old_display,
        run_on_edit=bool(item.get("runOnEdit")),
        substitute=_substitute(item.get("substituteRegex")),
        min_depth=_depth(item.get("minDepth")),
        max_depth=_depth(item.get("maxDepth")),
    )


def _trims(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.splitlines())
    return texts_of(value)


def _placement(value: Any) -> tuple[tuple[int, ...], bool]:
    """The placements, and whether the old one for display was among them."""
    numbers = [
        number
        for item in (value if isinstance(value, list) else [value])
        if (number := _whole_or_none(item)) is not None
    ]
    if numbers == [_OLD_DISPLAY]:
        return PLACEMENTS, True
    found = (SLASH_COMMAND if number == _OLD_SEND_AS else number for number in numbers if number != _OLD_DISPLAY)
    return tuple(dict.fromkeys(found)), _OLD_DISPLAY in numbers


def _substitute(value: Any) -> Literal[0, 1, 2]:
    number = int(value) if isinstance(value, bool) else _whole_or_none(value)
    return 1 if number == 1 else 2 if number == 2 else 0


def _whole_or_none(value: Any) -> int | None:
    number = _depth(value)
    return int(number) if number is not None and number == int(number) else None


def _depth(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return value if is_number(value) and abs(value) < _MAX_NUMBER else None
