"""Triggers: what starts runs besides a hand."""
