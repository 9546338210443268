"""Reads JSON and searches it with JMESPath; called in the process of `services.scripts`."""

from __future__ import annotations

import json
import warnings
from typing import Any

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import MAX_VALUE_DEPTH, InvalidJson, TooDeep, read_json
from innkeeper.nodes.library.utilities.text import to_text
from innkeeper.nodes.tavern.environment import FormatError

MAX_EXPRESSION_CHARS = 10_000


def extract(value: Any, expression: str, default: Any) -> dict[str, Any]:
    """What the expression finds as `value`, the same as `text`, and `found`. A text in `value` is read as JSON.

    Raises:
        FormatError: A text is no JSON.
        NodeInputError: `invalid_expression`, with `{"position"}` (from 0) in its details, where one is known;
            also for a result that holds a number which is none.
    """
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise _wrong(f"it is longer than {MAX_EXPRESSION_CHARS} characters")
    found = _searched(expression, _parse_data(value) if isinstance(value, str) else value)
    result = default if found is None else found
    _check_finite(result)
    return {"value": result, "text": to_text(result), "found": found is not None}


def _check_finite(result: Any) -> None:
    try:
        json.dumps(result, allow_nan=False)
    except ValueError:
        raise _wrong("it makes a number that JSON does not have (too large, or NaN)") from None


def _parse_data(text: str) -> Any:
    try:
        return read_json(text, max_depth=MAX_VALUE_DEPTH)
    except TooDeep as error:
        raise NodeInputError(f"'data' is a text that cannot be read: {error.reason}", code="too_deep") from None
    except InvalidJson as error:
        place = "" if error.position is None else f" (line {error.position[0]}, column {error.position[1]})"
        raise FormatError(f"'data' is a text that is not valid JSON: {error.reason}{place}") from None


def _searched(expression: str, value: Any) -> Any:
    import jmespath
    from jmespath.exceptions import JMESPathError

    from innkeeper.nodes.jmespath_errors import CRASHES, reason_of

    try:
        with warnings.catch_warnings():
            # About literals in an old form, which work.
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            return jmespath.search(expression, value)
    except (JMESPathError, *CRASHES) as error:
        raise _wrong(*reason_of(error)) from None


def _wrong(reason: str, position: int | None = None) -> NodeInputError:
    place = "" if position is None else f" at position {position}"
    details = {} if position is None else {"position": position}
    return NodeInputError(f"'expression'{place}: {reason}", code="invalid_expression", details=details)
