"""Which answers an approval takes."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from innkeeper.workflows.engine.answers import check, complaints, normal, with_defaults
from innkeeper.workflows.engine.workflow_context import Wait, WorkflowContext

FORM: list[dict[str, Any]] = [
    {"key": "text", "dataFlowType": "STRING", "required": True},
    {"key": "count", "dataFlowType": "INTEGER", "config": {"min": 1, "max": 9}},
    {"key": "tone", "dataFlowType": "STRING", "matchCategories": ["ComboOption"],
     "config": {"suggestions": ["calm", {"value": "loud", "label": "Loud"}]}},
    {"key": "any", "dataFlowType": "WILDCARD"},
]  # fmt: skip


def waiting(form: list[dict[str, Any]] | None = None) -> WorkflowContext:
    scope = WorkflowContext("run", "user")
    scope.waits["a"] = Wait("a", "approval", form=FORM if form is None else form)
    scope.waits["timer"] = Wait("timer", "delay", 5.0)
    scope.answered.add("done")
    return scope


def refusal(approval: str, answer: Any, form: list[dict[str, Any]] | None = None) -> tuple[str | None, str]:
    with pytest.raises(ApplicationError) as raised:
        check(waiting(form), approval, answer)
    return raised.value.type, raised.value.message


@pytest.mark.parametrize(
    "answer",
    [{"approved": True, "values": {"text": "x"}}, {"approved": False}, {"approved": False, "values": None},
     {"approved": True, "values": {"text": "", "count": 9, "tone": "loud", "any": [1]}, "comment": "ok", "by": "me"}],
)  # fmt: skip
def test_answers_that_fit(answer: Any) -> None:
    check(waiting(), "a", answer)


@pytest.mark.parametrize("answer", [None, [], "yes", True, {}, {"approved": "yes"}, {"approved": 1}, {"values": {}}])
def test_an_answer_says_yes_or_no(answer: Any) -> None:
    assert refusal("a", answer)[0] == "invalid_answer"


@pytest.mark.parametrize(
    ("values", "complaint"),
    [([], "'values' must be an object"), (False, "'values' must be an object"),
     ({"text": 5}, "field 'text' must be text"),
     ({}, "field 'text' needs a value"), ({"text": None}, "field 'text' needs a value"),
     ({"text": "x", "count": 10}, "from 1 to 9"), ({"text": "x", "count": 1.5}, "a whole number"),
     ({"text": "x", "tone": "angry"}, "one of 'calm', 'loud'"), ({"text": "x", "other": 1}, "no field 'other'")],
)  # fmt: skip
def test_values_must_fit_the_form(values: Any, complaint: str) -> None:
    code, message = refusal("a", {"approved": True, "values": values})
    assert code == "invalid_answer"
    assert complaint in message


@pytest.mark.parametrize(
    ("present", "default", "fits"),
    [([], None, False), (["text"], None, True), ([], "d", True), (["text"], "d", True)],
)
def test_a_required_field_may_have_its_value_from_the_data_or_by_default(
    present: list[str], default: str | None, fits: bool
) -> None:
    form = [{"key": "text", "dataFlowType": "STRING", "required": True, "config": {"default": default}}]
    said = {"approved": True}
    assert (not complaints(form, said, present)) == fits
    assert complaints(form, {**said, "values": {"text": None}}, present)  # taken away on purpose


def test_defaults_fill_what_neither_answer_nor_data_has() -> None:
    form = [{"key": key, "config": {"default": f"default {key}"}} for key in "abc"]
    wait = Wait("a", "approval", form=form, present=["b"])
    assert with_defaults({"approved": True, "values": {"c": 1}}, wait)["values"] == {"a": "default a", "c": 1}
    assert with_defaults({"approved": False}, wait)["values"] == {}


def test_without_a_form_there_are_no_values() -> None:
    assert "fields are none" in refusal("a", {"approved": True, "values": {"x": 1}}, [])[1]
    check(waiting([]), "a", {"approved": True})


def test_a_rejection_needs_no_values_but_those_given_must_fit() -> None:
    assert refusal("a", {"approved": False, "values": {"count": "many"}})[0] == "invalid_answer"


def test_answered_and_unknown_ids() -> None:
    assert refusal("done", {"approved": True})[0] == "approval_answered"
    assert refusal("nobody", {"approved": True})[0] == "approval_not_found"
    assert refusal("timer", {"approved": True})[0] == "approval_not_found"
    scope = waiting([])
    scope.waits["a"].answer = {"approved": True}
    with pytest.raises(ApplicationError) as raised:
        check(scope, "a", {"approved": True})
    assert raised.value.type == "approval_answered"


def test_what_is_kept_of_an_answer() -> None:
    said = {"approved": True, "values": {"a": 1}, "comment": "c" * 20_000, "by": "me", "more": 1}
    kept = normal(said)
    assert kept == {"approved": True, "values": {"a": 1}, "comment": "c" * 10_000, "by": "me"}
    assert normal({"approved": False, "values": None}) == {"approved": False, "values": {}}
