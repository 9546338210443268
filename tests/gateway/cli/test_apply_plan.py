"""What `triggers apply` has to do, by what stands: the least, in an order that works."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.gateway.cli.apply_file import Wanted, WantedTrigger, WantedWorkflow
from innkeeper.gateway.cli.apply_plan import (
    Standing,
    StoredWorkflow,
    TriggerStep,
    WorkflowStep,
    is_done,
    name_of,
    plan,
    says_the_same,
)
from innkeeper.gateway.cli.run_command import UsageError
from innkeeper.gateway.triggers.reading import read_trigger

Json = dict[str, Any]


def definition(name: str, **more: Any) -> Json:
    given = {"name": name, "kind": "schedule", "workflow": {"id": "w"}, "schedule": {"cron": "0 3 * * *"}, **more}
    return read_trigger(given).to_json()


def wanted(name: str, *, is_switched: bool = False, secrets: tuple[str, ...] = (), **more: Any) -> WantedTrigger:
    return WantedTrigger(name, definition(name, **more), secrets, is_switched=is_switched)


def stored(name: str, **more: Any) -> Json:
    return {**definition(name, **more), "id": f"id-{name}", "version": 4, "updatedAt": "x", "secretCount": 0}


def steps(triggers: Any, standing: Any, name: str | None = None, **options: Any) -> list[TriggerStep]:
    found = plan(Wanted(name, (), tuple(triggers)), Standing({}, standing), **options)
    assert all(isinstance(step, TriggerStep) for step in found)
    return found  # type: ignore[return-value]


def actions(found: list[Any]) -> list[tuple[str, str]]:
    return [(step.action, name_of(step)) for step in found]


def test_what_is_as_it_should_be_is_kept() -> None:
    found = steps([wanted("a"), wanted("b"), wanted("c")], [stored("a"), stored("b", filter="`true`"), stored("z")])
    assert actions(found) == [("keep", "trigger a"), ("change", "trigger b"), ("create", "trigger c")]
    assert found[1].changes == {"filter": ("`true`", None)}
    assert not is_done(found)
    assert is_done(found[:1])


def test_a_default_that_is_written_out_is_no_change() -> None:
    found = steps([wanted("a", dedupe="id", schedule={"cron": "0 3 * * *", "timezone": "UTC"})], [stored("a")])
    assert is_done(found)


def test_who_was_turned_off_stays_off_with_its_note_unless_the_file_says_otherwise() -> None:
    off = stored("a", enabled=False, schedule={"cron": "0 3 * * *", "note": "the printer is away"})
    assert is_done(steps([wanted("a")], [off]))
    (found,) = steps([wanted("a", is_switched=True)], [off])
    assert found.changes == {"enabled": (False, True), "schedule.note": ("the printer is away", "")}
    (found,) = steps([wanted("a", filter="`true`")], [off])
    assert (found.definition["enabled"], found.definition["schedule"]["note"]) == (False, "the printer is away")


def webhook(count: int) -> Json:
    return {"kind": "webhook", "schedule": None, "webhook": {"scheme": "github", "secretCount": count}}


def test_secrets_are_sent_when_their_number_changes_or_somebody_asks() -> None:
    ours = wanted("a", secrets=("x",), **webhook(1))
    assert is_done(steps([ours], [stored("a", **webhook(1))]))
    (asked,) = steps([ours], [stored("a", **webhook(1))], send_secrets=True)
    assert (asked.action, asked.sends_secrets, asked.changes) == ("change", True, {})
    (more,) = steps([ours], [stored("a", **webhook(2))])
    assert (more.sends_secrets, more.changes) == (True, {"webhook.secretCount": (2, 1)})
    (new,) = steps([ours], [])
    assert (new.action, new.sends_secrets) == ("create", True)
    (other,) = steps([wanted("a", secrets=("x",), filter="`true`", **webhook(1))], [stored("a", **webhook(1))])
    assert other.sends_secrets is False


def calling(secret: str | None = None, url: str = "https://a.example") -> Json:
    return {"callback": {"url": url, "on": ["complete"], **({"secret": secret} if secret else {})}}


def test_secret_of_a_callback_is_sent_where_the_stored_one_cannot_stay_and_never_shown() -> None:
    ours = WantedTrigger("a", definition("a", **calling()), callback_secret="whsec_mine")
    kept = {**stored("a"), **calling("$secret:abc")}
    cases: list[tuple[Json | None, str, str | None]] = [
        (None, "create", "whsec_mine"),
        (kept, "keep", "$secret:abc"),
        ({**kept, "filter": "`true`"}, "change", "$secret:abc"),
        ({**kept, **calling("$secret:abc", "https://b.example")}, "change", "whsec_mine"),
        ({**kept, **calling()}, "change", "whsec_mine"),
    ]
    for standing, action, secret in cases:
        (step,) = steps([ours], [] if standing is None else [standing])
        assert (step.action, step.definition["callback"].get("secret")) == (action, secret)
        assert "whsec_mine" not in repr(step)
    (asked,) = steps([ours], [kept], send_secrets=True)
    assert (asked.action, asked.definition["callback"]["secret"]) == ("change", "whsec_mine")
    bare = wanted("a", **calling())
    (step,) = steps([bare], [kept])
    assert (step.changes, step.definition) == ({"callback.secret": ("$secret:abc", None)}, bare.definition)


def test_prune_deletes_what_the_same_file_made_and_nothing_else() -> None:
    mine, others = {"labels": {"appliedBy": "office"}}, {"labels": {"appliedBy": "home"}}
    standing = [stored("old", **mine), stored("a", **mine), stored("by-hand"), stored("foreign", **others)]
    ours = [wanted("a", **mine)]
    assert is_done(steps(ours, standing, "office"))
    assert actions(steps(ours, standing, "office", prune=True)) == [("keep", "trigger a"), ("delete", "trigger old")]
    with pytest.raises(UsageError, match="give the file a 'name'"):
        steps(ours, standing, None, prune=True)


def test_a_trigger_of_another_file_or_kind_is_not_taken_over() -> None:
    with pytest.raises(UsageError, match="'a' was made by a file with the name 'home'"):
        steps([wanted("a")], [stored("a", labels={"appliedBy": "home"})], "office")
    with pytest.raises(UsageError, match="is of the kind 'webhook', and in the file of 'schedule'"):
        steps([wanted("a")], [stored("a", **webhook(1))])
    # One that was made by hand is taken over: it gets the label.
    (found,) = steps([wanted("a", labels={"appliedBy": "office"})], [stored("a")], "office")
    assert found.changes == {"labels.appliedBy": (None, "office")}


# --- workflows ------------------------------------------------------------------------------------------------------


def flow(identity: str, *groups: str, **more: Any) -> Json:
    nodes = [
        {"id": group, "type": "core:NodeGroup", "configValues": {"referencedWorkflowId": group}} for group in groups
    ]
    return {"id": identity, "nodes": nodes, "edges": [], **more}


def flows(wanted: list[WantedWorkflow], standing: dict[str, StoredWorkflow]) -> list[WorkflowStep]:
    found = plan(Wanted(None, tuple(wanted)), Standing({("default", key): it for key, it in standing.items()}, ()))
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("publish", "document", "published", "expected"),
    [
        (False, flow("w"), None, ("keep", False, False)),
        (True, flow("w"), 3, ("keep", False, False)),
        (True, flow("w"), None, ("change", False, True)),
        (True, flow("w"), 2, ("change", False, True)),
        (True, flow("w", name="New"), 3, ("change", True, True)),
        (False, flow("w", name="New"), 3, ("change", True, False)),
    ],
)
def test_a_workflow_is_saved_and_published_when_it_differs(
    publish: bool, document: Json, published: int | None, expected: tuple[str, bool, bool]
) -> None:
    standing = StoredWorkflow({**flow("w"), "updatedAt": "2030"}, "e", 3, published)
    (step,) = flows([WantedWorkflow("w", "default", document, publish)], {"w": standing})
    assert (step.action, step.save, step.publish) == expected


def test_groups_come_before_what_runs_them() -> None:
    ours = [WantedWorkflow(name, "default", flow(name, *needs), False) for name, needs in
            (("top", ["mid"]), ("mid", ["low"]), ("low", []))]  # fmt: skip
    assert [step.wanted.id for step in flows(ours, {})] == ["low", "mid", "top"]


def test_differences_are_told_and_drafts_have_none() -> None:
    ours = WantedWorkflow("w", "default", flow("w", name="New"), False)
    (step,) = flows([ours], {"w": StoredWorkflow(flow("w", name="Old"), "e", 1, None)})
    assert [item.changes for item in step.differences] == [{"name": ("Old", "New")}]
    (step,) = flows([ours], {"w": StoredWorkflow({"id": "w", "nodes": [5]}, "e", 1, None)})
    assert (step.save, step.differences) == (True, ())


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": None}, {}, False),
        ([1, 2], [2, 1], False),
        ([1], [1, 2], False),
        ({"key": "sk-1"}, {"key": f"$secret:{'a' * 64}"}, True),
        ({"key": f"$secret:{'a' * 64}"}, {"key": f"$secret:{'a' * 64}"}, True),
        ({"key": f"$secret:{'b' * 64}"}, {"key": f"$secret:{'a' * 64}"}, False),
        ({"key": f"$secret:{'a' * 64}"}, {"key": "sk-1"}, False),
    ],
)
def test_documents_say_the_same(ours: Any, theirs: Any, same: bool) -> None:
    assert says_the_same(ours, theirs) is same
