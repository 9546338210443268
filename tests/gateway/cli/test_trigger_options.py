"""What `triggers add` was told becomes a definition that the gateway takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from innkeeper.gateway.cli.run_command import UsageError
from innkeeper.gateway.cli.trigger_options import TriggerOptions, definition_of
from innkeeper.gateway.cli.trigger_words import starts_when, target_of
from innkeeper.gateway.triggers.reading import read_trigger

PLAIN = TriggerOptions("t", "w")


@pytest.mark.parametrize(
    ("options", "kind", "part", "when"),
    [
        (
            {"webhook": "token", "config": ["header=X-Token", "delivery_id_header=X-Id"], "disabled": True},
            "webhook",
            {"scheme": "token", "config": {"header": "X-Token", "delivery_id_header": "X-Id"}},
            "token webhook",
        ),
        (
            {"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
            "schedule",
            {"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
            "0 3 * * * (Europe/Berlin)",
        ),
        ({"every": 60}, "schedule", {"interval": {"everySeconds": 60}}, "every 60 s"),
        ({"event": "order.*", "source": "shop"}, "event", {"name": "order.*", "source": "shop"}, "event order.*"),
        (
            {"folder": "user://in", "glob": "*.png"},
            "file",
            {"folder": "user://in", "glob": "*.png"},
            "user://in/*.png",
        ),
        (
            {"after": "x", "on": ["error", "interrupted"], "project": "p"},
            "run",
            {"workflow": {"id": "x", "project": "p"}, "statuses": ["error", "interrupted"]},
            "error, interrupted of x",
        ),
        ({"after": "x"}, "run", {"workflow": {"id": "x"}, "statuses": ["complete"]}, "complete of x"),
        ({"on": ["error"]}, "run", {"statuses": ["error"]}, "error of any workflow"),
    ],
)
def test_options_of_a_kind_are_its_part(options: Any, kind: str, part: Any, when: str) -> None:
    definition = definition_of(replace(PLAIN, **options))
    assert (definition["kind"], definition[kind]) == (kind, part)
    shown = read_trigger(definition).to_json()
    assert starts_when(shown) == when
    assert target_of(shown) == ("p/w" if "project" in options else "w")


def test_options_of_all_kinds() -> None:
    options = replace(
        PLAIN,
        every=5,
        version=3,
        maps=["title=schedule.a == 'b=c'"],
        whole="all",
        inputs=["count=3", "name=Ann", "list=[1, 2]"],
        filter="`true`",
        concurrency="queue",
        labels=["team=inn"],
        disabled=True,
    )
    found = read_trigger(definition_of(options)).to_json()
    assert found["workflow"] == {"id": "w", "version": 3}
    assert found["mapping"] == {"title": {"expression": "schedule.a == 'b=c'"}, "all": {"body": True}}
    assert found["inputs"] == {"count": 3, "name": "Ann", "list": [1, 2]}
    told = (found["filter"], found["concurrency"], found["labels"], found["enabled"])
    assert told == ("`true`", {"policy": "queue"}, {"team": "inn"}, False)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "what starts it? say one of --webhook, --cron or --every, --event, --folder, --after or --on"),
        ({"cron": "* * * * *", "event": "x"}, "--cron or --every and --event say 2: make a trigger for each"),
        ({"cron": "* * * * *", "every": 5}, "say either --cron or --every"),
        ({"event": "x", "timezone": "UTC"}, "--timezone belongs to --cron or --every, not to --event"),
        ({"every": 5, "glob": "*"}, "--glob belongs to --folder, not to --cron or --every"),
        ({"every": 5, "config": ["a=b"]}, "--config belongs to --webhook"),
        ({"every": 5, "maps": ["title"]}, "--map 'title' is not understood: write --map name=value"),
        ({"every": 5, "maps": ["a=b", "a=c"]}, "--map gives 'a' twice"),
        ({"every": 5, "labels": ["=x"]}, "--label '=x' is not understood"),
    ],
)
def test_options_that_do_not_go_together_are_told(options: Any, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        definition_of(replace(PLAIN, **options))
    assert told in refused.value.message


def test_triggers_of_a_newer_gateway_are_shown_all_the_same() -> None:
    for strange in ({}, {"kind": "moon"}, {"kind": "moon", "moon": {}}, {"kind": "run", "run": {}}):
        assert isinstance(starts_when(strange), str)
    assert target_of({}) == ""
    assert starts_when({"kind": "schedule", "schedule": {"calendar": [{}], "timezone": "UTC"}}) == "calendar (UTC)"
