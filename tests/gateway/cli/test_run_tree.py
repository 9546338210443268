"""How nodes are arranged and waits told, without a terminal."""

from __future__ import annotations

import datetime

from innkeeper.gateway.cli.run_tree import approve_command, bar, fold, next_steps, parent_of, repetition_of, wait_words

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def test_items_are_folded_into_their_repetition() -> None:
    nodes = {
        "each": {"status": "running"},
        "each/0/say": {"status": "complete"},
        "each/1/ask": {"status": "waiting"},
        "each/2/g": {"status": "running"},
        "each/2/g/0/x": {"status": "error"},
        "after": {},
    }
    outside, repetitions = fold(nodes, nodes)
    assert outside == ["each", "after"]
    each = repetitions["each"]
    assert (each.begun, each.running, each.notable) == ({"0", "1", "2"}, 1, ["each/1/ask", "each/2/g/0/x"])
    assert each.words() == "1 running, 1 waiting, 1 failed"


def test_group_that_is_called_a_number_is_no_item() -> None:
    nodes = {"g": {}, "g/3": {}, "g/3/x": {}, "7": {}, "7/x": {}}
    assert [repetition_of(path, nodes) for path in nodes] == [None] * 5


def test_nodes_hang_below_the_nearest_one_that_is_shown() -> None:
    assert parent_of("a/3/b/c", {"a": 1, "x": 1}) == "a"
    assert parent_of("b", {"a": 1}) == ""


def test_waits_are_told_with_what_is_left() -> None:
    until = (NOW + datetime.timedelta(seconds=90)).isoformat()
    assert wait_words({"kind": "delay", "until": until}, NOW).endswith("90 s left")
    assert wait_words({"kind": "event", "name": "paid", "until": None}) == "for event 'paid'"
    assert wait_words({"kind": "approval", "until": "nonsense"}) == "for an approval"
    assert "left" not in wait_words({"kind": "until", "until": (NOW + datetime.timedelta(days=3)).isoformat()}, NOW)


def test_next_steps_name_the_command() -> None:
    nodes = {
        **{f"ask {n}": {"wait": {"kind": "approval", "approvalId": f"ask {n}"}} for n in range(7)},
        "w": {"wait": {"kind": "event", "name": "paid"}},
    }
    steps = list(next_steps("r", "paused", nodes))
    assert steps[:2] == ["it is paused: innkeeper resume r", "to approve: innkeeper approve r 'ask 0'"]
    assert steps[-2:] == ["2 more approvals: innkeeper approvals r", "it waits for an event: innkeeper event r paid"]
    assert approve_command("r", {"approvalId": "g/ask"}) == "innkeeper approve r g/ask"


def test_bar_shows_counts() -> None:
    assert bar(5, 20, fancy=False) == "=====" + "." * 15 + " 5/20"
    assert bar(0, 0, fancy=True).endswith(" 0/0")
