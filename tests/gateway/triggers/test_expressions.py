"""JMESPath within bounds: told at save what is wrong, and never endless on a delivery."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.triggers.expressions import (
    MAX_EXPRESSION_CHARS,
    MAX_EXPRESSION_DEPTH,
    MAX_RESULT_VALUES,
    MAX_WORK,
    Budget,
    Expression,
    ExpressionError,
    compile_expression,
    json_refusal,
)
from tests.effort import examples
from tests.odd_json import ANY, NO_JSON

ENDLESS_S = 1.0
"""Work without a bound takes minutes; what is bounded takes about 10 ms, and a busy machine some more."""


def evaluate(expression: str, value: Any) -> Any:
    return compile_expression(expression).evaluate(value)


@pytest.mark.parametrize(
    ("expression", "reason", "position"),
    [
        ("headers.x-github-event", "does not belong", 9),  # a name with '-' needs quotes
        ("body.", "does not belong", 5),
        ("a == 'b", "does not belong", 5),
        ("[?a ==]", "does not belong", 6),
        ("", "it is empty", None),
        ("nothing(@)", "no function 'nothing'", None),
        ("a" * (MAX_EXPRESSION_CHARS + 1), "at most 2000", None),
        ("(" * 1_500, "nested more than", None),
        ("!" * (MAX_EXPRESSION_DEPTH + 5) + "a", "nested more than", None),
        ("`NaN`", "JSON has not", None),
        ('`"\\ud800"`', "half of a character", None),
        ("`" + "[" * 900 + "]" * 900 + "`", "nested more than", None),
    ],
)
def test_wrong_expression_is_told_when_it_is_compiled(expression: str, reason: str, position: int | None) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(expression)
    assert reason in caught.value.message
    if position is not None:
        assert caught.value.details == {"position": position}
        assert f"(position {position})" in caught.value.message


def test_what_expressions_find() -> None:
    payload = {"headers": {"x-github-event": ["push"]}, "body": {"n": 0, "id": 1}}
    assert evaluate('headers."x-github-event"[0]', payload) == "push"
    assert evaluate("body.id == '1'", payload) is False  # a number is no text
    assert evaluate("body.missing", payload) is None
    assert evaluate("sort_by([{a: `2`}, {a: `1`}], &a)[*].a", payload) == [1, 2]
    assert evaluate("`[[1, 2], [3]]`[] | length(@)", payload) == 3
    assert evaluate("`[1, 2, 3]`[::-1]", payload) == [3, 2, 1]


def test_compiled_expressions_are_cached() -> None:
    assert compile_expression("a.b.c") is compile_expression("a.b.c")


TIMES = 24
"""Enough doublings for the bounds, and few enough that a bound which is gone fails a test and not the machine."""
DOUBLED = "|".join(["[@, @]"] * TIMES)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (DOUBLED, 1),
        (f"{DOUBLED} | to_string(@)", 1),
        (f"{{a: {DOUBLED}, b: {DOUBLED}}} | a == b", 1),
        (f"{{a: {DOUBLED}, b: {DOUBLED}}} | contains([a], b)", 1),
        ("|".join(["[@, @][]"] * TIMES), [1]),
        ("|".join(["join('', [@, @])"] * 16), "ab" * 1_000),
        ("|".join(["merge(@, {a: @, b: @})"] * TIMES) + "| to_string(@)", {"a": 1}),
        ("|".join(["map(&[@, @], @)"] * TIMES) + "| [][][]", [1, 2]),
        ("l[?l2[?@ == 'x']]", {"l": [{"l2": ["y"] * 300}] * 300}),
        ("[?contains(@, 'qqqqqqqqqqz')]", ["q" * 1_000] * 20_000),
        ("contains(@, 'b')", "a" * 1_000_000),
        ("[*].[@, @, @, @]", list(range(20_000))),
        ("to_string(@)", [["x"] * 100] * 10_000),
        ("sort(@)", ["q" * 100 + str(number) for number in range(100_000)]),
        ("[][]", [[1] * 1_000] * 1_000),
        ("[::-1]", list(range(1_000_000))),
        ("@", ["x" * 1_000] * 15_000),
        ("@", [[[]] * 10_000] * 10),
    ],
)
def test_work_and_results_are_bounded(expression: str, value: Any) -> None:
    compiled = compile_expression(expression)
    began = time.perf_counter()
    with pytest.raises(ExpressionError, match=r"too much work|more than"):
        compiled.evaluate(value)
    assert time.perf_counter() - began < ENDLESS_S


def test_flattening_is_refused_before_it_fills_the_memory() -> None:
    compiled, value = compile_expression("[]"), [[1] * 2_000] * 4_000
    tracemalloc.start()
    try:
        with pytest.raises(ExpressionError, match="too much work"):
            compiled.evaluate(value)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000  # flat, it would be 64 MB
    finally:
        tracemalloc.stop()


def test_what_people_write_is_within_the_bounds() -> None:
    commits = [{"id": str(number), "author": {"name": f"n{number % 7}"}, "added": ["a", "b"]} for number in range(500)]
    payload = {"body": {"ref": "refs/heads/main", "commits": commits, "text": "x" * 500_000}}
    assert len(evaluate("body.commits[?author.name == 'n3'].id", payload)) == 71
    assert len(evaluate("body.commits[].added[]", payload)) == 1_000
    assert evaluate("body.ref == 'refs/heads/main' && contains(body.text, 'x')", payload) is True
    assert len(evaluate("sort_by(body.commits, &author.name)", payload)) == 500
    assert evaluate("body", payload) is payload["body"]


@pytest.mark.parametrize(
    ("expression", "value", "reason"),
    [
        ("to_number('1e999')", {}, "JSON has not"),
        ("to_number('nan')", {}, "JSON has not"),
        ("sum(@)", [2**64 - 1, 2**64 - 1], "JSON has not"),
        ("&a", {}, "JSON has not"),
        ("abs(@)", "x", "takes number, found string"),
        ("max_by(@, &@)", [1, "a"], "while it was applied"),
        ("join(', ')", [], "takes 2 values, found 1"),
        ("[::0]", [1], "while it was applied"),
    ],
)
def test_what_cannot_be_applied_is_an_error_without_values(expression: str, value: Any, reason: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(expression, value)
    assert reason in caught.value.message


def test_errors_hold_nothing_of_the_payload() -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate("abs(password)", {"password": "hunter2"})
    assert "hunter2" not in caught.value.message


def test_same_delivery_always_takes_the_same_work() -> None:
    expression, value = compile_expression("[?a == `1`].a"), [{"a": number} for number in range(100)]
    spent = set()
    for _ in range(3):
        budget = Budget()
        expression.evaluate(value, budget)
        spent.add(MAX_WORK - budget.left)
    assert len(spent) == 1
    assert 0 < spent.pop() < MAX_WORK


def test_shared_budget_ends_for_all() -> None:
    expression, value, budget = compile_expression("[?a == `1`].a"), [{"a": 1}] * 500, Budget(6_000)
    expression.evaluate(value, budget)
    expression.evaluate(value, budget)
    with pytest.raises(ExpressionError, match="too much work"):
        expression.evaluate(value, budget)
    with pytest.raises(ExpressionError, match="too much work"):
        compile_expression("@").evaluate(1, budget)


def test_json_refusal_counts_shared_parts_each_time() -> None:
    shared: list[Any] = [1]
    for _ in range(60):
        shared = [shared, shared]
    assert json_refusal(shared) == f"has more than {MAX_RESULT_VALUES} values"
    endless: list[Any] = []
    endless.append(endless)
    assert json_refusal(endless) == "is nested more than 100 levels deep"


PIECES = st.sampled_from(
    [*"ab@.*[]{}()|&!,:?`'\"0-<=> ", "[?", "==", "a.b", "[*]", "[]", "[::2]", "length(", "sort_by(", "&a", "to_string(",
     "merge(", "`1`", "'x'", "map(&", "||", "&&", "not_null(", "join(", "contains(", "max_by(", "to_number("]
)  # fmt: skip


@examples(600)
@given(st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=20), ANY | NO_JSON)
def test_any_text_gives_json_or_an_error(text: str, value: Any) -> None:
    try:
        found = compile_expression(text).evaluate({"a": value, "b": [value, value]})
    except ExpressionError:
        return
    assert json_refusal(found) is None


def test_expression_keeps_its_text() -> None:
    compiled = compile_expression("a.b")
    assert isinstance(compiled, Expression)
    assert compiled.text == "a.b"
