"""Chats to SillyTavern's JSONL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.json_values import dump_json
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.history.log import ChatLog, ChatMessage, text_of


def write_log(log: ChatLog) -> bytes:
    """Write a chat as JSONL: the header, then one message a line.

    Lines that came from SillyTavern keep every field, and a file without a header gets none; what came from elsewhere
    is written with SillyTavern's fields.

    Raises:
        FormatError: A message holds a value that JSON does not have.
    """
    header = _header(log)
    records = [*([] if header is None else [header]), *(_record(message) for message in log.messages)]
    try:
        lines = [dump_json(record, allow_nan=False) for record in records]
    except (TypeError, ValueError, RecursionError):
        raise FormatError("the chat holds a value that JSON does not have") from None
    return "\n".join(lines).encode("utf-8", "backslashreplace")


def _header(log: ChatLog) -> Mapping[str, Any] | None:
    if log.header is not None:
        same = log.header.get("chat_metadata", {}) == log.metadata
        return log.header if same else {**log.header, "chat_metadata": log.metadata}
    if not log.metadata and any(message.record is not None and "mes" in message.record for message in log.messages):
        return None
    return {"user_name": log.user_name, "character_name": log.character_name, "chat_metadata": log.metadata}


def _record(message: ChatMessage) -> Mapping[str, Any]:
    if message.record is None or "mes" not in message.record:
        return _new_record(message)
    record = dict(message.record)
    if text_of(record["mes"]) != message.text:
        record["mes"] = message.text
    return record


def _new_record(message: ChatMessage) -> dict[str, Any]:
    details = dict(message.details)
    if message.role == "system":
        details["type"] = "narrator"
    return {
        **message.extra,
        "name": message.name,
        "is_user": message.role == "user",
        "is_system": message.is_system,
        "mes": message.text,
        "extra": details,
    }
