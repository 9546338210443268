"""Forms with files (multipart/form-data): what routes read of them, and how they describe them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from innkeeper.gateway.api.responses import JsonObject, reference
from innkeeper.gateway.errors import BadRequest

FORM = "multipart/form-data"
_MAX_FIELDS = 20
"""Fields beside the files, which nobody reads."""


@contextlib.asynccontextmanager
async def files_in_form(request: Request, field: str, *, most: int) -> AsyncIterator[list[UploadFile]]:
    """The files of one field of a form. They lie in memory or, when they are large, in temporary files until the end.

    Raises:
        BadRequest: It is no such form, has no file in that field, or more than `most`.
    """
    if not request.headers.get("content-type", "").startswith(FORM):
        raise BadRequest(f"the body must be a form ({FORM}) with files in its field {field!r}")
    try:
        form = await request.form(max_files=most, max_fields=_MAX_FIELDS)
    except HTTPException as error:
        raise BadRequest(f"the form cannot be read: {error.detail}") from None
    try:
        files = [value for value in form.getlist(field) if isinstance(value, UploadFile)]
        if not files:
            raise BadRequest(f"the form has no file in its field {field!r}")
        yield files
    finally:
        await form.close()


def form_body(model: type, description: str) -> JsonObject:
    """What `openapi_extra` says of a form that the route reads itself."""
    content = {FORM: {"schema": reference(model)}}
    return {"requestBody": {"required": True, "description": description, "content": content}}
