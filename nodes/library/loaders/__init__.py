"""Nodes that read users' files: cards, histories, presets, regex rules, world books."""
