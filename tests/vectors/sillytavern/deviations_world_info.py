"""Recorded cases in which we mean to differ: (file, case) to the reason."""

DEVIATIONS: dict[tuple[str, str], str] = {}
