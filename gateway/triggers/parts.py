"""What all parts of a trigger are made of: the base of their models, and the kinds of texts in them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from innkeeper.gateway.moments import from_iso, iso
from innkeeper.gateway.triggers.expressions import ExpressionError, compile_expression

_CONTROL = re.compile("[\x00-\x1f\x7f]")
_YEARS = range(1970, 2101)


T = TypeVar("T")


class Part(BaseModel):
    """Strict: a text is no number. An unknown key is a mistake that would otherwise fire at the wrong time."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=False,
        allow_inf_nan=False,
        defer_build=True,  # 1 ms for each model, at every start
    )


def _one_line(text: str) -> str:
    if not text.strip() or _CONTROL.search(text):
        raise ValueError("must be one line of text that is not empty")
    return text


def _expression(text: str) -> str:
    try:
        compile_expression(text)
    except ExpressionError as error:
        raise ValueError(f"must be a JMESPath expression: {error.message}") from None
    return text


def _not_empty(items: tuple[T, ...]) -> tuple[T, ...]:
    if not items:
        raise ValueError("must not be empty")
    return items


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    # Without an offset it would be a moment of the machine's own zone.
    if moment is None or moment.utcoffset() is None or moment.year not in _YEARS:
        raise ValueError("must be a moment such as '2030-01-31T08:00:00Z', with its offset, from 1970 to 2100")
    return iso(from_iso(text))


NOT_EMPTY = AfterValidator(_not_empty)
"""Of a list. With pydantic's own bound, a list whose items are wrong would also count as empty."""
Name = Annotated[str, Field(max_length=200), AfterValidator(_one_line)]
Note = Annotated[str, Field(max_length=1_000)]
Expr = Annotated[str, AfterValidator(_expression)]
"""A JMESPath expression that compiles."""
Moment = Annotated[str, Field(max_length=64), AfterValidator(_moment)]
"""ISO 8601 in UTC, whatever offset it was written with."""
