"""Nodes that work on texts and chats: regex rules, context assembly."""
