"""Calls of nodes to models, as all workers share them: limits, the line before them, and what they cost."""
