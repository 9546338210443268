"""What the commands for pausing, approvals and events ask and say."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from innkeeper.gateway.cli.control_command import (
    Answer,
    answer,
    approval_blocks,
    callback_lines,
    field_values,
    hints_of_run,
    hints_of_runs,
    shown_nodes,
    told,
    wanted_event,
)
from innkeeper.gateway.cli.live_view import LiveView, PlainView
from innkeeper.gateway.cli.run_command import UsageError

FORM = [{"key": "title", "dataFlowType": "STRING"}, {"key": "count", "dataFlowType": "INTEGER"}]


class FakeApprovals:
    """Keeps what was answered."""

    def __init__(self, *nodes: str) -> None:
        self.asked = [{"approvalId": name, "status": "open", "form": FORM} for name in nodes]
        self.given: list[Any] = []

    async def find(self, run: str) -> list[dict[str, Any]]:
        return [*self.asked, {"approvalId": "old", "status": "answered"}]

    async def answer(self, run: str, approval: str, approved: bool, **more: Any) -> None:
        self.given.append((run, approval, approved, more))


async def ask(client: FakeApprovals, given: Answer) -> str:
    return await answer(client, given)  # type: ignore[arg-type]  # all it uses is there


async def test_the_only_open_approval_needs_no_name() -> None:
    client = FakeApprovals("g/ask")
    said = await ask(client, Answer("r", None, True, ("title=1984", "count=3"), "fine", "me"))
    assert said == "g/ask of run r is approved"
    more = {"values": {"title": "1984", "count": 3}, "comment": "fine", "by": "me"}
    assert client.given == [("r", "g/ask", True, more)]


async def test_several_or_no_open_approvals_are_told() -> None:
    with pytest.raises(UsageError, match="name one of them: a, b"):
        await ask(FakeApprovals("a", "b"), Answer("r", None, True))
    with pytest.raises(UsageError, match="no approval now"):
        await ask(FakeApprovals(), Answer("r", None, True))
    client = FakeApprovals("a", "b")
    assert await ask(client, Answer("r", "b", False)) == "b of run r is rejected"
    assert client.given[0][1:3] == ("b", False)


@pytest.mark.parametrize("pair", ["title", "=x", "titel=x"])
def test_field_that_is_none_is_refused(pair: str) -> None:
    with pytest.raises(UsageError):
        field_values([pair], FORM)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (("r", "paid", '{"n": 1}', False), ("r", "paid", {"n": 1})),
        (("r", "paid", "plain words", False), ("r", "paid", "plain words")),
        (("r", "paid", "NaN", False), ("r", "paid", "NaN")),
        (("r", "paid", "9" * 5_000, False), ("r", "paid", "9" * 5_000)),
        (("paid", None, "null", True), (None, "paid", None)),
    ],
)
def test_event_goes_to_one_run_or_to_all(typed: Any, expected: Any) -> None:
    run, name, data, to_all = typed
    assert wanted_event(run, name, data, to_all=to_all) == expected


@pytest.mark.parametrize("typed", [("r", None, False), (None, None, True), ("r", "paid", True)])
def test_event_without_a_target_is_refused(typed: Any) -> None:
    run, name, to_all = typed
    with pytest.raises(UsageError):
        wanted_event(run, name, "null", to_all=to_all)


def test_who_got_an_event_is_told() -> None:
    assert told({"name": "x", "runs": 1}) == "told 1 run that waits for 'x'"
    assert told({"name": "x", "runs": 2, "missed": ["r"]}).endswith("1 could not be told: try again")
    taken: list[dict[str, str]] = [{"outcome": "fired", "runId": "r"}, {"outcome": "filtered"}]
    assert told({"name": "x", "runs": 0, "triggers": taken}) == "told 0 runs that wait for 'x'; a trigger starts 1 run"
    assert "2 of its nodes" in told({"name": "x", "promptId": "r", "waiting": 2})
    assert "no node" in told({"name": "x", "promptId": "r", "waiting": 0})


def test_table_of_approvals_shows_what_is_asked_and_what_was_said() -> None:
    file = io.StringIO()
    asked = {"promptId": "r", "approvalId": "a", "status": "open", "form": FORM, "data": {"n": 1}}
    over = {**asked, "approvalId": "b", "status": "answered", "answer": {"approved": False, "by": "me"}}
    Console(file=file, width=200).print(approval_blocks([asked, over]))
    text = file.getvalue()
    assert "--set title=...  title (string)" in text
    assert "--set count=...  count (integer)" in text
    assert text.count("innkeeper approve r a") == 1
    long = {**asked, "data": "word " * 100 + "end"}
    for whole in (False, True):
        Console(file=(file := io.StringIO()), width=80).print(approval_blocks([long], whole=whole))
        assert ("end" in file.getvalue()) == whole
    assert "innkeeper approve r b" not in text
    assert '{"n": 1}' in text
    assert "rejected by me" in text


def test_a_used_up_budget_is_listed_with_what_is_used() -> None:
    file = io.StringIO()
    about = {"kind": "budget", "scope": "day", "limit": {"money": 2.5}, "used": {"tokens": 9, "money": 2.4}}
    about["needed"] = {"money": 0.25}
    asked = {"promptId": "r", "approvalId": "a", "status": "open", "form": [], "data": None, **about}
    Console(file=file, width=200).print(approval_blocks([asked]))
    assert "2.4 of 2.5 money used (budget of the day); the next request may take 0.25 money" in file.getvalue()
    assert "innkeeper approve r a --value money=... (or --reject)" in file.getvalue()


def test_hints_say_what_to_type() -> None:
    wait = {"kind": "approval", "approvalId": "a"}
    status = {"promptId": "r", "status": "waiting", "nodeStatus": {"a": {"status": "waiting", "wait": wait}}}
    assert list(hints_of_run(status)) == ["to approve: innkeeper approve r a"]
    runs = [{"promptId": "r", "status": "waiting", "openApprovals": 1}, {"promptId": "p", "status": "paused"}]
    assert list(hints_of_runs(runs)) == [
        "some runs wait for an approval: innkeeper approvals",
        "run p is paused: innkeeper resume p",
    ]


def test_hints_say_that_a_run_is_stuck_and_how_to_end_one_that_does_not_end() -> None:
    stuck = {"code": "no_worker", "message": "no worker takes its tasks\x1b[2J", "since": "2026-01-01T00:00:00Z"}
    wait = {"kind": "approval", "approvalId": "a"}
    status = {
        "promptId": "r",
        "status": "interrupting",
        "stuck": stuck,
        "nodeStatus": {"a": {"status": "waiting", "wait": wait}},
    }
    assert list(hints_of_run(status)) == [
        "it is stuck: no worker takes its tasks[2J",
        "it is being interrupted; should it not end: innkeeper cancel r --force",
    ]
    assert list(hints_of_runs([status])) == ["run r is stuck: no worker takes its tasks[2J"]


def test_items_of_a_repetition_are_one_row() -> None:
    done = {f"each/{number}/say": {"status": "complete"} for number in range(5000)}
    nodes = {"each": {"status": "running"}, **done, "each/7/say": {"status": "error", "error": {"message": "no"}}}
    shown = shown_nodes(nodes)
    assert list(shown) == ["each", "each/7/say"]
    assert shown["each"]["reason"] == "5000 begun, 1 failed"


# --- views --------------------------------------------------------------------------------------------------------


def event(type: str, node: str, **payload: Any) -> dict[str, Any]:
    return {"seq": 1, "ts": 1_000, "type": type, "payload": {"promptId": "r", "nodeId": node, **payload}}


def story() -> list[dict[str, Any]]:
    """A repetition with an approval in it, and a group."""
    running = {"promptId": "r", "status": "running"}
    return [
        {"seq": 1, "ts": 1_000, "type": "EXECUTION_STATUS_UPDATE", "payload": running},
        event("NODE_EXECUTING", "each", attempt=1),
        *(event("NODE_EXECUTING", f"each/{number}/say", attempt=1) for number in range(20)),
        *(event("NODE_COMPLETE", f"each/{number}/say", output={}) for number in range(19)),
        event("NODE_PROGRESS", "each", value=19, max=40),
        event("APPROVAL_REQUIRED", "each/19/say", kind="approval", approvalId="each/19/say", until=None),
        event("NODE_EXECUTING", "g", attempt=1),
        event("NODE_EXECUTING", "g/w", attempt=1),
        event("NODE_WAITING", "g/w", kind="event", name="paid", until=None),
    ]


def test_lines_fold_items_and_name_the_command() -> None:
    file = io.StringIO()
    with PlainView(Console(file=file, width=200), {"each": "core:ForEach"}) as view:
        for item in story():
            view.show(item)
    lines = file.getvalue().splitlines()
    assert "each: 19 of 40" in lines
    assert "each/19/say: innkeeper approve r each/19/say" in lines
    assert "g/w: waiting  for event 'paid'" in lines
    assert not any(line.startswith("each/3/") for line in lines[2:])
    assert len(lines) < 12


def test_tree_folds_items_and_nests_groups() -> None:
    file = io.StringIO()
    target = Console(file=file, width=100, height=40, force_terminal=True, no_color=True, legacy_windows=False)
    with LiveView(target, {"each": "core:ForEach"}, "Story") as view:
        for item in story():
            view.show(item)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    assert "Story  waiting" in text
    assert "19/40  1 waiting" in text
    assert "19/say" in text
    assert "to approve: innkeeper approve r each/19/say" in text
    assert "it waits for an event: innkeeper event r paid" in text
    assert text.index("● g") < text.index("◐ w")


def test_a_new_value_comes_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("from a file\n")
    assert field_values([f"title=@{tmp_path / 'text'}", "count=3"], FORM) == {"title": "from a file", "count": 3}
    with pytest.raises(UsageError, match="cannot read"):
        field_values([f"title=@{tmp_path / 'nothing'}"], FORM)


def test_what_became_of_callbacks_is_one_line_each() -> None:
    failed = {"event": "error", "status": "pending", "attempts": 2, "lastError": "the receiver answered 500"}
    waits = {"event": "waiting", "nodeId": "each/3/ask", "status": "delivered", "attempts": 1}
    told = {"number": 0, "url": "https://a.example/x?***", "on": ["error"], "deliveries": [failed, waits]}
    still = {"number": 1, "url": "https://b.example\x1b[2J", "on": ["complete", "error"], "deliveries": []}
    assert list(callback_lines({"callbacks": [told, still]})) == [
        "callback 0 to https://a.example/x?***: error pending after 2 attempts: the receiver answered 500",
        "callback 0 to https://a.example/x?***: waiting of 'each/3/ask' delivered",
        "callback 1 to https://b.example[2J: nothing told yet; it is told of complete, error",
    ]
    assert list(callback_lines({})) == []
