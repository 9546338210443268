"""The OpenAPI document as a contract: every answer of a gateway in these tests must be as the document declares it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any

import httpx
import jsonschema_rs
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match

from innkeeper.gateway.api.openapi import METHODS, document_of
from innkeeper.gateway.app import create_app
from innkeeper.gateway.settings import Settings

Json = dict[str, Any]

JSON = "application/json"
ANY = "*/*"
WITH_SLASHES = frozenset({"place", "approval", "path"})
REF = "#/components/schemas/"
FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time")
def _is_moment(value: object) -> bool:
    try:
        return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


@cache
def document() -> Json:
    """The document of the app, without a gateway."""
    return document_of(create_app(Settings()).routes)


class Contract:
    """Checks answers, and remembers what it has seen.

    Attributes:
        seen: Operation id and status of every answer.
        bodies: The first JSON body of each, and the first JSON request of each operation (key `request`).
        fields: Type and field of every JSON object that a type describes.
    """

    def __init__(self, document: Json) -> None:
        self._document = document
        self._paths = [(_pattern(path), item) for path, item in document["paths"].items()]
        self._validators: dict[str, jsonschema_rs.Validator] = {}
        self.seen: set[tuple[str, int]] = set()
        self.bodies: dict[str, Json] = {}
        self.fields: set[tuple[str, str]] = set()

    def operation(self, method: str, path: str) -> Json | None:
        """The operation that a request means; None when there is none."""
        for pattern, item in self._paths:
            if pattern.fullmatch(path) and method.lower() in item:
                found: Json = item[method.lower()]
                return found
        return None

    async def check(self, response: httpx.Response) -> None:
        """Fail unless this answer is declared: its status, its media type, its body. A hook of an HTTP client."""
        request = response.request
        operation = self.operation(request.method, request.url.path)
        if operation is None:
            return
        what = f"{operation['operationId']} {response.status_code}"
        declared = operation["responses"].get(str(response.status_code))
        assert declared is not None, f"{what} is not declared"
        self.seen.add((operation["operationId"], response.status_code))
        self._remember_request(operation["operationId"], response)
        kind = response.headers.get("content-type", "").partition(";")[0]
        if kind == JSON and request.method != "HEAD":
            await response.aread()
            body = json.loads(response.content)
            self._check_body(what, declared, body)
            codes = declared.get("x-error-codes")
            assert codes is None or _code(body) in codes, f"{what}: code {_code(body)!r} is not one of {codes}"
            self._remember(operation["operationId"], str(response.status_code), response)
        elif declared.get("content"):
            ranges = {kind, f"{kind.partition('/')[0]}/*", ANY}
            assert ranges & declared["content"].keys(), f"{what}: media type {kind!r} is not declared"
        elif request.method != "HEAD":
            assert not await response.aread(), f"{what} has a body that is not declared"

    def _check_body(self, what: str, declared: Json, body: Any) -> None:
        schema = declared.get("content", {}).get(JSON, {}).get("schema")
        if schema is None and ANY in declared.get("content", {}):
            return  # a part of a JSON file
        assert schema is not None, f"{what}: a JSON body is not declared"
        self.validate(what, schema, body)

    def validate(self, what: str, schema: Json, value: Any) -> None:
        """Fail unless the value fits the schema."""
        told = "" if self._fits(schema, value) else _best_problem(self._whole(schema), value)
        assert not told, f"{what} is not as declared: {told}"
        self.fields |= set(self._fields(schema, value))

    def _fields(self, schema: Json, value: Any) -> Iterator[tuple[str, str]]:
        """Type and field of every object inside the value that a type describes."""
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(REF)
            inner = self._document["components"]["schemas"][name]
            if isinstance(value, dict):
                yield from ((name, key) for key in value if key in inner.get("properties", {}))
            yield from self._fields(inner, value)
        for choice in schema.get("anyOf", ()):
            if self._fits(choice, value):
                yield from self._fields(choice, value)
                break
        if isinstance(value, list) and "items" in schema:
            for item in value:
                yield from self._fields(schema["items"], item)
        if isinstance(value, dict):
            others = schema.get("additionalProperties")
            for key, item in value.items():
                inner = schema.get("properties", {}).get(key, others)
                if isinstance(inner, dict):
                    yield from self._fields(inner, item)

    def _whole(self, schema: Json) -> Json:
        return {**schema, "components": self._document["components"]}

    def _fits(self, schema: Json, value: Any) -> bool:
        """By the compiled validator: one in Python takes longer than the gateway to answer."""
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            self._validators[key] = jsonschema_rs.Draft202012Validator(
                self._whole(schema), formats={"date-time": _is_moment}, validate_formats=True
            )
        return self._validators[key].is_valid(value)

    def _remember(self, operation: str, status: str, response: httpx.Response) -> None:
        self.bodies.setdefault(operation, {}).setdefault(status, response.json())

    def _remember_request(self, operation: str, response: httpx.Response) -> None:
        is_form = response.request.headers.get("content-type", "").startswith("multipart/")
        sent = response.request.content if response.is_success and not is_form else b""
        if sent[:1] == b"{":
            self.bodies.setdefault(operation, {}).setdefault("request", json.loads(sent))


def operations() -> dict[str, Json]:
    """Every operation of the document by its id."""
    items = document()["paths"].values()
    return {found["operationId"]: found for item in items for method, found in item.items() if method in METHODS}


def _best_problem(schema: Json, value: Any) -> str:
    """Where a value does not fit and why; of a value that fits none of several types, what the first one lacks."""
    problem = best_match(Draft202012Validator(schema, format_checker=FORMATS).iter_errors(value))
    while problem and problem.context:
        problem = problem.context[0]
    return f"{problem.json_path}: {problem.message[:500]}" if problem else ""


def _code(body: Json) -> str:
    error = body["error"]
    return str(body["code"] if isinstance(error, str) else error["code"])


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    names = (".*" if name in WITH_SLASHES else "[^/]+" for name in parts[1::2])
    literal = (re.escape(part) for part in parts[0::2])
    return re.compile("".join(text for pair in zip(literal, [*names, ""], strict=True) for text in pair))


@cache
def contract() -> Contract:
    """The contract that all tests of this process share."""
    return Contract(document())
