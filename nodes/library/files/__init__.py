"""Nodes that read and write users' files."""
