"""The built-in node types, one per file; their namespace is `core`."""
