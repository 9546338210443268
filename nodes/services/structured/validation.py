"""Schemas and answers held against each other. Called by name in a process of its own (`services.scripts`).

A schema is a program of its author: it may take for ever, or use up the stack. So nothing else imports this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import jsonschema_rs

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.services.structured.key_order import in_order
from innkeeper.nodes.services.structured.reading import repaired_value, strict_values

MAX_ERRORS = 20
_MAX_ERROR_CHARS = 300
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000, size_limit=1 << 20, dfa_size_limit=1 << 20)


def check_schema(schema: dict[str, Any], slot: str) -> None:
    """Raises NodeInputError when it is no JSON Schema."""
    try:
        _validator(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        words = str(getattr(error, "message", error)).partition("\n")[0][:_MAX_ERROR_CHARS]
        raise NodeInputError(f"{slot!r} is no JSON Schema that can be used: {words}") from None


def read_answer(text: str, schema: dict[str, Any], is_cut: bool) -> dict[str, Any]:
    """The data in an answer: `{"data": object, "is_repaired": bool}`, or `{"errors": [sentence, ...]}` when none fits.

    Of an answer that `is_cut` nothing is repaired: what lacks at its end would be made up.
    """
    validator, errors = _validator(schema), list[str]()
    for value, is_repaired in _values(text, is_cut):
        found = _errors(validator, value)
        if not found:
            return {"data": in_order(value, schema), "is_repaired": is_repaired}
        errors = errors or found
    return {"errors": errors or ["the answer is no JSON object"]}


def _values(text: str, is_cut: bool) -> Iterator[tuple[Any, bool]]:
    for value in strict_values(text):
        yield value, False
    repaired = None if is_cut else repaired_value(text)
    if repaired is not None:
        yield repaired, True


def _errors(validator: jsonschema_rs.Validator, value: Any) -> list[str]:
    if not isinstance(value, dict):
        return ["the answer must be a JSON object"]
    return [_sentence(error) for error in islice(validator.iter_errors(value), MAX_ERRORS)]


def _sentence(error: jsonschema_rs.ValidationError) -> str:
    place = "/".join(str(step) for step in error.instance_path)
    return f"at '/{place}': {error.message}"[:_MAX_ERROR_CHARS]


def _validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(schema, retriever=_refuse, pattern_options=_PATTERNS)


def _refuse(uri: str) -> Any:
    # Else it would ask any address, and open any file.
    raise ValueError("references out of a schema are refused")
