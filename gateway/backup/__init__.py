"""Backups of a data directory: one file, made while Innkeeper runs, checked when it is restored."""
