"""What a run is doing, by its events."""

from __future__ import annotations

from typing import Any

from innkeeper.gateway.events.activity import Activity


def activity(*events: tuple[str, str] | tuple[str, str, dict[str, Any]]) -> Activity:
    found = Activity()
    for path, kind, *payload in events:
        found.apply(path, kind, payload[0] if payload else {})
    return found


def test_run_waits_when_some_node_waits_and_none_works() -> None:
    begun = [("a", "NODE_EXECUTING"), ("w", "NODE_EXECUTING"), ("w", "NODE_WAITING", {"kind": "delay"})]
    assert not activity(*begun).only_waits
    assert activity(*begun, ("a", "NODE_COMPLETE")).only_waits
    assert not activity(*begun, ("a", "NODE_COMPLETE"), ("w", "NODE_COMPLETE")).only_waits


def test_group_works_only_as_long_as_nothing_inside_was_heard_of() -> None:
    inner = [("g/w", "NODE_EXECUTING"), ("g/w", "APPROVAL_REQUIRED", {"kind": "approval"})]
    assert activity(("g", "NODE_EXECUTING"), *inner).only_waits
    # Two workers tell: the group's beginning may come last.
    assert activity(*inner, ("g", "NODE_EXECUTING")).only_waits
    assert not activity(("g", "NODE_EXECUTING")).only_waits
    items = [("each/7/w", "NODE_EXECUTING"), ("each/7/w", "NODE_WAITING", {"kind": "event", "name": "x"})]
    assert activity(("each", "NODE_EXECUTING"), *items).only_waits


def test_waits_are_counted_by_what_they_wait_for() -> None:
    found = activity(
        ("a", "APPROVAL_REQUIRED", {"kind": "approval"}),
        ("b", "APPROVAL_REQUIRED", {"kind": "approval"}),
        ("c", "NODE_WAITING", {"kind": "event", "name": "x"}),
        ("a", "APPROVAL_ANSWERED"),
    )
    assert (found.approvals, found.waits_for("x"), found.waits_for("y")) == (1, 1, 0)
    assert found.working == {"a"}


def test_a_node_that_waits_for_a_provider_waits_until_its_next_attempt_and_one_that_failed_works() -> None:
    begun = ("n", "NODE_EXECUTING")
    assert not activity(begun, ("n", "NODE_RETRY", {"kind": "retry"})).only_waits
    waits = ("n", "NODE_RETRY", {"kind": "wait"})
    assert activity(begun, waits).only_waits
    again = activity(begun, waits, begun)
    assert (again.working, again.waiting) == ({"n"}, {})
