"""Definitions of triggers: every problem at once, with its path; what is valid comes back as it was."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.triggers.model import Trigger
from innkeeper.gateway.triggers.reading import MAX_BYTES, MAX_PROBLEMS, InvalidTrigger, read_trigger
from tests.effort import examples
from tests.gateway.triggers.definitions import PARTS, definition, trigger
from tests.odd_json import ANY, NO_JSON, places, with_value

FULL = definition(
    "webhook",
    workflow={"id": "summary", "project": "news", "version": 3},
    enabled=False,
    mapping={
        "title": {"expression": "body.issue.title"},
        "limit": {"literal": 5},
        "nothing": {"literal": None},
        "raw": {"body": True},
    },
    filter="headers.\"x-github-event\"[0] == 'issues'",
    dedupe={"expression": "body.id"},
    concurrency={"policy": "queue", "key": "body.repository.id", "limit": 2},
    debounce={"seconds": 2.5, "key": "body.id"},
    rate={"limit": 10, "perSeconds": 60},
    inputs={"style": {"tone": None, "words": [1, 2.5, "x"]}},
    labels={"team": "docs"},
    callback={"url": "https://a.example/hook?key=1", "secret": f"$secret:{'0' * 64}", "on": ["error", "waiting"]},
    webhook={
        "scheme": "generic",
        "config": {"header": "X-Sig", "prefix": None},
        "answer": {"mode": "wait", "seconds": 20, "outputs": ["text"], "status": 201, "contentType": "text/plain"},
        "secretCount": 2,
    },
)
CALENDAR = {
    "hour": [9, {"start": 12, "end": 18, "step": 2}],
    "year": [2030],
    "dayOfWeek": [1],
    "comment": "Mondays",
}
FULL_SCHEDULE = definition(
    "schedule",
    schedule={
        "calendar": [CALENDAR],
        "timezone": "Asia/Tokyo",
        "jitterSeconds": 30,
        "start": "2030-01-01T00:00:00+09:00",
        "overlap": "buffer_one",
        "catchUpSeconds": 600,
        "note": "why",
    },
)
NORMAL = [FULL, FULL_SCHEDULE, *(definition(kind) for kind in PARTS)]


def problems_of(raw: Any) -> dict[str, str]:
    with pytest.raises(InvalidTrigger) as caught:
        read_trigger(raw)
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize("raw", NORMAL, ids=lambda raw: raw["kind"])
def test_round_trip(raw: dict[str, Any]) -> None:
    read = read_trigger(raw)
    told = read.to_json()
    assert read_trigger(told) == read
    assert orjson.loads(orjson.dumps(told)) == told
    assert told["mapping"] == raw.get("mapping", {})
    assert told["inputs"] == raw.get("inputs", {})
    assert told["webhook"]["config"] == raw["webhook"].get("config", {}) if "webhook" in told else True


def test_defaults() -> None:
    told = trigger("schedule").to_json()
    assert told["enabled"] is True
    assert told["dedupe"] == "id"
    assert told["concurrency"] == {"policy": "allow"}
    assert told["schedule"]["catchUpSeconds"] == 60
    assert told["schedule"]["overlap"] == "skip"
    assert set(told) & set(PARTS) == {"schedule"}


def test_moments_are_told_in_utc() -> None:
    assert read_trigger(FULL_SCHEDULE).to_json()["schedule"]["start"] == "2029-12-31T15:00:00.000Z"


def test_every_problem_is_told_at_once_with_path_finding_and_what_is_allowed() -> None:
    raw = definition(
        enabled="yes",
        workflow={"id": "", "version": 0},
        mapping={"title": {"expression": "a..b"}, "x": {}, "y": {"literal": 1, "body": True}, "z": {"body": None}},
        filter="body.",
        dedupe="sometimes",
        concurrency={"policy": "wait"},
        rate={"limit": 0, "perSeconds": "60"},
        webhook={"scheme": "github", "secret": "whsec_hidden", "answer": {"mode": "stream"}},
        colour="red",
        schedule={},
    )
    problems = problems_of(raw)
    assert problems["enabled"].startswith("'enabled' must be true or false, found 'yes'")
    assert problems["workflow.id"] == "'workflow.id' must be one line of text that is not empty, found ''"
    assert problems["workflow.version"] == "'workflow.version' must be greater than or equal to 1, found 0"
    assert "does not belong there (position 2)" in problems["mapping.title.expression"]
    assert all("one of 'expression', 'literal' and 'body'" in problems[f"mapping.{key}"] for key in "xyz")
    assert "JMESPath" in problems["filter"]
    assert problems["dedupe"] == "'dedupe' must be 'id' or 'none', found 'sometimes'"
    assert "'cancel_running', found 'wait'" in problems["concurrency.policy"].replace(" or ", " ")
    assert {"rate.limit", "rate.perSeconds"} <= problems.keys()
    assert problems["webhook.secret"].endswith("known are scheme, config, answer, secretCount")
    assert "name one output" in problems["webhook.answer"]
    assert "known are name, kind" in problems["colour"]
    assert problems["schedule"] == "'schedule' does not belong to a trigger of the kind 'webhook'"
    assert "whsec_hidden" not in str(problems)


@pytest.mark.parametrize(
    ("raw", "path", "words"),
    [
        (None, "", "the trigger must be an object, found null"),
        ([], "", "the trigger must be an object, found a list"),
        ({}, "kind", "'kind' is missing"),
        (definition(kind="webhook") | {"webhook": None}, "webhook", "needs 'webhook', which is missing"),
        (definition(workflow={"id": "w", "version": 1, "published": True}), "workflow", "not both"),
        (definition(name="a\nb"), "name", "one line of text"),
        (definition(name="x" * 201), "name", "at most 200 characters"),
        (definition(concurrency={"limit": 2}), "concurrency", "when it has a key or a limit"),
        (definition(debounce={"seconds": 0}), "debounce.seconds", "greater than or equal to 0.001, found 0"),
        (definition(labels={f"l{number}": "x" for number in range(21)}), "labels", "at most 20 items"),
        (definition(inputs={"a": "x" * 70_000}), "inputs.a", "more than 65536 bytes"),
        (definition(filter="length(@"), "filter", "position"),
        (definition("file", file={"folder": "user://../etc"}), "file.folder", "without '..'"),
        (definition("file", file={"folder": "system://x"}), "file.folder", "'shared://'"),
        (definition("file", file={"folder": "/etc"}), "file.folder", "'shared://'"),
        (definition("file", file={"folder": "user://in", "glob": "../*"}), "file.glob", "inside the folder"),
        (definition("file", file={"folder": "user://in", "glob": "a//*"}), "file.glob", "without empty names"),
        (definition("file", file={"folder": "user://in", "glob": "**/.env"}), "file.glob", "hidden names"),
        (definition("file", file={"folder": "user://in", "on": []}), "file.on", "must not be empty"),
        (definition("file", file={"folder": "user://in", "stillSeconds": 0}), "file.stillSeconds", "0.1, found 0"),
        (definition("event", event={"name": "*" * 6}), "event.name", "at most 5 '*'"),
        (definition("run", run={"statuses": ["waiting"]}), "run.statuses[0]", "'interrupted', found 'waiting'"),
        (definition("run", run={}), "run.statuses", "is missing"),
        (definition("schedule", schedule={"cron": "0 0 31 2 *"}), "schedule.cron", "it has no times"),
        (definition("schedule", schedule={"calendar": [{"hour": [24]}]}), "schedule.calendar[0].hour", "from 0 to 23"),
        (
            definition("schedule", schedule={"calendar": [{"hour": [{"start": 1, "ende": 2}]}]}),
            "schedule.calendar[0].hour[0].ende",
            "known are start, end, step",
        ),
    ],
)
def test_problem_names_its_place(raw: Any, path: str, words: str) -> None:
    assert words in problems_of(raw)[path]


@pytest.mark.parametrize("scheme", ["standard", "github", "stripe", "generic", "token", "basic"])
def test_webhook_without_a_secret_cannot_be_enabled(scheme: str) -> None:
    raw = definition(webhook={"scheme": scheme})
    assert "needs a secret before it is enabled" in problems_of(raw)["enabled"]
    assert read_trigger(raw | {"enabled": False}).enabled is False
    assert trigger(webhook={"scheme": "none"}).enabled


def test_bounds_on_the_whole() -> None:
    large = {f"i{number}": "x" * 60_000 for number in range(5)}
    assert f"at most {MAX_BYTES}" in problems_of(definition(inputs=large))[""]
    deep: Any = 1
    for _ in range(150):
        deep = [deep]
    assert "nested more than 100" in problems_of(definition(inputs={"a": deep}))[""]
    assert len(problems_of(definition(**{f"k{number}": 1 for number in range(300)}))) == MAX_PROBLEMS


@st.composite
def odd_definitions(draw: st.DrawFn) -> Any:
    value = draw(st.sampled_from(NORMAL))
    for _ in range(draw(st.integers(1, 3))):
        value = with_value(value, draw(st.sampled_from(places(value))), draw(ANY | NO_JSON))
    return value


@examples(800)
@given(odd_definitions())
def test_anything_is_read_and_comes_back_or_has_problems(raw: Any) -> None:
    try:
        read = read_trigger(raw)
    except InvalidTrigger as error:
        told = orjson.loads(orjson.dumps(error.details))["problems"]
        assert told
        assert all(len(problem["message"]) < 1_000 for problem in told)
        assert not any(".#" in problem["path"] or ".[" in problem["path"] for problem in told)
        return
    assert isinstance(read, Trigger)
    assert read_trigger(read.to_json()) == read


@pytest.mark.parametrize(
    ("callback", "path"),
    [
        ({"url": "ftp://a.example/canary"}, "callback.url"),
        ({"url": "https://u:canary@a.example"}, "callback.url"),
        ({"url": "https://a.example", "secret": "whsec_canary"}, "callback.secret"),
        ({"url": "https://a.example", "on": []}, "callback.on"),
        ({"url": "https://a.example", "on": ["canary"]}, "callback.on[0]"),
        ({"url": "https://a.example", "secrets": "canary"}, "callback.secrets"),
        ({}, "callback.url"),
    ],
)
def test_a_wrong_callback_is_told_without_what_may_be_secret_in_it(callback: dict[str, Any], path: str) -> None:
    found = problems_of(definition(callback=callback))
    assert list(found) == [path]
    assert "canary" not in found[path].replace("'callback.secrets'", "")
