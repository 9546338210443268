"""Lines for people about plugins that were loaded, and about those that were not."""

from __future__ import annotations

from innkeeper.gateway.process.plugin_report import fault_lines, plugin_lines

GOOD = {"name": "good", "loaded": True, "nodes": ["good:Say", "good:Shout"]}
EMPTY = {"name": "empty", "loaded": True, "nodes": [], "warnings": ["x.py exports no 'definition'"]}
BAD = {
    "name": "bad",
    "loaded": False,
    "nodes": [],
    "errors": [{"file": "a.py", "reason": "no"}, {"file": "b.py", "reason": "neither"}],
}


def test_each_plugin_is_told_with_its_nodes_or_its_faults() -> None:
    assert plugin_lines([GOOD, EMPTY, BAD]) == [
        "plugin good: good:Say, good:Shout",
        "plugin empty: no nodes",
        "plugin empty: warning: x.py exports no 'definition'",
        "plugin bad was not loaded: a.py: no",
        "plugin bad was not loaded: b.py: neither",
    ]


def test_a_disabled_plugin_is_told_so() -> None:
    assert plugin_lines([{"name": "off", "isEnabled": False, "loaded": False, "nodes": []}]) == [
        "plugin off is disabled"
    ]


def test_faults_leave_out_what_is_well() -> None:
    assert fault_lines([GOOD]) == []
    assert len(fault_lines([EMPTY, BAD])) == 3
