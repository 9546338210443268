"""Joining neighbouring system messages (reference presets 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from innkeeper.nodes.tavern.prompts.message import Message, Sizer


def squash(messages: Iterable[Message], sizer: Sizer) -> list[Message]:
    """Join system messages without a name that follow each other, by newline; empty system messages go."""
    groups: list[list[Message]] = []
    for message in messages:
        if message.role == "system" and message.is_empty:
            continue
        if groups and _may_join(groups[-1][-1]) and _may_join(message):
            groups[-1].append(message)
        else:
            groups.append([message])
    return [group[0] if len(group) == 1 else _squash_group(group, sizer) for group in groups]


def _may_join(message: Message) -> bool:
    return message.joins and message.role == "system" and not message.name and isinstance(message.content, str)


def _squash_group(group: list[Message], sizer: Sizer) -> Message:
    content = "\n".join(message.content for message in group)
    source = "+".join(message.source for message in group)
    return replace(group[0], content=content, source=source, index=None, tokens=sizer.of(content))
