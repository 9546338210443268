"""Keys typed where they are not kept secret: who is told, where, and that no value is repeated."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.definition import Input
from innkeeper.nodes.library.control import approval, wait_for_event
from tests.workflows.toy_graphs import TEXT, compiled, node, problems, toy

TYPES = (
    toy("Web", {
        "url": Input("STRING", match_categories=("Url",)), "headers": Input("OBJECT"),
        "authorization": Input("STRING", secret=True), "note": Input("STRING"),
    }, {"text": TEXT}),
    approval.definition.with_origin("core", None),
    wait_for_event.definition.with_origin("core", None),
    toy("Ask", {"api_settings": Input("OBJECT", secret_keys=("api_key",))}, {"text": TEXT}),
)  # fmt: skip
SECRET = "topsecret123"


def told(kind: str, **inputs: Any) -> list[tuple[str | None, str]]:
    found = compiled([node("n", kind, inputs)], types=TYPES).warnings
    assert {(problem.code, problem.level, problem.node) for problem in found} <= {("readable_secret", "warning", "n")}
    assert SECRET not in str(found)
    return [(problem.slot, problem.message) for problem in found]


@pytest.mark.parametrize(
    ("inputs", "slot", "says"),
    [
        ({"headers": {"Authorization": SECRET}}, "headers", "'Authorization'"),
        ({"headers": {"X-Api-Key": SECRET, "Accept": "*/*"}}, "headers", "'X-Api-Key'"),
        ({"headers": {"cookie": SECRET}}, "headers", "'cookie'"),
        ({"headers": {"Proxy-Authorization": SECRET}}, "headers", "'Proxy-Authorization'"),
        ({"headers": f'{{"api-key": "{SECRET}"}}'}, "headers", "'api-key'"),
        ({"url": f"https://me:{SECRET}@host.example/x"}, "url", "user name or password"),
        ({"url": f"https://host.example/x?a=1&key={SECRET}"}, "url", "'key'"),
        ({"url": f"https://host.example/x?access_token={SECRET}"}, "url", "'access_token'"),
    ],
)
def test_typed_key_is_a_warning_that_says_where_it_belongs(inputs: dict[str, Any], slot: str, says: str) -> None:
    ((where, message),) = told("Web", **inputs)
    assert where == slot
    assert says in message
    assert "'authorization' is kept secret" in message


def test_address_beside_a_key_is_looked_at_too() -> None:
    settings = {"base_url": f"https://me:{SECRET}@host.example/v1", "api_key": SECRET}
    ((where, message),) = told("Ask", api_settings=settings)
    assert where == "api_settings"
    assert "'base_url'" in message
    assert "'api_key' of 'api_settings'" in message


@pytest.mark.parametrize(
    "inputs",
    [
        {"authorization": SECRET},
        {"headers": {"Accept": "text/html", "X-Request-Id": "7", "Authorization": ""}},
        {"headers": "no JSON"},
        {"headers": [1]},
        {"url": "https://host.example/?q=monkey&page=2#key=a@b"},
        {"url": "http://[broken"},
        {"note": f"write to https://me:{SECRET}@host.example"},
    ],
)
def test_what_is_no_key_is_let_be(inputs: dict[str, Any]) -> None:
    assert told("Web", **inputs) == []


def asking(*fields: str, **more: Any) -> dict[str, Any]:
    form = [{"key": key, "dataFlowType": "STRING"} for key in fields]
    return node("late", "core:Approval", {"data": {"api_key": SECRET}}, configValues={"form": form}, **more)


EVENT = node("late", "core:WaitForEvent", configValues={"name": "paid"})


@pytest.mark.parametrize(
    ("late", "edge", "slot"),
    [
        (asking("model", "api_key"), "late.approved > n.api_settings", "form"),
        (asking("api_key"), "late.rejected > n.api_settings", "form"),
        (asking("data"), "late.approved > w.authorization", "form"),
        (asking("comment"), "late.answer > n.api_settings", "answer"),
        (EVENT, "late.data > n.api_settings", "data"),
        (EVENT, "late.data > w.authorization", "data"),
    ],
)
def test_a_secret_that_would_be_typed_into_a_running_graph_is_refused(
    late: dict[str, Any], edge: str, slot: str
) -> None:
    errors = list(problems([late, node("n", "Ask"), node("w", "Web")], edge, types=TYPES))
    assert [(found.code, found.level, found.node, found.slot) for found in errors] == [
        ("secret_from_outside", "error", "late", slot)
    ]
    assert SECRET not in errors[0].message


@pytest.mark.parametrize(
    ("late", "edge"),
    [
        (asking(), "late.approved > n.api_settings"),
        (asking("model"), "late.approved > n.api_settings"),
        (asking("api_key"), "late.approved > w.note"),
        (asking("api_key", bypassed=True), "late.approved > n.api_settings"),
        (EVENT, "late.data > w.note"),
        (EVENT, "late.timeout > w.note"),
    ],
)
def test_what_feeds_no_secret_slot_may_come_late(late: dict[str, Any], edge: str) -> None:
    found = problems([late, node("n", "Ask"), node("w", "Web")], edge, types=TYPES)
    assert "secret_from_outside" not in {problem.code for problem in found}
