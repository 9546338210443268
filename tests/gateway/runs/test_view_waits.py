"""Waiting nodes and approvals, as events tell them."""

from __future__ import annotations

from typing import Any

from innkeeper.gateway.runs.outcome import RunOutcome, error_info, merged_nodes, missing_facts
from innkeeper.gateway.runs.view import project

Json = dict[str, Any]
FORM = [{"key": "title"}]


def event(seq: int, type: str, **payload: Any) -> Json:
    return {"seq": seq, "ts": 1_000 * seq, "type": type, "payload": {"promptId": "r", "nodeId": "a", **payload}}


EXECUTING = event(1, "NODE_EXECUTING", attempt=1)
REQUIRED = event(2, "APPROVAL_REQUIRED", kind="approval", approvalId="a", until=None, form=FORM, data="x")
ANSWERED = event(3, "APPROVAL_ANSWERED", approvalId="a", answer={"approved": True, "values": {}})
COMPLETE = event(4, "NODE_COMPLETE", output={"approved": "x"}, attempt=1)


def test_node_that_waits_says_for_what() -> None:
    waiting = event(2, "NODE_WAITING", kind="event", name="paid", until=None)
    view = project([EXECUTING, waiting])
    assert view.nodes["a"]["status"] == "waiting"
    assert view.nodes["a"]["wait"] == {"kind": "event", "name": "paid", "until": None}
    assert "wait" not in project([EXECUTING, waiting, COMPLETE]).nodes["a"]


def test_approval_is_open_then_answered_or_closed() -> None:
    (asked,) = project([EXECUTING, REQUIRED]).approvals.values()
    assert (asked["status"], asked["form"], asked["data"], asked["seq"]) == ("open", FORM, "x", 2)
    view = project([EXECUTING, REQUIRED, ANSWERED])
    assert (view.approvals["a"]["status"], view.nodes["a"]["status"]) == ("answered", "running")
    assert project([EXECUTING, REQUIRED, ANSWERED, COMPLETE]).approvals["a"]["answer"]["approved"] is True
    ended = event(3, "NODE_INTERRUPTED")
    assert project([EXECUTING, REQUIRED, ended]).approvals["a"]["status"] == "closed"


def test_node_that_waited_when_its_run_was_ended_is_interrupted() -> None:
    view = project([EXECUTING, REQUIRED])
    assert list(missing_facts(RunOutcome("error"), view)) == [("a", "NODE_INTERRUPTED", {})]
    # A terminated run's table still says `waiting`: what the log says of the end counts.
    table = {"a": {"status": "waiting"}}
    assert list(missing_facts(RunOutcome("error", None, table), view)) == [("a", "NODE_INTERRUPTED", {})]
    nodes, differs = merged_nodes(
        RunOutcome("error", None, table), project([EXECUTING, REQUIRED, event(3, "NODE_INTERRUPTED")])
    )
    assert (nodes["a"]["status"], differs) == ("interrupted", [])


def failed(message: str) -> Json:
    return {"status": "error", "error": {"message": message, "code": "c"}}


def sentence(nodes: Json) -> str:
    info = error_info(RunOutcome("error", {}, {}), nodes)
    assert info is not None
    assert len(info["nodes"]) == sum(node["status"] == "error" for node in nodes.values())
    return str(info["message"])


def test_failure_that_groups_hand_on_is_told_once() -> None:
    nodes = {
        "g": failed("node 'g/h': node 'g/h/x': boom"),
        "g/h": failed("node 'g/h/x': boom"),
        "g/h/x": failed("boom"),
    }
    assert sentence(nodes) == "node 'g/h/x' failed: boom"
    assert sentence({**nodes, "y": failed("other")}) == "2 nodes failed; first: node 'g/h/x' failed: boom"


def test_failure_that_went_no_further_is_not_why_the_run_failed() -> None:
    nodes = {"each": {"status": "complete"}, "each/3/x": failed("left out"), "y": failed("boom")}
    assert sentence(nodes) == "node 'y' failed: boom"


