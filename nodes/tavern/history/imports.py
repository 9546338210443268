"""Chats as other programs export them: one JSON object each, told apart by its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from innkeeper.nodes.tavern.documents import CodedWarning
from innkeeper.nodes.tavern.history.log import ChatLog, ChatMessage, is_true, rest_of, text_of

_INPUT, _OUTPUT = "{{[INPUT]}}", "{{[OUTPUT]}}"
_HIDDEN_START = "<|BEGIN-VISIBLE-CHAT|>"
Json = Mapping[str, Any]


def import_chat(document: Json) -> ChatLog | None:
    """The chat of an export; None when the object is none that is known."""
    for knows, read in _READERS:
        if knows(document):
            return read(document)
    return None


def _spoken(text: Any, is_user: bool, *, user: str = "", character: str = "", extra: Json | None = None) -> ChatMessage:
    role, name = ("user", user) if is_user else ("assistant", character)
    return ChatMessage(text_of(text), role, name, extra=extra or {})


def _objects(value: Any) -> Iterator[Json]:
    return (item for item in _list(value) if isinstance(item, Mapping))


def _list(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else []


def _kobold_lite(document: Json) -> ChatLog:
    """Kobold Lite: `actions` are texts, the user's marked by an input token, after the opening `prompt`."""
    settings = document["savedsettings"]
    user = text_of(settings.get("chatname")) or "User"
    character = text_of(settings.get("chatopponent")).split("||$||")[0] or "Assistant"
    texts = [text for text in (document.get("prompt"), *_list(document.get("actions"))) if isinstance(text, str)]
    messages = (
        _spoken(text.replace(_INPUT, "").replace(_OUTPUT, "").strip(), _INPUT in text, user=user, character=character)
        for text in texts
        if text
    )
    return _log(messages, user, character)


def _cai_tools(document: Json) -> ChatLog:
    """CAI tools: several chats under `histories.histories`, each with `msgs`; the first one is taken."""
    outer = document["histories"]
    chats = [*_objects(outer.get("histories") if isinstance(outer, Mapping) else outer)]
    messages = (
        _spoken(message.get("text"), is_true(source.get("is_human")), extra=rest_of(message))
        for message in _objects(chats[0].get("msgs") if chats else [])
        for source in [message.get("src") if isinstance(message.get("src"), Mapping) else {}]
        if isinstance(source, Mapping)
    )
    several = CodedWarning("several_chats", f"the file holds {len(chats)} chats; the first one was taken")
    return ChatLog(tuple(messages), warnings=(several,) if len(chats) > 1 else ())


def _oobabooga(document: Json) -> ChatLog:
    """oobabooga: pairs of what the user and the model said; an empty half was never said."""
    pairs = _list(document.get("data_visible", document.get("visible")))
    messages = (
        _spoken(text, place == 0)
        for pair in pairs
        if isinstance(pair, list)
        for place, text in enumerate(pair[:2])
        if text and text != _HIDDEN_START
    )
    return ChatLog(tuple(messages))


def _agnai(document: Json) -> ChatLog:
    """Agnai: `messages` with `msg`; those with a `userId` are the user's."""
    messages = (
        _spoken(message["msg"], bool(message.get("userId")), extra=_renamed(message, "createdAt"))
        for message in _objects(document["messages"])
        if "msg" in message
    )
    return ChatLog(tuple(messages))


def _risu(document: Json) -> ChatLog:
    """RisuAI: `data.message` with `role` (`user` or `char`) and `data`."""
    messages = []
    for message in _objects(document["data"].get("message")):
        name = text_of(message.get("name"))
        is_user = message.get("role") == "user"
        messages.append(
            _spoken(message.get("data"), is_user, user=name, character=name, extra=_renamed(message, "time"))
        )
    return ChatLog(tuple(messages))


def _renamed(message: Json, date: str) -> dict[str, Any]:
    """The other fields, the date under its usual name."""
    rest = {key: value for key, value in rest_of(message).items() if key not in ("msg", "data", date)}
    return {**rest, "send_date": message[date]} if date in message else rest


def _log(messages: Iterable[ChatMessage], user: str, character: str) -> ChatLog:
    return ChatLog(tuple(messages), header={"user_name": user, "character_name": character})


def _is_agnai(document: Json) -> bool:
    return any("msg" in message for message in _objects(document.get("messages")))


_READERS: tuple[tuple[Callable[[Json], bool], Callable[[Json], ChatLog]], ...] = (
    (lambda found: isinstance(found.get("savedsettings"), Mapping), _kobold_lite),
    (lambda found: isinstance(found.get("histories"), Mapping | list), _cai_tools),
    (lambda found: isinstance(found.get("data_visible", found.get("visible")), list), _oobabooga),
    (_is_agnai, _agnai),
    (lambda found: found.get("type") == "risuChat" and isinstance(found.get("data"), Mapping), _risu),
)
