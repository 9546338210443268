"""A chat as messages for a model that still carry what the prompt needs of the chat file.

A message for a model has a role, a content and a name. What else counts for the prompt travels under one key beside
them, so that nodes which know nothing of it see the messages that they expect: whose avatar was forced, hidden lines
(which are counted), the texts of attached files, the alternatives of the last line, the data of the whole chat.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from innkeeper.nodes.tavern.history.log import ChatLog, ChatMessage, idle_line, is_openai, text_of

CARRIED = "sillytavern"
"""Key of a message: `{"chat", "before", "line", "after"}`, each only where there is something to say.

`chat` is the header of the file, on the first message. `before` and `after` are hidden lines around the message,
`line` are the message's own further fields; all of them by SillyTavern's names.
"""
_METADATA = (
    "variables",
    "timedWorldInfo",
    "world_info",
    "scenario",
    "system_prompt",
    "mes_example",
    "lastInContextMessageId",
)
_NOTE = ("note_prompt", "note_interval", "note_position", "note_depth", "note_role")
Json = Mapping[str, Any]


def carried_messages(log: ChatLog) -> list[dict[str, Any]]:
    """The visible messages of a chat, each with what the prompt needs beside it."""
    messages: list[dict[str, Any]] = []
    hidden: list[Json] = []
    # With the last line and without it: `regenerate` takes that away.
    told = (idle_line(log.messages), idle_line(log.messages[:-1]))
    last = len(log.messages) - 1
    for place, message in enumerate(log.messages):
        line = _line(message, is_last=place >= last - 1, is_dated=place in told)
        if message.is_system:
            hidden.append(_hidden(message, line))
            continue
        carried = {"before": hidden, "line": line}
        messages.append(_with_carried(message.to_openai(), carried))
        hidden = []
    if messages:
        messages[-1] = _with_carried(messages[-1], {"after": hidden})
        messages[0] = _with_carried(messages[0], {"chat": _chat(log)})
    return messages


def without_carried(message: Json) -> dict[str, Any]:
    """A message as a model takes it."""
    return {key: value for key, value in message.items() if key != CARRIED}


def _with_carried(message: dict[str, Any], carried: Json) -> dict[str, Any]:
    kept = {**message.get(CARRIED, {}), **{key: value for key, value in carried.items() if value}}
    return {**message, CARRIED: kept} if kept else message


def _chat(log: ChatLog) -> dict[str, Any]:
    """The header, as far as the messages do not say the same."""
    keys = (*_METADATA, *(_NOTE if log.metadata.get("note_prompt") else ()))
    metadata = {key: log.metadata[key] for key in keys if log.metadata.get(key) not in (None, "", {}, [])}
    alone = replace(log, header=None)
    names = {
        "user_name": (log.user_name, alone.user_name),
        "character_name": (log.character_name, alone.character_name),
    }
    told = {key: name for key, (name, known) in names.items() if name != known}
    return {**told, "chat_metadata": metadata} if told or metadata else {}


def _line(message: ChatMessage, *, is_last: bool, is_dated: bool) -> dict[str, Any]:
    """The further fields of a line that the prompt needs."""
    if message.record is not None and is_openai(message.record):
        return {}
    line: dict[str, Any] = {}
    if message.extra.get("force_avatar"):
        line["force_avatar"] = True
    if message.has_attachments:
        line |= {
            "mes": message.text,
            "extra": {key: message.details[key] for key in _ATTACHED if key in message.details},
        }
    if is_dated and message.extra.get("send_date"):
        line["send_date"] = message.extra["send_date"]
    if message.swipes and (is_last or message.is_being_made):
        line |= {"swipes": list(message.swipes), "swipe_id": message.extra.get("swipe_id")}
    return line


_ATTACHED = ("files", "file", "title", "append_title", "media")


def _hidden(message: ChatMessage, line: Json) -> Json:
    if message.record is not None and is_openai(message.record):
        return message.record
    record = {"name": message.name, "is_user": message.role == "user", "is_system": True, "mes": message.text}
    narrator = {"type": "narrator"} if message.role == "system" else {}
    extra = {**line.get("extra", {}), **narrator}
    return {**record, **line, **({"extra": extra} if extra else {})}


# --- reading ---


def unpacked(items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Items of a list as lines of a chat, each with the place of its item; the header first, if one is carried."""
    for place, item in enumerate(items):
        carried = item.get(CARRIED) if isinstance(item, Mapping) else None
        if not isinstance(carried, Mapping) or not is_openai(item):
            yield place, item
            continue
        chat = carried.get("chat")
        if place == 0 and isinstance(chat, Mapping):
            yield place, {"chat_metadata": {}, **chat}
        yield from ((place, hidden) for hidden in _lines(carried.get("before")))
        yield place, _own_record(item, carried.get("line"))
        yield from ((place, hidden) for hidden in _lines(carried.get("after")))


def _lines(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _own_record(item: Json, line: Any) -> Json:
    """The line that a message was made of. A content that was changed on the way counts as the line's text."""
    content = item.get("content")
    if not isinstance(content, str) or item["role"] not in ("user", "assistant", "system"):
        return without_carried(item)
    record = {
        "name": text_of(item.get("name")),
        "is_user": item["role"] == "user",
        "is_system": False,
        "mes": content,
    }
    given = dict(line) if isinstance(line, Mapping) else {}
    extra = given.pop("extra", None)
    attached = extra if isinstance(extra, Mapping) else {}
    said = given.pop("mes", content)
    if ChatMessage(text_of(said), extra={"extra": attached}).prompt_text == content:
        record["mes"] = said
    else:
        attached = {}
    narrator = {"type": "narrator"} if item["role"] == "system" else {}
    return {**record, **given, "extra": {**attached, **narrator}}