def test_group_that_failed_by_itself_is_the_cause() -> None:
    assert sentence({"loop": failed("too many rounds"), "loop/0/x": {"status": "complete"}}).startswith("node 'loop'")


def test_node_that_is_tried_again_says_when_and_why_until_it_is() -> None:
    told = {"code": "overloaded", "message": "busy", "retryAt": "2026-01-01T00:00:00.000Z", "attempt": 1}
    told |= {"nextAttemptAt": told["retryAt"], "reason": "failure 1 of 4"}
    retry, wait = (event(2, "NODE_RETRY", kind=kind, **told) for kind in ("retry", "wait"))
    view = project([EXECUTING, retry]).nodes["a"]
    assert (view["status"], view["retryAt"]) == ("running", "2026-01-01T00:00:00.000Z")
    assert view["lastError"] == {"code": "overloaded", "message": "busy"}
    assert (view["nextAttemptAt"], view["reason"]) == ("2026-01-01T00:00:00.000Z", "failure 1 of 4")
    assert project([EXECUTING, wait]).nodes["a"]["status"] == "waiting"
    for after in (event(3, "NODE_EXECUTING", attempt=2), event(3, "NODE_INTERRUPTED"), COMPLETE):
        ended = project([EXECUTING, wait, after]).nodes["a"]
        assert ended["status"] != "waiting"
        assert not {"retryAt", "nextAttemptAt", "reason", "lastError"} & ended.keys()
    assert "retryAt" not in project([COMPLETE, retry]).nodes["a"]


def asks_for_budget(seq: int, attempt: int) -> Json:
    limit, used = {"tokens": 10 * attempt}, {"tokens": 9 * attempt}
    about = {"scope": "run", "limit": limit, "used": used, "until": None, "form": FORM}
    return event(seq, "BUDGET_REACHED", kind="budget", approvalId="a", attempt=attempt, **about)


def answers_budget(seq: int, attempt: int) -> Json:
    return event(seq, "APPROVAL_ANSWERED", approvalId="a", attempt=attempt, answer={"approved": True})


def test_a_node_out_of_budget_waits_for_an_answer_as_often_as_it_asks() -> None:
    begun = [EXECUTING, asks_for_budget(2, 1)]
    view = project(begun)
    (asked,) = view.approvals.values()
    assert (asked["status"], asked["kind"], asked["limit"], asked["data"]) == ("open", "budget", {"tokens": 10}, None)
    assert (view.nodes["a"]["status"], view.nodes["a"]["wait"]["kind"]) == ("waiting", "budget")
    assert (view.activity.only_waits, view.activity.approvals) == (True, 1)
    begun += [answers_budget(3, 1), event(4, "NODE_EXECUTING", attempt=2)]
    view = project(begun)
    assert (view.approvals["a"]["status"], view.nodes["a"]["status"]) == ("answered", "running")
    view = project([*begun, asks_for_budget(5, 2), answers_budget(6, 1)])
    assert (view.approvals["a"]["status"], view.approvals["a"]["seq"]) == ("open", 5)
    assert "answer" not in view.approvals["a"]
    assert view.nodes["a"]["status"] == "waiting"


def test_an_answer_that_is_heard_of_after_the_next_attempt_does_not_hide_it() -> None:
    view = project([EXECUTING, asks_for_budget(2, 1), event(3, "NODE_EXECUTING", attempt=2), answers_budget(4, 1)])
    assert (view.approvals["a"]["status"], view.nodes["a"]["status"]) == ("answered", "running")
    assert "wait" not in view.nodes["a"]


def test_a_warning_is_seen_while_the_node_runs_and_once() -> None:
    warning = event(2, "NODE_WARNING", attempt=1, code="node_blocks", message="at n.py:7")
    told = [{"code": "node_blocks", "message": "at n.py:7"}]
    assert project([EXECUTING, warning, warning]).nodes["a"]["warnings"] == told
    assert project([EXECUTING, warning, event(3, "NODE_INTERRUPTED")]).nodes["a"]["warnings"] == told
    assert "warnings" not in project([COMPLETE, warning]).nodes["a"]
