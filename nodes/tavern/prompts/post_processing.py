"""Forms of a message list that stricter providers want (reference presets 6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from innkeeper.nodes.json_values import text_or_empty

Json = dict[str, Any]

PLACEHOLDER = "[Start a new chat]"
MODES = ("", "merge", "merge_tools", "semi", "semi_tools", "strict", "strict_tools", "single")
ALIASES = {"claude": "merge", "none": ""}
"""Old and other names of modes."""


@dataclass(frozen=True)
class Names:
    """Who the texts of user and assistant belong to. `members` are the names of a group."""

    user: str = ""
    char: str = ""
    members: Sequence[str] = ()


def post_process(messages: Iterable[Mapping[str, Any]], mode: str, names: Names) -> list[Json]:
    """Messages in the form of `mode`; an unknown mode leaves them as they are.

    `merge` joins neighbours of one role, `semi` also makes every later system message the user's, `strict` also has a
    user message come first, `single` makes everything one user message. Modes with `_tools` keep tool calls.
    """
    copies = [dict(message) for message in messages]
    mode = ALIASES.get(mode, mode)
    if mode not in MODES or not mode:
        return copies
    kind, _, tools = mode.partition("_")
    form = _single if kind == "single" else _with_name_in_text
    merged = _merged([form(message, names, keep_tools=bool(tools)) for message in copies])
    if not merged:
        return [_placeholder()]
    if kind in ("semi", "strict"):
        merged = _merged([_late_system_as_user(message, place) for place, message in enumerate(merged)])
    return _begun_by_user(merged) if kind == "strict" else merged


def _placeholder() -> Json:
    return {"role": "user", "content": PLACEHOLDER}


def _with_name_in_text(message: Json, names: Names, *, keep_tools: bool) -> Json:
    """Without `name`, which goes into the text; without tools, unless they are kept."""
    name = message.pop("name", None)
    if message.get("role") == "system":
        speaker = {"example_user": names.user, "example_assistant": names.char}.get(str(name), "")
        known: tuple[str, ...] = tuple(names.members) if name == "example_assistant" else ()
    else:
        speaker, known = text_or_empty(name), ()
    message["content"] = _with_speaker(_flat(message.get("content") or ""), speaker, known)
    if not keep_tools:
        message.pop("tool_calls", None)
        message.pop("tool_call_id", None)
        if message.get("role") == "tool":
            message["role"] = "user"
    return message


def _single(message: Json, names: Names, *, keep_tools: bool) -> Json:
    message = _with_name_in_text(message, names, keep_tools=keep_tools)
    speaker = {"assistant": names.char, "user": names.user}.get(str(message.get("role")), "")
    known = tuple(names.members) if message.get("role") == "assistant" else ()
    return {**message, "role": "user", "content": _with_speaker(message["content"], speaker, known)}


def _flat(content: Any) -> Any:
    """Parts with neighbouring texts joined; one text when there is nothing else."""
    if not isinstance(content, list):
        return content
    flat: list[Any] = []
    for part in content:
        flat = _join_contents(flat, [part])
    is_text = all(map(_is_text, flat))
    return (flat[0]["text"] if flat else "") if is_text else flat


def _with_speaker(content: Any, speaker: str, known: Sequence[str]) -> Any:
    if not speaker:
        return content
    if isinstance(content, list):
        return _parts_with_speaker(content, speaker, known)
    if any(content.startswith(f"{name}: ") for name in (speaker, *known)):
        return content
    return f"{speaker}: {content}"


def _parts_with_speaker(parts: list[Any], speaker: str, known: Sequence[str]) -> list[Any]:
    place = next((place for place, part in enumerate(parts) if _is_text(part)), None)
    if place is None:
        return [{"type": "text", "text": f"{speaker}: "}, *parts]
    text = _with_speaker(parts[place]["text"], speaker, known)
    return [*parts[:place], {**parts[place], "text": text}, *parts[place + 1 :]]


def _merged(messages: Iterable[Json]) -> list[Json]:
    merged: list[Json] = []
    for message in messages:
        is_next = bool(merged) and merged[-1].get("role") == message.get("role")
        if is_next and message["content"] and not _stands_alone(merged[-1], message):
            merged[-1]["content"] = _join_contents(merged[-1]["content"], message["content"])
        else:
            # an empty message is never joined to the one before it; the next may be joined to it
            merged.append(message)
    return merged


def _stands_alone(before: Json, message: Json) -> bool:
    """Tool results belong to one call each, and a message with calls must stay right before them."""
    return message.get("role") == "tool" or "tool_calls" in before or "tool_calls" in message


def _join_contents(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    left, right = _parts(first), _parts(second)
    if left and right and _is_text(left[-1]) and _is_text(right[0]):
        between = {**left[-1], "text": f"{left[-1]['text']}\n\n{right[0]['text']}"}
        return [*left[:-1], between, *right[1:]]
    return [*left, *right]


def _parts(content: Any) -> list[Any]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}]


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("text"), str)


def _late_system_as_user(message: Json, place: int) -> Json:
    return {**message, "role": "user"} if place and message.get("role") == "system" else message


def _begun_by_user(messages: list[Json]) -> list[Json]:
    if messages[0].get("role") == "system":
        if len(messages) == 1 or messages[1].get("role") != "user":
            messages.insert(1, _placeholder())
    elif messages[0].get("role") != "user":
        messages.insert(0, _placeholder())
    return messages
