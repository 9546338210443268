"""Chat histories: SillyTavern's files, what other programs export, and plain lists of messages."""

from innkeeper.nodes.tavern.history.dates import sent_at
from innkeeper.nodes.tavern.history.log import ChatLog, ChatMessage, depths
from innkeeper.nodes.tavern.history.reading import from_value, read_log
from innkeeper.nodes.tavern.history.writing import write_log

__all__ = ["ChatLog", "ChatMessage", "depths", "from_value", "read_log", "sent_at", "write_log"]
