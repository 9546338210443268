"""What all types of the API's JSON share."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue

CLOSED = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""For objects whose keys are all known."""
OPEN = ConfigDict(extra="allow", use_attribute_docstrings=True)
"""For objects of users, or of another API, that may hold more."""

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""ISO 8601 in UTC."""
FreeObject = dict[str, JsonValue]
Count = Annotated[int, Field(ge=0)]

__all__ = ["CLOSED", "OPEN", "Count", "FreeObject", "JsonValue", "Moment"]
