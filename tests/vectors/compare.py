"""How a recorded result is compared with ours: values, markers of the recording, and our references."""

from __future__ import annotations

import math
from typing import Any

UNDEFINED = {"$undefined": True}


def same(expected: Any, got: Any) -> bool:
    """Equal in the sense of the recording: `$text` is any text, -0 is 0, floats to 1e-12, undefined a missing key."""
    if isinstance(expected, dict):
        if expected.get("$text") is True or "$defaultTextSha256" in expected:
            return isinstance(got, str)
        if "$number" in expected:
            return same_number(float(expected["$number"].replace("Infinity", "inf")), got)
        if not isinstance(got, dict):
            return False
        wanted = {key: value for key, value in expected.items() if value != UNDEFINED}
        return set(wanted) == set(got) and all(same(value, got[key]) for key, value in wanted.items())
    if isinstance(expected, list):
        return isinstance(got, list) and len(expected) == len(got) and all(map(_same_element, expected, got))
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return same_number(float(expected), got)
    return type(expected) is type(got) and expected == got


def _same_element(expected: Any, got: Any) -> bool:
    """Elements of matrices agree to 1e-9."""
    if all(isinstance(item, int | float) and not isinstance(item, bool) for item in (expected, got)):
        return math.isclose(expected, got, rel_tol=1e-9, abs_tol=1e-9)
    return same(expected, got)


def same_number(expected: float, got: Any) -> bool:
    if isinstance(got, bool) or not isinstance(got, int | float):
        return False
    return math.isclose(expected, got, rel_tol=1e-12) or (math.isnan(expected) and math.isnan(got))


def is_stream(value: Any) -> bool:
    return isinstance(value, dict) and value.get("$stream") is True


def is_rejected(value: Any) -> bool:
    return isinstance(value, dict) and "$rejected" in value


def same_chunks(expected: list[Any], got: list[Any]) -> bool:
    """Equal chunks; of an error only that there is one, as its wording is nobody's promise."""
    return len(expected) == len(got) and all(
        one["type"] == "error_chunk" == other["type"] or one == other for one, other in zip(expected, got, strict=True)
    )
