"""Texts and streams."""

from __future__ import annotations

from tests.e2e.library_cases.case import Case

CASES = [
    Case(
        "text_merge",
        [{"id": "m", "fullType": "core:TextMerge", "inputs": {"separator": "-", "text_inputs": ["a", "b"]}}],
        expect={"m": {"merged_text": "a-b"}},
    ),
]
