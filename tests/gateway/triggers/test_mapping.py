"""What a payload means to a trigger."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.triggers.mapping import Reading, map_inputs, read_delivery
from tests.effort import examples
from tests.gateway.triggers.definitions import PARTS, trigger
from tests.odd_json import ANY

PAYLOAD = {
    "body": {"issue": {"title": "Crash", "labels": ["bug", "ui"]}, "zero": 0, "one": 1, "flag": False, "empty": ""},
    "headers": {"x-github-event": ["issues"]},
    "query": {"dry": ["1", "2"]},
}


def test_mapping_takes_expressions_literals_and_the_whole_body() -> None:
    mapped = map_inputs(
        trigger(
            mapping={
                "title": {"expression": "body.issue.title"},
                "labels": {"expression": "body.issue.labels"},
                "dry": {"expression": "query.dry[-1]"},
                "limit": {"literal": 5},
                "nothing": {"literal": None},
                "raw": {"body": True},
            }
        ),
        PAYLOAD,
    )
    assert mapped.problems == ()
    assert mapped.values == {
        "title": "Crash",
        "labels": ["bug", "ui"],
        "dry": "2",
        "limit": 5,
        "nothing": None,
        "raw": PAYLOAD["body"],
    }


def test_input_that_is_not_found_takes_the_default_or_is_left_out() -> None:
    mapping = {
        "a": {"expression": "body.missing"},
        "b": {"expression": "body.missing"},
        "c": {"expression": "body.zero"},
    }
    mapped = map_inputs(trigger(mapping=mapping, inputs={"a": "default", "c": 9, "d": 4}), PAYLOAD)
    assert mapped.values == {"a": "default", "c": 0, "d": 4}


def test_broken_expression_is_told_and_no_default_hides_it() -> None:
    mapping = {"a": {"expression": "abs(body.issue.title)"}, "b": {"expression": "body.one"}}
    mapped = map_inputs(trigger(mapping=mapping, inputs={"a": 1}), PAYLOAD)
    assert mapped.values == {"b": 1}
    assert [problem.input for problem in mapped.problems] == ["a"]
    assert "takes number, found string" in mapped.problems[0].reason
    assert "Crash" not in mapped.problems[0].reason


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("webhook", {"body": "it", "headers": {}}),
        ("schedule", {"schedule": "it"}),
        ("event", {"data": "it", "event": {"name": "orders.paid"}}),
        ("file", {"file": "it"}),
        ("run", {"run": "it"}),
    ],
)
def test_whole_body_of_each_kind(kind: str, payload: dict[str, Any]) -> None:
    assert map_inputs(trigger(kind, mapping={"a": {"body": True}}), payload).values == {"a": "it"}
    assert map_inputs(trigger(kind, mapping={"a": {"body": True}}), {}).values == {}


@pytest.mark.parametrize(
    ("expression", "passes", "refusal"),
    [
        (None, True, None),
        ("body.one == `1`", True, None),
        ("body.flag", False, None),
        ("body.one == '1'", False, None),
        ("headers.\"x-github-event\"[0] == 'issues'", True, None),
        ("contains(body.issue.labels, 'bug')", True, None),
        ("body.zero", None, "gave a number"),
        ("body.one", None, "gave a number"),
        ("body.empty", None, "gave a text"),
        ("body.issue.titel", None, "gave null"),
        ("body.issue.labels", None, "gave a list"),
        ("body.issue", None, "gave an object"),
        ("body.missing > `3`", None, "gave null"),
        ("body.missing && body.flag", None, "gave null"),
        ("contains(body.missing, 'bug')", None, "cannot be applied"),
        ("!(body.missing)", True, None),
        ("!body.missing", None, "gave null"),  # JMESPath reads (!body).missing
    ],
)
def test_filter_gives_exactly_true_or_false(expression: str | None, passes: bool | None, refusal: str | None) -> None:
    reading = read_delivery(trigger(filter=expression), PAYLOAD, "d1")
    if refusal is None:
        assert (reading.passes, reading.refusal) == (passes, None)
    else:
        assert refusal in (reading.refusal or "")
        assert "Crash" not in (reading.refusal or "")


@pytest.mark.parametrize(
    ("dedupe", "delivery_id", "key"),
    [
        ("id", "d1", "id:d1"),
        ("id", None, None),  # no id: every call is a new event
        ("id", "", None),
        ("none", "d1", None),
        ({"expression": "body.one"}, "d1", "key:1"),
        ({"expression": "to_string(body.one)"}, "d1", 'key:"1"'),
        ({"expression": "body.missing"}, "d1", None),
        ({"expression": "'d1'"}, None, 'key:"d1"'),
    ],
)
def test_dedupe_key(dedupe: Any, delivery_id: str | None, key: str | None) -> None:
    assert read_delivery(trigger(dedupe=dedupe), PAYLOAD, delivery_id).dedupe_key == key


def test_dedupe_is_never_made_of_the_body() -> None:
    pings = [read_delivery(trigger(), {"body": None, "headers": {}}, None).dedupe_key for _ in range(2)]
    assert pings == [None, None]


def test_keys_of_objects_do_not_depend_on_their_order_and_long_ones_are_hashed() -> None:
    keyed = trigger(concurrency={"policy": "skip", "key": "body"}, dedupe="id")
    one, other = ({"body": {"a": 1, "b": 2}}, {"body": {"b": 2, "a": 1}})
    assert read_delivery(keyed, one, None).concurrency_key == read_delivery(keyed, other, None).concurrency_key
    long = read_delivery(keyed, {"body": "x" * 100_000}, "i" * 10_000)
    assert len(long.concurrency_key) < 100
    assert len(long.dedupe_key or "") < 100
    half = read_delivery(keyed, {"body": None}, "\ud800" * 300)
    assert (half.dedupe_key or "").startswith("id:sha256:")


def test_each_key_has_its_own_expression() -> None:
    keyed = trigger(
        concurrency={"policy": "queue", "key": "body.one"},
        debounce={"seconds": 1, "key": "body.zero"},
        rate={"limit": 1, "perSeconds": 1, "key": "body.missing"},
    )
    reading = read_delivery(keyed, PAYLOAD, "d")
    assert reading == Reading(dedupe_key="id:d", concurrency_key="1", debounce_key="0", rate_key="")


def test_key_that_cannot_be_applied_is_a_refusal() -> None:
    keyed = trigger(concurrency={"policy": "skip", "key": "abs(body.empty)"})
    assert "'concurrency.key' cannot be applied" in (read_delivery(keyed, PAYLOAD, "d").refusal or "")
    # What the filter stops is filtered, whatever its keys would give.
    assert read_delivery(trigger(filter="body.flag", concurrency=keyed.concurrency.model_dump()), PAYLOAD, "d") == (
        Reading(passes=False)
    )


def test_two_hundred_costly_inputs_do_not_hold_the_event_loop() -> None:
    costly = {f"i{number}": {"expression": f"body[?a == 'x{number}'].b"} for number in range(200)}
    payload = {"body": [{"a": "x", "b": 1}] * 1_500}
    began = time.perf_counter()
    mapped = map_inputs(trigger(mapping=costly), payload)
    # 200 alone would take two seconds; all together have the budget of five.
    assert time.perf_counter() - began < 1.0
    assert len(mapped.problems) > 150


@examples(300)
@given(
    st.sampled_from(sorted(PARTS)),
    st.dictionaries(st.sampled_from(["body", "headers", "data", "file", "run", "x"]), ANY),
    st.none() | st.text(max_size=5),
)
def test_any_payload_is_read_and_mapped(kind: str, payload: dict[str, Any], delivery_id: str | None) -> None:
    odd = trigger(
        kind,
        filter="body > `1` || contains(headers, 'a')",
        mapping={"a": {"expression": "sort_by(body, &a)"}, "b": {"body": True}, "c": {"expression": "*.a[]"}},
        dedupe={"expression": "headers"},
        concurrency={"policy": "skip", "key": "*"},
    )
    mapped = map_inputs(odd, payload)
    assert set(mapped.values) | {problem.input for problem in mapped.problems} <= {"a", "b", "c"}
    reading = read_delivery(odd, payload, delivery_id)
    assert isinstance(reading.passes, bool)
    orjson.dumps(reading.concurrency_key)


@pytest.mark.parametrize(
    "value",
    [
        {"$secret": "env:OPENAI_API_KEY"},
        "$secret:env:OPENAI_API_KEY",
        {"deep": [{"api_key": {"$secret": "a" * 64}}]},
        "$secret:" + "a" * 64,
    ],
)
def test_sender_cannot_name_a_stored_secret(value: Any) -> None:
    mapping = {"key": {"expression": "data.key"}, "all": {"body": True}, "own": {"literal": value}}
    asked = trigger(kind="event", mapping=mapping)
    mapped = map_inputs(asked, {"data": {"key": value}})
    assert [problem.input for problem in mapped.problems] == ["key", "all"]
    assert mapped.values == {"own": value}
    # A text that only looks like it is a text.
    assert map_inputs(asked, {"data": {"key": "what does $secret:mine mean?"}}).problems == ()
