"""What docs/triggers.md says of expressions, limits and definitions is so."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest

from innkeeper.gateway.deliveries.book import MAX_TRIGGERS
from innkeeper.gateway.deliveries.intake import KEEP_MS, MAX_PENDING
from innkeeper.gateway.deliveries.received_files import MAX_FILES
from innkeeper.gateway.triggers.decisions import MAX_QUEUED
from innkeeper.gateway.triggers.expressions import MAX_EXPRESSION_CHARS, ExpressionError, compile_expression
from innkeeper.gateway.triggers.model import MAX_LITERAL_BYTES
from innkeeper.gateway.triggers.payload import DEFAULT_LIMITS
from innkeeper.gateway.triggers.reading import MAX_BYTES as MAX_DEFINITION_BYTES
from innkeeper.gateway.triggers.reading import read_trigger
from innkeeper.gateway.triggers.scheme_config import FIXED_SCHEMES
from innkeeper.nodes.yaml_tree import MAX_BYTES, read_yaml
from tests.docs.pages import DOCS, code_blocks, table_rows

PAGE = (DOCS / "triggers.md").read_text()
PAYLOAD = {
    "body": {"title": "b", "count": 5, "text": "5", "number": 7, "issue": {"number": 1, "title": "t"}},
    "headers": {"x-github-event": "issues"},
}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("body.issue.title", "t"),
        ("join('', ['#', to_string(body.number)])", "#7"),
        ("body.issue.{number: number, title: title}", {"number": 1, "title": "t"}),
        ("body.title || body.name", "b"),
        ('headers."x-github-event"', "issues"),
        ("body.draft", None),
        ("body.draft == `true`", False),
        ("!(body.missing)", True),
        ("body.missing == `null`", True),
        ("body.count == '5'", False),
        ("body.count == `5`", True),
        ("body.missing > `3`", None),
        ("body.count > `3`", True),
        ("(body.count || `0`) > `3`", True),
        ("contains(body.missing || '', 'x')", False),
    ],
)
def test_expression_of_the_page_gives_what_it_says(expression: str, found: Any) -> None:
    assert expression in unescape(PAGE)
    assert compile_expression(expression).evaluate(PAYLOAD) == found


@pytest.mark.parametrize("expression", ["headers.x-github-event", "body.count > '3'", "contains(body.missing, 'x')"])
def test_expression_that_the_page_calls_refused_is(expression: str) -> None:
    assert expression in unescape(PAGE)
    with pytest.raises(ExpressionError):
        compile_expression(expression).evaluate(PAYLOAD)


def test_limits_are_those_of_the_code() -> None:
    limits = {row[0]: row[1] for row in table_rows(PAGE, "Limits")}
    assert limits["triggers"] == f"{MAX_TRIGGERS:,}"
    assert limits["definition"] == f"{MAX_DEFINITION_BYTES // 1024} KB; a literal {MAX_LITERAL_BYTES // 1024} KB"
    megabytes, fields = DEFAULT_LIMITS.max_body_bytes // 1_000_000, DEFAULT_LIMITS.max_fields
    assert limits["body of a webhook"] == f"{megabytes} MB, {fields:,} fields, {MAX_FILES} files"
    assert limits["deliveries without a run yet"] == f"{MAX_PENDING:,}; {MAX_QUEUED:,} behind one key"
    assert limits["an id is known for"] == f"{KEEP_MS // 86_400_000} days"
    assert limits["file for `add` and `apply`"] == f"{MAX_BYTES // 1024} KB"
    assert f"at most {MAX_EXPRESSION_CHARS:,} characters" in PAGE


def test_every_scheme_has_a_row() -> None:
    schemes = " ".join(row[0] for row in table_rows(PAGE, "Webhooks"))
    assert [name for name in (*FIXED_SCHEMES, "generic", "token", "basic", "none") if f"`{name}`" not in schemes] == []


def test_definition_of_the_page_on_files_is_one() -> None:
    (text,) = code_blocks((DOCS / "file-triggers.md").read_text(), "yaml")
    assert read_trigger(read_yaml("page", text.encode()).value).kind == "file"
