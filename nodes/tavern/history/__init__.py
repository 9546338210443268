"""Chat histories: SillyTavern's files, what other programs export, and plain lists of messages."""

from nodes.tavern.history.dates import sent_at
from nodes.tavern.history.log import ChatLog, ChatMessage, depths
from nodes.tavern.history.reading import from_value, read_log
from nodes.tavern.history.writing import write_log

__all__ = ["ChatLog", "ChatMessage", "depths", "from_value", "read_log", "sent_at", "write_log"]
