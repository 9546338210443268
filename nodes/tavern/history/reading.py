"""Files and values to chats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from innkeeper.nodes.tavern.documents import CodedWarning, decode, kind_of, parse_json, warnings_json
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.file_kinds import CHAT, refuse_other_kind
from innkeeper.nodes.tavern.history.carried import carried_messages, unpacked
from innkeeper.nodes.tavern.history.imports import import_chat
from innkeeper.nodes.tavern.history.log import ChatLog, ChatMessage, content_text, is_openai, is_true, rest_of, text_of

MAX_MESSAGES = 100_000
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_HEADER_KEYS = ("chat_metadata", "user_name", "character_name", "create_date")
_LINE_KEYS = ("is_user", "is_system", "send_date", "swipes", "force_avatar")
"""Fields that tell a line of a stored chat, also one that lacks its text."""
MAX_WARNINGS = 20
_EXPECTED = "expected a list of messages with 'role' and 'content', or a chat of a program that is known"
Json = Mapping[str, Any]


def read_log(data: bytes, name: str = "") -> ChatLog:
    """Read a chat: SillyTavern's JSONL, a JSON list of messages, or the JSON export of another program.

    A byte order mark, CRLF, blank lines and a last line that broke off are overlooked.

    Args:
        name: The file's name; `.jsonl` has its lines read one by one whatever they look like.

    Raises:
        FormatError: It is no chat. Says what was found, and in which line.
    """
    decoded = decode(data)
    if not decoded.text.strip():
        raise FormatError("the file is empty")
    lines = _lines(decoded.text)
    if name.lower().endswith(".jsonl") or _is_jsonl(lines):
        log = _from_lines(lines)
    else:
        log = from_value(parse_json(decoded.text))
    return replace(log, warnings=(*decoded.warnings, *log.warnings))


def read_messages_json(name: str, data: bytes = b"") -> dict[str, Any]:
    """`read_log` with JSON in and out, for a process of its own.

    A list of messages with `role` and `content` comes out unchanged. Of all other chats hidden messages are left out;
    what the prompt needs beside the messages they carry along (see `history.carried`).

    Returns:
        `{"messages", "warnings"}`; warnings are `{"code", "message"}`.
    """
    decoded = decode(data)
    if not name.lower().endswith(".jsonl") and decoded.text.lstrip().startswith("["):
        value = parse_json(decoded.text)
        if all(isinstance(item, Mapping) and "role" in item and "content" in item for item in value):
            return {"messages": value, "warnings": warnings_json(decoded.warnings, "odd_chat")}
    log = read_log(data, name)
    return {"messages": carried_messages(log), "warnings": warnings_json(log.warnings, "odd_chat")}


def from_value(value: Any) -> ChatLog:
    """A chat from a JSON value: a list of messages, an export, or the JSON text of one. None is an empty chat.

    Raises:
        FormatError: It is no chat. Says what was found, and at which place.
    """
    if isinstance(value, str):
        value = parse_json(value) if value.strip() else None
    if value is None:
        return ChatLog()
    refuse_other_kind(value, CHAT)
    if isinstance(value, Mapping):
        return _from_object(value)
    if not isinstance(value, list | tuple):
        raise FormatError(f"{_EXPECTED}; got {kind_of(value)}")
    return _from_items(value, "item")


def _from_object(value: Json) -> ChatLog:
    if (log := import_chat(value)) is not None:
        return log
    if isinstance(value.get("messages"), list):
        return _from_items(value["messages"], "message")
    # A file of one line looks like an object: its header, or its only message.
    if "mes" in value or _is_header(value):
        return _from_items([value], "item")
    raise FormatError(f"{_EXPECTED}; got an object")


def _from_items(items: Sequence[Any], word: str, first: int = 0) -> ChatLog:
    lines = [*islice(unpacked(items), MAX_MESSAGES + 1)]
    if max(len(items), len(lines)) > MAX_MESSAGES:
        raise FormatError(f"the chat has more than {MAX_MESSAGES} messages; that is the limit")
    found = lines[0][1] if lines else None
    header: Json | None = found if _is_header(found) else None
    # The header of a list is none of its messages, a carried one stands on the first of them.
    offset = 1 if header is not None and items and header is items[0] else 0
    is_stored = any(isinstance(line, Mapping) and "mes" in line for _, line in lines)
    messages: list[ChatMessage] = []
    warnings: list[str] = []
    for place, line in lines if header is None else lines[1:]:
        where = f"{word} {place + first}"
        if is_stored and not _is_readable(line):
            warnings.append(CodedWarning("line_left_out", f"{where} is no message and was left out"))
            continue
        messages.append(replace(_read_message(line, where), index=place - offset))
        warnings += _line_warnings(line, messages[-1], where)
    metadata = header.get("chat_metadata") if header else None
    told = tuple(warnings[:MAX_WARNINGS])
    return ChatLog(tuple(messages), metadata if isinstance(metadata, Mapping) else {}, told, header)


def _line_warnings(line: Json, message: ChatMessage, where: str) -> list[str]:
    warnings: list[str] = []
    if "mes" not in line and not is_openai(line):
        warnings.append(CodedWarning("line_without_text", f"{where} has no text ('mes')"))
    if missing := sum(not file.get("text") for file in message.files):
        lost = f"{where}: the texts of {missing} attached files are not in the chat; they are not sent"
        warnings.append(CodedWarning("attachment_without_text", lost))
    return warnings


def _is_readable(line: Any) -> bool:
    return isinstance(line, Mapping) and ("mes" in line or is_openai(line) or any(key in line for key in _LINE_KEYS))


def _is_header(item: Any) -> bool:
    return (
        isinstance(item, Mapping)
        and "mes" not in item
        and not is_openai(item)
        and any(key in item for key in _HEADER_KEYS)
    )


def _read_message(item: Any, place: str) -> ChatMessage:
    if not isinstance(item, Mapping):
        raise FormatError(f"{place} is {kind_of(item)}; a message is an object with 'role' and 'content'")
    if "mes" in item:
        return _from_sillytavern(item)
    if is_openai(item):
        return _from_openai(item, place)
    if "role" not in item and any(key in item for key in _LINE_KEYS):
        return _from_sillytavern({**item, "mes": _chosen_swipe(item)})
    raise FormatError(f"{place} is no message: it has neither 'role' and 'content' nor 'mes'")


def _chosen_swipe(item: Json) -> str:
    swipes, chosen = item.get("swipes"), item.get("swipe_id")
    if not isinstance(swipes, list) or not isinstance(chosen, int):
        return ""
    return text_of(swipes[chosen]) if 0 <= chosen < len(swipes) else ""


def _from_openai(item: Json, place: str) -> ChatMessage:
    role = item["role"]
    if role not in ROLES:
        raise FormatError(f"{place} has an unknown role; roles are {', '.join(ROLES)}")
    content = item.get("content")
    if not isinstance(content, str | list | None):
        raise FormatError(f"{place}: 'content' is {kind_of(content)}; it must be text, a list of parts, or null")
    hidden = is_true(item.get("is_system"))
    return ChatMessage(
        content_text(content), role, name=text_of(item.get("name")), is_system=hidden, extra=rest_of(item), record=item
    )


def _from_sillytavern(item: Json) -> ChatMessage:
    extra = item.get("extra")
    is_narrator = isinstance(extra, Mapping) and extra.get("type") == "narrator"
    role = "system" if is_narrator else "user" if is_true(item.get("is_user")) else "assistant"
    hidden = is_true(item.get("is_system"))
    return ChatMessage(
        text_of(item["mes"]), role, name=text_of(item.get("name")), is_system=hidden, extra=rest_of(item), record=item
    )


def _lines(text: str) -> list[tuple[int, str]]:
    # Not splitlines(): a message may hold the other line ends of Unicode.
    numbered = ((number, line.strip(" \t\r")) for number, line in enumerate(text.split("\n"), 1))
    return [(number, line) for number, line in numbered if line]


def _is_jsonl(lines: Sequence[tuple[int, str]]) -> bool:
    """Several lines, the first of which is an object of its own."""
    if len(lines) < 2 or not lines[0][1].startswith("{"):
        return False
    try:
        parse_json(lines[0][1])
    except FormatError:
        return False
    return True


def _from_lines(lines: Sequence[tuple[int, str]]) -> ChatLog:
    if len(lines) > MAX_MESSAGES:
        raise FormatError(f"the chat has {len(lines)} lines; the limit is {MAX_MESSAGES}")
    items: list[Any] = []
    warnings: list[str] = []
    for place, (number, line) in enumerate(lines):
        try:
            items.append(parse_json(line))
        except FormatError as error:
            if place == 0 or place < len(lines) - 1:
                raise FormatError(f"line {number}: {error.message}") from None
            # The program was killed while it wrote: everything before is whole.
            broken = f"line {number}, the last one, broke off and was left out"
            warnings.append(CodedWarning("broken_last_line", broken))
    # Exports of other programs may come as one long line.
    is_export = len(items) == 1 and (isinstance(items[0], list) or _is_export(items[0]))
    log = from_value(items[0]) if is_export else _from_items(items, "message", first=1)
    return replace(log, warnings=(*log.warnings, *warnings))


def _is_export(item: Any) -> bool:
    return isinstance(item, Mapping) and (import_chat(item) is not None or isinstance(item.get("messages"), list))
